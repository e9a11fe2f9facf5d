"""The processes that are measured: this project's server, and the floors it is held against. Each prints its port."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running(role: str, *arguments: str) -> Iterator[tuple[int, ...]]:
    """The ports of a process in one of the roles below; it ends with the `with`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.processes", role, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        if not ports:
            raise RuntimeError(f"the {role} process ended before it listened")
        yield tuple(int(port) for port in ports)
    finally:
        process.terminate()
        process.wait(10)


def serve(path: str, *options: str) -> None:
    """This project, with an idle main thread."""
    _start(path, *options)
    signal.pause()


def serve_and_spin(path: str, *options: str) -> None:
    """This project, while the main thread runs pure Python as a cell does."""
    _start(path, *options)
    count = 0
    while True:
        count += 1


def _start(path: str, *options: str) -> None:
    import tfs_notebook
    from tfs_notebook.options import FLAGS

    given = {name: FLAGS[name].parse(value) for name, value in (option.split("=", 1) for option in options)}
    server = tfs_notebook.serve(path, port=0, rest_api_port=0, **given)
    assert server.rest_url is not None
    assert server.grpc_target is not None
    print(server.rest_url.rpartition(":")[2], server.grpc_target.rpartition(":")[2], flush=True)


def http_echo() -> None:
    """The floor of REST: aiohttp's low-level server that sends the body back."""
    import uvloop
    from aiohttp import web

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.read(), content_type="application/json")

    async def main() -> None:
        runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


def grpc_echo() -> None:
    """The floor of gRPC: grpcio's threaded server that sends the bytes back."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    handler = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService",
        {"Predict": grpc.unary_unary_rpc_method_handler(lambda request, _context: request)},
    )
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handler,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    {"serve": serve, "serve_and_spin": serve_and_spin, "http_echo": http_echo, "grpc_echo": grpc_echo}[sys.argv[1]](
        *sys.argv[2:]
    )
