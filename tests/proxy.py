"""A small reverse proxy for tests that publishes a server under `/svc`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import httpx

PREFIX: Final = "/svc"
_OWN: Final = {"transfer-encoding", "connection", "date"}  # of one connection each


class Proxy(ThreadingHTTPServer):
    """Passes on what is asked for below the prefix; elsewhere is nothing."""

    daemon_threads = True

    def __init__(self, target: str, *, strips: bool) -> None:
        """Listen on a free port of loopback."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.strips = strips
        self.client = httpx.Client(base_url=target, timeout=60)
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    """One exchange."""

    server: Proxy

    def _pass_on(self) -> None:
        self.server.paths.append(self.path)
        path = self.path.removeprefix(PREFIX)
        if path == self.path or path[:1] not in {"", "/"}:
            self.send_error(404)
            return
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        answer = self.server.client.request(
            self.command,
            (path or "/") if self.server.strips else self.path,
            content=content,
            headers=dict(self.headers),
        )
        self.send_response_only(answer.status_code)
        for name, value in answer.headers.items():
            if name not in _OWN:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 - their names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def proxy(target: str, *, strips: bool) -> Iterator[Proxy]:
    """Publish a server for a while."""
    with Proxy(target, strips=strips) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
            running.client.close()
