from __future__ import annotations

import pytest

from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.rest.routes import Route, _known_route, route
from tfs_notebook.errors import Code, ServingError


@pytest.mark.parametrize(
    ("method", "path", "action", "spec"),
    [
        ("POST", "/v1/models/m:predict", "predict", ModelSpec("m")),
        ("POST", "/v1/models/m:classify", "classify", ModelSpec("m")),
        ("POST", "/v1/models/m:regress", "regress", ModelSpec("m")),
        ("POST", "/v1/models/m/versions/7:predict", "predict", ModelSpec("m", version=7)),
        ("POST", "/v1/models/m/versions/0007:predict", "predict", ModelSpec("m", version=7)),
        ("POST", "/v1/models/m/versions/9223372036854775807:predict", "predict", ModelSpec("m", version=2**63 - 1)),
        ("POST", f"/v1/models/m/versions/{'0' * 5000}1:predict", "predict", ModelSpec("m", version=1)),
        ("POST", "/v1/models/m/labels/canary:predict", "predict", ModelSpec("m", label="canary")),
        ("POST", "/v1/models/a%2Fb%3Ac+d:predict", "predict", ModelSpec("a/b:c+d")),
        ("POST", "/v1/models/m%C3%A9:predict", "predict", ModelSpec("mé")),
        ("POST", "/V1/MODELS/Mixed/LABELS/X:predict", "predict", ModelSpec("Mixed", label="X")),
        ("GET", "/v1/models/m", "status", ModelSpec("m")),
        ("GET", "/v1/models/m/versions/7", "status", ModelSpec("m", version=7)),
        ("GET", "/v1/models/m/metadata", "metadata", ModelSpec("m")),
        ("GET", "/v1/models/m/labels/x/metadata", "metadata", ModelSpec("m", label="x")),
        ("GET", "/v1/models/m/METADATA", "status", ModelSpec("m")),
        ("GET", "/v1/models/metadata", "status", ModelSpec("metadata")),
        ("GET", "/v1/models/metadata/metadata", "metadata", ModelSpec("metadata")),
        ("GET", "/v1/models/m?x=1", "status", ModelSpec("m?x=1")),
        ("GET", "/v1/models/m#x", "status", ModelSpec("m#x")),
    ],
)
def test_what_a_url_asks_for(method: str, path: str, action: str, spec: ModelSpec) -> None:
    assert route(method, path) == Route(action, spec)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/a/b"),
        ("GET", "/v1/models/m/versions/x"),
        ("GET", "/v1/models/m/versions/-1"),
        ("GET", "/v1/models/m/versions/"),
        ("GET", "/v1/models/m/labels/"),
        ("GET", "/v1/models/m/versions/1/labels/x"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/:predict"),
        ("POST", "/v1/models/m:Predict"),
        ("POST", "/v1/models/m:predict "),
        ("PUT", "/v1/models/m:predict"),
        ("HEAD", "/v1/models/m"),
    ],
)
def test_what_no_url_asks_for(method: str, path: str) -> None:
    with pytest.raises(ServingError) as caught:
        route(method, path)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, f"Malformed request: {method} {path}")


@pytest.mark.parametrize("version", [2**63, 2**64, "9" * 5000])
def test_a_version_beyond_int64(version: object) -> None:
    with pytest.raises(ServingError, match=f"^INVALID_ARGUMENT: Failed to convert version: {version} to numeric.$"):
        route("GET", f"/v1/models/m/versions/{version}")


def test_a_name_that_is_not_utf8() -> None:
    with pytest.raises(ServingError, match="%FF is not percent-encoded UTF-8") as caught:
        route("GET", "/v1/models/%FF")
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_long_urls_are_not_remembered() -> None:
    before = _known_route.cache_info().currsize
    for number in range(10):
        assert route("GET", f"/v1/models/{'m' * 300}{number}").spec.name.endswith(str(number))
    assert _known_route.cache_info().currsize == before
