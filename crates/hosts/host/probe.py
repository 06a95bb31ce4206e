"""Asks an address every few milliseconds who serves it, and prints each answer as it comes: `<monotonic ms> <host>`.

  probe.py ADDRESS EVERY_MS
"""
import os
import select
import socket
import sys
import time

address, every = sys.argv[1], float(sys.argv[2]) / 1000
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.setblocking(False)
due = time.monotonic()
parent = os.getppid()
# Ends with whoever started it, also when there is nothing to print that would tell.
while os.getppid() == parent:
    now = time.monotonic()
    if now >= due:
        due = max(due + every, now)
        try:
            link.sendto(b"%d" % int(now * 1000), (address, 7))
        except OSError:
            pass
    readable, _, _ = select.select([link], [], [], max(0, due - time.monotonic()))
    while readable:
        try:
            answer = link.recv(128).split()
        except OSError:
            break
        print(f"{time.monotonic() * 1000:.1f} {answer[1].decode()}", flush=True)
