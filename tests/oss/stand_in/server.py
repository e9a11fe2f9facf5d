"""An OSS server for tests, kernels and demonstrations: real HTTP, path style, signatures V4, faults on demand.

`python -m tests.oss.stand_in.server --directory D` serves the files in D, and prints its endpoint on the first line.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.oss.stand_in.connection import Connection, Request
from tests.oss.stand_in.faults import Fault, Faults
from tests.oss.stand_in.service import Service
from tests.oss.stand_in.signature import Account
from tests.oss.stand_in.storage import Bucket, OssObject, new_object

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from typing_extensions import Self

BUCKET = "examplebucket"


class _Listener(ThreadingHTTPServer):
    """Accepts connections, each served by a thread of its own, and ends them all on close."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int, connection: type[Connection]) -> None:
        super().__init__(("127.0.0.1", port), connection)
        self.errors: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.errors.append(error)

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._open)

    def disconnect(self) -> None:
        """End every connection, whatever its thread waits for."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(2)
                except OSError:  # the client was faster
                    continue


class OssServer:
    """A started server, to be used in a `with` statement or closed.

    It has one bucket to begin with, `examplebucket`, and one account, temporary with a security `token`; requests
    without a signature are only answered for buckets that were added as public.
    """

    region = "cn-hangzhou"
    key_id = "LTAI5tExampleKey"
    key_secret = "example-secret"

    def __init__(self, port: int = 0, *, token: str = "") -> None:
        self.token = token
        self._scratch = tempfile.TemporaryDirectory(prefix="oss-")
        self.service = Service(self.region, Path(self._scratch.name))
        self.faults, self.requests, self.closing = Faults(), list[Request](), threading.Event()
        self.grant(self.key_id, self.key_secret, token=token)
        self.add_bucket(BUCKET)
        self._listener = _Listener(port, type("ServerConnection", (Connection,), {"host": self}))
        self.endpoint = f"http://127.0.0.1:{self._listener.server_port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), name="oss-server")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once: stalled responses and open connections end. Raises what went wrong in the server itself."""
        self.closing.set()
        self.faults.clear()
        self._listener.shutdown()
        self._thread.join()
        self._listener.disconnect()
        self._listener.server_close()
        self._scratch.cleanup()
        for error in self._listener.errors:
            raise error

    @property
    def connections(self) -> int:
        """How many connections to it are open."""
        return self._listener.connections

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client of this server."""
        return {
            "OSS_ENDPOINT": self.endpoint,
            "OSS_REGION": self.region,
            "OSS_ACCESS_KEY_ID": self.key_id,
            "OSS_ACCESS_KEY_SECRET": self.key_secret,
            **({"OSS_SESSION_TOKEN": self.token} if self.token else {}),
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def objects(self) -> Mapping[str, OssObject]:
        """What is in `examplebucket` now."""
        return self.service.buckets[BUCKET].objects()

    def add_bucket(self, name: str, *, public: bool = False, directory: Path | None = None) -> Bucket:
        """Add (or replace) a bucket; a public one can be read without a signature, `directory` holds its objects."""
        bucket = self.service.buckets[name] = Bucket(name, public=public, directory=directory)
        return bucket

    def grant(self, key_id: str, secret: str, *, token: str = "", expires: float = float("inf")) -> None:
        """Add (or change) an account; one with a security token ends at `expires` (epoch seconds)."""
        self.service.accounts[key_id] = Account(secret, token, expires)

    def revoke(self, key_id: str) -> None:
        """Remove an account."""
        del self.service.accounts[key_id]

    @property
    def clock_offset(self) -> float:
        """Seconds that the server's clock is ahead of this machine's."""
        return self.service.clock_offset

    @clock_offset.setter
    def clock_offset(self, seconds: float) -> None:
        self.service.clock_offset = seconds

    def put(
        self,
        key: str,
        content: bytes | Path,
        *,
        bucket: str = BUCKET,
        storage_class: str = "Standard",
        content_encoding: str = "",
    ) -> OssObject:
        """Store an object without HTTP; the content of a file is read when it is asked for."""
        stored = new_object(content, self.service.now(), storage_class=storage_class, content_encoding=content_encoding)
        self.service.buckets[bucket].put(key, stored)
        return stored

    def put_tree(self, prefix: str, directory: Path, *, bucket: str = BUCKET) -> None:
        """Store every file below `directory` under `prefix`, which is ended by `/`."""
        base = f"{prefix.rstrip('/')}/" if prefix else ""
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                self.put(f"{base}{path.relative_to(directory).as_posix()}", path, bucket=bucket)

    def delete(self, key: str, *, bucket: str = BUCKET) -> None:
        """Remove an object, or all below a prefix that ends with `/`, without HTTP."""
        for name in self.service.buckets[bucket].objects():
            if name == key or (key.endswith("/") and name.startswith(key)):
                self.service.buckets[bucket].delete(name)

    def fail(
        self,
        fault: str,
        *,
        method: str = "",
        key: str | None = None,
        times: int | None = 1,
        after: int = 0,
        at: int | None = None,
        seconds: float | None = None,
        status: int = 503,
        code: str = "",
        content: bytes | Path = b"",
        rate: int = 1 << 16,
    ) -> Fault:
        """Inject a fault of `stand_in/faults.py` into `times` requests (None: all) once `after` others have passed.

        `method`, a regular expression, is GET unless given; listings are LIST, and not GET. `key`, another, is searched
        for in the object's key, or in a listing's prefix. Raises ValueError for a fault that does not exist.
        """
        method = method or ("LIST" if fault == "empty" else "GET")
        return self.faults.add(Fault(fault, method, key, times, after, at, seconds, status, code, content, rate))

    def heal(self) -> None:
        """Take back all faults and let stalled responses go on."""
        self.faults.clear()


@contextmanager
def oss_server(*, token: str = "") -> Iterator[OssServer]:
    """A started server, whose clients in this process and its children find it by their environment."""
    with OssServer(token=token) as server, patch.dict(os.environ):
        os.environ.pop("OSS_SESSION_TOKEN", None)
        os.environ.update(server.environment)
        yield server


def main() -> None:
    """Serve a directory until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the files of a directory as an OSS bucket.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--bucket", default=BUCKET)
    parser.add_argument("--public", action="store_true", help="let requests without a signature read")
    parser.add_argument("--rate", type=int, default=0, help="bytes a second of each object that is read; 0: no limit")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with OssServer(options.port) as server:
        options.directory.mkdir(parents=True, exist_ok=True)
        bucket = server.add_bucket(options.bucket, public=options.public, directory=options.directory)
        bucket.objects()  # computes checksums before anybody waits for them
        if options.rate:
            server.fail("slow", times=None, rate=options.rate)
        print(server.endpoint)
        for name, value in server.environment.items():
            print(f"export {name}={value}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
