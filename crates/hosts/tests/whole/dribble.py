"""An HTTP server whose link is slow and breaks: `dribble.py FILE BYTES_PER_SECOND BREAK_AFTER`. Serves FILE at /package.tgz with
ranges; the first connection breaks after so many bytes."""
import http.server
import os
import re
import sys
import time

path, rate, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
content = open(path, "rb").read()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    broken = False

    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(wanted.group(1)) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"one"')
        self.end_headers()
        # Before the first byte: whoever has the last one looks at once for what is printed here.
        if begin > 0:
            print(f"goes on from {begin}", flush=True)
        for at in range(begin, len(content), rate // 5):
            if not Handler.broken and at - begin >= limit:
                Handler.broken = True
                self.close_connection = True
                print(f"broke at {at}", flush=True)
                return
            self.wfile.write(content[at:min(at + rate // 5, len(content))])
            self.wfile.flush()
            time.sleep(0.2)

    def log_message(self, *_):
        pass


parent = os.getppid()
server = http.server.ThreadingHTTPServer(("10.99.0.254", 8080), Handler)
server.timeout = 0.5
print("ready", flush=True)
# Ends with whoever started it.
while os.getppid() == parent:
    server.handle_request()
