"""A process that is forked off has a copy of the server which is none, and leaves the parent's alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from tests.support.serving import PATIENCE

if TYPE_CHECKING:
    from tests.conftest import Models

PROGRAM = """
import atexit, multiprocessing, os, sys, urllib.request
import tfs_notebook
from tfs_notebook.errors import ServingError

def call(what):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        what()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def question():
    try:
        server.predict("model", [1.0])
    except ServingError as error:
        sys.exit(3 if "has been stopped" in str(error) and not server.running else 4)

def in_a_pool(_):
    server.stop()
    return server.running

if __name__ == "__main__":
    server = tfs_notebook.serve(sys.argv[1], rest_api_port=0, port=0)
    atexit.register(server.stop)  # as the extension does
    print("exits:", call(lambda: sys.exit(7)), call(lambda: (server.stop(), sys.exit(8))), call(question))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print("pool:", pool.map(in_a_pool, range(4)))
    print("REST:", urllib.request.urlopen(server.rest_url + "/v1/models/model").status)
    import grpc
    from tests.conformance.calls import predict_request
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
    with grpc.insecure_channel(server.grpc_target) as channel:
        reply = PredictionServiceStub(channel).Predict(predict_request("model", {"x": [1.0]}), timeout=100)
    print("gRPC:", *reply.outputs["y"].float_val, "running:", server.running)
    server.stop()
    print("left in the environment:", [name for name in os.environ if name.startswith(("GRPC_", "TF_CPP_"))])
"""


def test_children_keep_their_own_exit_codes_and_the_parent_serves_on(models: Models) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GRPC_", "TF_CPP_"))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(models.path("half_plus_two"))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "exits: 7 8 3",
        "pool: [False, False, False, False]",
        "REST: 200",
        "gRPC: 2.5 running: True",
        "left in the environment: []",
    ], done.stderr
    assert "fork_posix" not in done.stderr
    assert done.returncode == 0
