"""HTTP by hand: what a client library would not send."""

import socket
from functools import partial


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(partial(connection.recv, 65_536), b""))


def chunk(content: bytes) -> bytes:
    """Return a chunk; without content it is the last."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def chunked(content: bytes) -> bytes:
    """Return a whole chunked body of one chunk."""
    return chunk(content) + chunk(b"")
