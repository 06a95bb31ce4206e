"""Answers UDP datagrams on port 7 of every address of the host with the host's name: whoever asks an address learns who
serves it. The answer leaves from the address that was asked."""
import socket
import struct
import sys

link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.setsockopt(socket.IPPROTO_IP, socket.IP_PKTINFO if hasattr(socket, "IP_PKTINFO") else 8, 1)
link.bind(("0.0.0.0", 7))
while True:
    data, ancillary, _, sender = link.recvmsg(64, 256)
    answer = data + b" " + sys.argv[1].encode()
    try:
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IP and kind == 8:
                _, local, _ = struct.unpack("I4s4s", value[:12])
                info = struct.pack("I4s4s", 0, local, b"\0" * 4)
                link.sendmsg([answer], [(socket.IPPROTO_IP, 8, info)], 0, sender)
    except OSError:
        # The address has left between question and answer.
        pass
