"""The cluster's address as a client sees it that comes over a network: it goes away, and it dawdles."""

import contextlib
import socket
import struct
import threading

CHUNK = 1 << 16
# Closing sends a reset instead of an orderly end.
RESET = struct.pack("ii", 1, 0)


class Relay:
    """Hands on what connects to `port`. Clients that open a connection for each request can be counted by."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.changed = threading.Condition()
        self.is_away, self.holds_from = False, None
        self.accepted = self.refused = self.ended = 0
        self.open = set()

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.set(is_away=True, holds_from=None)
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def away(self):
        """Cuts what is connected, and refuses whoever connects, until `back`."""
        self.set(is_away=True)
        self.cut()

    def back(self):
        self.set(is_away=False)

    def hold(self, first):
        """Connections from this one on, counted from 1, are accepted but wait until `release`."""
        self.set(holds_from=first)

    def release(self):
        self.set(holds_from=None)

    def wait(self, until, what, seconds=300):
        """Waits until that is so of this relay."""
        with self.changed:
            assert self.changed.wait_for(lambda: until(self), seconds), f"not within {seconds} s: {what}"

    def set(self, **values):
        with self.changed:
            vars(self).update(values)
            self.changed.notify_all()

    def count(self, name):
        with self.changed:
            vars(self)[name] += 1
            self.changed.notify_all()
            return vars(self)[name]

    def cut(self):
        with self.changed:
            ends = list(self.open)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_away:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                self.count("refused")
            else:
                number = self.count("accepted")
                threading.Thread(target=self.serve, args=(client, number), daemon=True).start()

    def serve(self, client, number):
        held = lambda: self.holds_from is not None and number >= self.holds_from
        with self.changed:
            self.changed.wait_for(lambda: not held())
        # The address itself may be on its way from one node to another.
        with client, contextlib.suppress(OSError):
            with socket.create_connection(self.target, timeout=60) as server:
                server.settimeout(None)
                with self.changed:
                    self.open |= {client, server}
                answers = threading.Thread(target=pump, args=(server, client), daemon=True)
                answers.start()
                pump(client, server)
                answers.join()
                with self.changed:
                    self.open -= {client, server}
        self.count("ended")


def pump(source, sink):
    """Until one of them ends, which then ends both."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
