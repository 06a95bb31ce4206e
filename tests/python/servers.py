"""The web server that packages come from, and waiting."""

import base64
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD = "me", "s3cret of the server"


@contextmanager
def web(package, login=False, gate=None):
    """One file at /package, in its middle held up until `gate` is set."""
    content = Path(package).read_bytes()
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if login and self.headers.get("Authorization") != expected:
                return self.nothing(401)
            if self.path != "/package":
                return self.nothing(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"one"')
            self.end_headers()
            half = len(content) // 2
            self.wfile.write(content[:half])
            if gate is not None:
                gate.wait(60)
            self.wfile.write(content[half:])

        def nothing(self, status):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def wait_for(look, what, seconds=60):
    """Looks until there is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no {what} in {seconds} s")
