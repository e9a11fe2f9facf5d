"""tfs-model-server and tfs-serving-entrypoint with models in OSS, as processes."""

from __future__ import annotations

import http.client
import json
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.oss.guide import CONFIG, ROOT, Guide
from tests.support.ports import free_ports
from tests.support.serving import PATIENCE, until
from tests.test_cli import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.test_cli import Process

MOUNTED = ("--mount=/models", f"--model_root={ROOT}", "--oss_poll_wait_seconds=1")


def answer(port: int, path: str) -> Any:
    """What 0 is answered: the number of the version that answers."""
    with closing(http.client.HTTPConnection("localhost", port, timeout=PATIENCE)) as connection:
        connection.request("POST", f"/v1/models/{path}:predict", b'{"instances": [0.0]}')
        reply = json.load(connection.getresponse())
    return reply["predictions"][0] if "predictions" in reply else reply["error"]


def end(process: Process) -> int:
    process.popen.send_signal(signal.SIGTERM)
    return process.wait()[0]


@pytest.mark.parametrize("config", [CONFIG, "/models/model_config.pbtxt"])
def test_the_guides_custom_deployment(guide: Guide, config: str) -> None:
    rest_port, grpc_port = free_ports(2)
    flags = (
        *MOUNTED,
        f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
    )
    with running(*flags) as process:
        process.logged("Exporting HTTP/REST API at:")
        assert [answer(rest_port, path) for path in ("modelA", "modelB/labels/stable", "modelC")] == [1, 1, 3]
        guide.put("modelC", 4)
        until(lambda: answer(rest_port, "modelC") == 4)
        guide.configure("modelA")
        until(lambda: "not found" in str(answer(rest_port, "modelB")))
        assert end(process) == 0
    log = "".join(process.log)
    assert guide.oss.key_id not in log
    assert guide.oss.key_secret not in log


def test_the_entrypoint_takes_an_address_from_the_environment(guide: Guide) -> None:
    rest_port, grpc_port = free_ports(2)
    environment = {"MODEL_NAME": "modelB", "MODEL_BASE_PATH": ROOT.rstrip("/")}
    flags = f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--oss_poll_wait_seconds=1"
    with running(*flags, module="tfs_notebook.entrypoint", **environment) as process:
        process.logged("Exporting HTTP/REST API at:")
        assert answer(rest_port, "modelB") == 2
        assert end(process) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--model_base_path=oss://nobucket/modelA"],
            "Failed to start server. Error: NOT_FOUND: oss://nobucket/modelA/",
        ),
        (
            ["--model_base_path=oss://B/modelA"],
            "Failed to start server. Error: INVALID_ARGUMENT: 'oss://B/modelA' is no",
        ),
        (
            [f"--model_config_file={ROOT}nothing"],
            f"Failed to start server. Error: NOT_FOUND: {ROOT}nothing is not there",
        ),
        ([f"--model_base_path={ROOT}modelA", "--oss_region="], ""),
    ],
)
def test_what_cannot_be_served_ends_the_process(
    guide: Guide, flags: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not said:
        monkeypatch.delenv("OSS_REGION")
        said = "Failed to start server. Error: INVALID_ARGUMENT: OSS signs requests for a region, but none is given"
    with running(f"--port={free_ports(1)[0]}", *flags) as process:
        status, out = process.wait()
    assert status == 255
    assert said in out


def test_a_version_that_is_uploaded_later_is_waited_for(guide: Guide, tmp_path: Path) -> None:
    rest_port, grpc_port = free_ports(2)
    flags = f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--oss_poll_wait_seconds=1"
    with running(*flags, f"--model_base_path={ROOT}later/", f"--oss_cache_dir={tmp_path / 'copies'}") as process:
        process.logged("Nothing is below")
        guide.put("later", 3)
        process.logged("Exporting HTTP/REST API at:")
        assert answer(rest_port, "default") == 3
        assert end(process) == 0
    assert list((tmp_path / "copies").glob("*/examplebucket/*later/3/saved_model.pb"))


def test_a_network_that_is_down_is_told_in_the_servers_own_words(guide: Guide, tmp_path: Path) -> None:
    flags = f"--port={free_ports(1)[0]}", f"--oss_endpoint=http://127.0.0.1:{free_ports(1)[0]}"
    with running(*flags, f"--model_base_path={ROOT}modelA/", f"--oss_cache_dir={tmp_path / 'copies'}") as process:
        process.logged("cannot be reached")
        assert end(process) == 0
    assert not [line for line in process.log if "Retrying" in line]


def test_keys_that_end_are_logged_with_when_they_are_tried_again(guide: Guide, tmp_path: Path) -> None:
    rest_port, grpc_port = free_ports(2)
    flags = f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--oss_poll_wait_seconds=1"
    with running(*flags, f"--model_base_path={ROOT}modelA/", f"--oss_cache_dir={tmp_path / 'copies'}") as process:
        process.logged("Exporting HTTP/REST API at:")
        guide.oss.revoke(guide.oss.key_id)
        process.logged("InvalidAccessKeyId")
        process.logged("(asked again in 3")
        assert answer(rest_port, "default") == 1
        assert end(process) == 0
