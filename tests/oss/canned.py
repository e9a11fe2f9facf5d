"""A server that answers every request alike: for what stands where OSS should, and for refusals seldom met."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping


def error_xml(code: str, message: str, more: str = "") -> bytes:
    """A refusal as OSS writes it."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
    ).encode()


@contextmanager
def canned(
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    targets: list[str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """The endpoint of such a server, which can be a proxy, too; `targets` gets what each request asks for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if targets is not None:
                targets.append(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
