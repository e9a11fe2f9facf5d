"""A config that is an object in OSS: read when it changed, kept when it cannot be had, and told about once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import config_text, until
from tfs_notebook.engine.config_file import ConfigFile
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.options import Options
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.config_object import ConfigObject
from tfs_notebook.settings.deployment import plan
from tfs_notebook.settings.oss import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

KEY = "models/tf_serving/model_config.pbtxt"
ADDRESS = f"oss://examplebucket/{KEY}"


def put(oss: OssServer, *names: str) -> None:
    oss.put(KEY, config_text({name: f"/models/{name}" for name in names}).encode())  # type: ignore[misc]


@pytest.fixture
def file(oss: OssServer) -> ConfigFile:
    put(oss, "modelA")
    return ConfigFile(ADDRESS, ConfigObject(OssAddress.parse(ADDRESS), partial(open_store, options=Options())).fetch)


def names(file: ConfigFile) -> list[str] | None:
    config = file.read_if_changed()
    return None if config is None else [model.name for model in config.model_config_list.config]


def statuses(oss: OssServer) -> list[int]:
    return [request.status for request in oss.requests]


def test_it_is_transferred_only_when_it_changed(file: ConfigFile, oss: OssServer) -> None:
    assert names(file) == ["modelA"]
    assert names(file) is None
    put(oss, "modelA", "modelB")
    assert names(file) == ["modelA", "modelB"]
    assert names(file) is None
    assert statuses(oss) == [200, 304, 200, 304]


def test_trouble_is_told_in_the_same_words_until_it_ends(file: ConfigFile, oss: OssServer) -> None:
    assert names(file) == ["modelA"]
    oss.delete(KEY)
    told = set()
    for _ in range(3):
        with pytest.raises(ServingError, match="is not there") as refused:
            file.read_if_changed()
        told.add(refused.value.message)
    assert len(told) == 1
    assert refused.value.code is Code.NOT_FOUND
    put(oss, "modelA")
    assert names(file) is None
    put(oss, "modelC")
    assert names(file) == ["modelC"]


def test_no_connection_stays_open(file: ConfigFile, oss: OssServer) -> None:
    assert names(file) == ["modelA"]
    assert names(file) is None
    oss.delete(KEY)
    with pytest.raises(ServingError, match="is not there"):
        file.read_if_changed()
    until(lambda: not oss.connections)


def test_what_is_no_config(file: ConfigFile, oss: OssServer) -> None:
    oss.put(KEY, b"\xff\xfe")
    with pytest.raises(ServingError, match="it is not UTF-8 text"):
        file.read()
    oss.put(KEY, b"model_config_list {\n  oops: 1 }")
    with pytest.raises(ServingError) as refused:
        file.read()
    assert refused.value.where == f"{ADDRESS}:2:3"


def test_where_a_deployment_finds_it(oss: OssServer, tmp_path: Path) -> None:
    put(oss, "modelA")
    root = "oss://examplebucket/models/tf_serving/"
    for config in (ADDRESS, "/models/model_config.pbtxt"):
        deployed = plan(root, "", {"mount": "/models", "model_config_file": config})
        assert deployed.file is not None
        assert deployed.file.path == ADDRESS
        assert [model.base_path for model in deployed.config.model_config_list.config] == ["/models/modelA"]
    deployed = plan(str(tmp_path), "", {"mount": "/models", "model_config_file": ADDRESS})
    assert deployed.options.model_root == str(tmp_path)
