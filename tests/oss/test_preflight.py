"""What is refused before anything is begun, each with its remedy, and what is left to the synchronisation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

import tfs_notebook
from tests.support.serving import until
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.doctor.bucket import look_at_prefix
from tfs_notebook.options import Options
from tfs_notebook.oss.preflight import Access
from tfs_notebook.settings.deployment import plan
from tfs_notebook.settings.oss import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

ROOT = "oss://examplebucket/models/tf_serving"


@pytest.fixture
def access(oss: OssServer) -> Access:
    for key in ("modelA/1/saved_model.pb", "modelB/1/saved_model.pb", "modelB/2/saved_model.pb", "model_config.pbtxt"):
        oss.put(f"models/tf_serving/{key}", b"x")
    return Access(partial(open_store, options=Options()))


def listings(oss: OssServer) -> int:
    return len([request for request in oss.requests if request.query.get("list-type") or "prefix" in request.query])


def test_a_base_path_with_versions(access: Access, oss: OssServer) -> None:
    assert access.no_version("m", f"{ROOT}/modelA/") is None
    assert access.no_version("m", f"{ROOT}/modelB") is None
    assert access.no_version("m", "oss://examplebucket/models/tf_serving/modelB/") is None
    assert listings(oss) == 2


def test_places_below_one_another_cost_one_listing(access: Access, oss: OssServer) -> None:
    access.check([f"{ROOT}/modelA/", ROOT, "/models/modelB", f"{ROOT}/modelB/"])
    assert access.no_version("m", f"{ROOT}/modelA/") is None
    assert listings(oss) == 1


@pytest.mark.parametrize(
    ("base_path", "hint"),
    [
        ("modelA/1/", "oss://examplebucket/models/tf_serving/modelA/1/ is a version itself"),
        ("modelA/1/", "(for this version: oss://examplebucket/models/tf_serving/modelA/)"),
        ("", "holds modelA/, modelB/, model_config.pbtxt. Serve one of them, like "),
        ("modelC", "Nothing lies below oss://examplebucket/models/tf_serving/modelC/"),
        ("model", "Nothing lies below oss://examplebucket/models/tf_serving/model/"),
    ],
)
def test_what_is_no_base_path(access: Access, base_path: str, hint: str) -> None:
    problem = access.no_version("m", f"{ROOT}/{base_path}")
    assert problem is not None
    assert problem.code is Code.NOT_FOUND
    assert problem.message.startswith(f"No versions of servable m found under base path {ROOT}/{base_path}.")
    assert hint in problem.hint


def test_what_the_doctor_says_of_a_prefix(access: Access, oss: OssServer) -> None:
    for prefix in (f"{ROOT}/modelA/", f"{ROOT}/"):
        assert look_at_prefix(prefix, None) == (f"{prefix}, by one listing", [])
    (nothing,) = look_at_prefix(f"{ROOT}/modelC/", None)[1]
    assert nothing.remedy.startswith(f"Nothing lies below {ROOT}/modelC/; versions are uploaded there under a number")
    (bucket,) = look_at_prefix("oss://examplebuckett/models/", None)[1]
    assert bucket.problem.startswith("oss://examplebuckett/models/ is not there")
    (scheme,) = look_at_prefix("ossx://examplebucket/models/", None)[1]
    assert "oss://" in str(scheme)


def test_a_bucket_that_is_not_there(access: Access) -> None:
    with pytest.raises(ServingError, match="oss://examplebuckett/models/ is not there") as refused:
        access.check(["oss://examplebuckett/models/"])
    assert refused.value.code is Code.NOT_FOUND
    assert "check the name of the bucket" in refused.value.hint


def test_credentials_that_are_wrong_or_missing(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "not-the-secret")
    with pytest.raises(ServingError, match="SignatureDoesNotMatch") as refused:
        access.check([ROOT])
    assert refused.value.code is Code.PERMISSION_DENIED
    assert "not-the-secret" not in refused.value.told
    monkeypatch.delenv("OSS_ACCESS_KEY_ID")
    monkeypatch.delenv("OSS_ACCESS_KEY_SECRET")
    with pytest.raises(ServingError, match="there are no credentials for OSS"):
        access.check([ROOT])


def test_no_region(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSS_REGION")
    with pytest.raises(ServingError, match="none is given") as refused:
        access.check([ROOT])
    assert "--oss_region" in refused.value.hint
    in_region = replace(Options(), oss_region="cn-hangzhou")
    Access(partial(open_store, options=in_region)).check([ROOT])


def test_no_connection_stays_open(access: Access, oss: OssServer) -> None:
    oss.fail("error", method="LIST", key="modelC", status=404, code="NoSuchBucket")
    oss.fail("error", method="LIST", key="modelD", status=400)
    access.check([f"{ROOT}/modelA/", f"{ROOT}/modelB/"])
    for model in "CD":
        with pytest.raises(ServingError):
            access.check([f"{ROOT}/model{model}/"])
    assert len(oss.requests) == 4
    until(lambda: not oss.connections)


def test_trouble_that_passes_is_left_to_the_synchronisation(access: Access, oss: OssServer) -> None:
    oss.fail("error", method="LIST", times=None, status=503, code="ServiceUnavailable")
    access.check([ROOT])
    assert access.no_version("m", f"{ROOT}/modelZ/") is None


def of_base_path(path: str) -> str:
    return f"model_config_list {{ config {{ name: 'm' base_path: '{path}' model_platform: 'tensorflow' }} }}"


@pytest.mark.parametrize(
    ("path", "text", "given"),
    [
        (f"{ROOT}/.tfs-sync", "", {}),
        (f"{ROOT}/.tfs-sync/staging/", "", {}),
        ("", of_base_path(f"{ROOT}/.tfs-sync/trash/m"), {}),
        (f"{ROOT}/", of_base_path("/models/.tfs-sync/m"), {"mount": "/models"}),
        (f"{ROOT}/", "", {"mount": "/models", "model_name": ".tfs-sync"}),
        (f"{ROOT}/.tfs-sync/", "", {"mount": "/models"}),
    ],
)
def test_where_the_synchronisation_keeps_its_own_files(
    path: str, text: str, given: dict[str, str], access: Access, oss: OssServer
) -> None:
    with pytest.raises(ServingError, match=f"'{ROOT}/.tfs-sync.*' cannot be used: .* another name") as refused:
        plan(path, text, given)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert oss.requests == []


@pytest.mark.parametrize(
    "path", ["oss:/examplebucket/m/", "oss//examplebucket/m/", "oss:examplebucket/m/", "OSS://examplebucket/m/"]
)
def test_what_is_nearly_an_address(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for asked, text, given in (
        (path, "", {}),
        (path, "", {"mount": "/models"}),
        ("", of_base_path(path), {}),
        ("", "", {"model_config_file": path}),
        ("", "", {"model_base_path": path}),
    ):
        with pytest.raises(ServingError, match=f"'{path}' is neither a path that exists nor") as refused:
            plan(asked, text, given)
        assert "is oss://examplebucket/m/ meant?" in refused.value.message
    (tmp_path / path / "1").mkdir(parents=True)
    if "://" not in path:
        assert plan(path, "", {}).options.model_base_path == str(tmp_path / path)


@pytest.mark.parametrize("marker", ["a/b", "/", "..", ".", "a\\b", "a\tb", " ", "saved_model.pb", "x" * 256])
def test_what_is_no_marker(marker: str, oss: OssServer, tmp_path: Path) -> None:
    for begin in (lambda: plan(f"{ROOT}/m", "", {"oss_marker": marker}), lambda: push(marker, tmp_path)):
        with pytest.raises(ServingError, match="is no name of a marker: it is the name of one object") as refused:
            begin()
        assert f"--oss_marker={marker} is" in refused.value.message
    assert oss.requests == []


def push(marker: str, model: Path) -> None:
    tfs_notebook.push(model, f"{ROOT}/m", oss_marker=marker)


@pytest.mark.parametrize("path", ["oss://", "oss:///models", "oss://Bucket/models", "oss://b/models"])
def test_what_is_no_address(path: str, oss: OssServer) -> None:
    with pytest.raises(ServingError, match="is no address in OSS: oss://BUCKET/PREFIX/") as refused:
        plan(path, "", {})
    assert refused.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(ServingError, match="is no address in OSS"):
        plan("", of_base_path(path), {})
    with pytest.raises(ServingError, match="is no address in OSS"):
        plan(path, "", {"mount": "/models"})
