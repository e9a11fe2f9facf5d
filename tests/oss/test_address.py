"""Addresses in OSS: `oss://bucket/prefix/`."""

from __future__ import annotations

import pytest

from tfs_notebook.errors import ServingError
from tfs_notebook.oss.address import OssAddress, is_oss


def test_an_address_has_a_bucket_and_a_key() -> None:
    assert OssAddress.parse("oss://examplebucket/models/tf_serving/") == OssAddress(
        "examplebucket", "models/tf_serving/"
    )


@pytest.mark.parametrize(
    "text", ["oss://", "oss:///models", "oss://Bucket/x", "oss://ab/x", "/models", "oss://a_b_c/x"]
)
def test_what_is_no_address_is_refused_by_its_own_text(text: str) -> None:
    with pytest.raises(ServingError, match="is no address in OSS") as refused:
        OssAddress.parse(text)
    assert repr(text) in str(refused.value)


def test_a_prefix_ends_with_a_slash_so_that_it_does_not_match_its_siblings() -> None:
    assert OssAddress.parse("oss://examplebucket/modelA").directory.key == "modelA/"
    assert OssAddress.parse("oss://examplebucket").directory.key == ""


@pytest.mark.parametrize(
    ("address", "root", "rest"),
    [
        ("oss://examplebucket/models/modelA/", "oss://examplebucket/models", "modelA/"),
        ("oss://examplebucket/models/", "oss://examplebucket/models", ""),
        ("oss://examplebucket/models", "oss://examplebucket/models/", ""),
        ("oss://examplebucket/modelsX/", "oss://examplebucket/models", None),
        ("oss://otherbucket/models/modelA", "oss://examplebucket/models", None),
        ("oss://examplebucket/modelA", "oss://examplebucket", "modelA"),
    ],
)
def test_what_lies_below_a_root(address: str, root: str, rest: str | None) -> None:
    assert OssAddress.parse(address).below(OssAddress.parse(root)) == rest


def test_joining_goes_below_the_prefix() -> None:
    assert str(OssAddress.parse("oss://examplebucket/models").join("modelA/1")) == "oss://examplebucket/models/modelA/1"


def test_only_its_own_scheme_is_oss() -> None:
    assert is_oss("oss://examplebucket/x")
    assert not is_oss("/models/oss://x")
