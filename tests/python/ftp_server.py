"""The ftp server that packages come from."""

import threading
from contextlib import contextmanager

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

from servers import PASSWORD, USER


@contextmanager
def ftp(folder):
    """The files of a folder, for anybody and for one user."""
    authorizer = DummyAuthorizer()
    authorizer.add_anonymous(str(folder))
    authorizer.add_user(USER, PASSWORD, str(folder))

    class Handler(FTPHandler):
        pass

    Handler.authorizer = authorizer
    server = ThreadedFTPServer(("0.0.0.0", 0), Handler)
    port = server.address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        server.close_all()
