"""Which endpoint and region of OSS are used, and what is said when they are not known."""

from __future__ import annotations

import pytest

from tfs_notebook.errors import ServingError
from tfs_notebook.oss.client.endpoint import Endpoint, StoreOptions

HANGZHOU = "https://oss-cn-hangzhou.aliyuncs.com"


@pytest.mark.parametrize(
    ("options", "environment", "url", "region"),
    [
        (StoreOptions(endpoint=HANGZHOU), {}, HANGZHOU, "cn-hangzhou"),
        (StoreOptions(region="cn-hangzhou"), {}, HANGZHOU, "cn-hangzhou"),
        (StoreOptions(region="oss-cn-hangzhou"), {}, HANGZHOU, "cn-hangzhou"),
        (StoreOptions(), {"OSS_ENDPOINT": HANGZHOU}, HANGZHOU, "cn-hangzhou"),
        (StoreOptions(), {"OSS_REGION": "cn-hangzhou"}, HANGZHOU, "cn-hangzhou"),
        (StoreOptions(endpoint=" oss-cn-hangzhou.aliyuncs.com/ "), {}, HANGZHOU, "cn-hangzhou"),
        (
            StoreOptions(endpoint="http://oss-cn-hangzhou-internal.aliyuncs.com"),
            {},
            "http://oss-cn-hangzhou-internal.aliyuncs.com",
            "cn-hangzhou",
        ),
        (
            StoreOptions(endpoint="oss-accelerate.aliyuncs.com"),
            {"OSS_REGION": "cn-hangzhou"},
            "https://oss-accelerate.aliyuncs.com",
            "cn-hangzhou",
        ),
        (
            StoreOptions(endpoint="http://127.0.0.1:9000"),
            {"OSS_REGION": "cn-hangzhou"},
            "http://127.0.0.1:9000",
            "cn-hangzhou",
        ),
    ],
)
def test_endpoint_and_region_follow_from_each_other(
    options: StoreOptions, environment: dict[str, str], url: str, region: str
) -> None:
    assert Endpoint.of(options, environment) == Endpoint(url, region)


def test_a_flag_goes_before_the_environment() -> None:
    environment = {"OSS_ENDPOINT": "oss-cn-shanghai.aliyuncs.com", "OSS_REGION": "cn-shanghai"}
    assert Endpoint.of(StoreOptions(endpoint=HANGZHOU), environment) == Endpoint(HANGZHOU, "cn-hangzhou")
    assert Endpoint.of(StoreOptions(), environment) == Endpoint("https://oss-cn-shanghai.aliyuncs.com", "cn-shanghai")


def test_a_domain_of_ones_own_stands_for_the_bucket() -> None:
    options = StoreOptions(endpoint="models.example.com", region="cn-hangzhou", cname=True)
    assert Endpoint.of(options, {}) == Endpoint("https://models.example.com", "cn-hangzhou", cname=True)


def test_only_the_default_endpoint_outside_the_region_is_public() -> None:
    assert Endpoint(HANGZHOU, "cn-hangzhou").public
    assert not Endpoint("https://oss-cn-hangzhou-internal.aliyuncs.com", "cn-hangzhou").public
    assert not Endpoint("https://models.example.com", "cn-hangzhou", cname=True).public


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        (StoreOptions(), "none is given", "OSS_REGION or --oss_region"),
        (StoreOptions(endpoint="http://127.0.0.1:9000"), "http://127.0.0.1:9000 does not tell it", "OSS_REGION"),
        (StoreOptions(endpoint="oss-accelerate.aliyuncs.com"), "does not tell it", "OSS_REGION"),
        (StoreOptions(region="Hangzhou!"), "'Hangzhou!' is no region", "like cn-hangzhou"),
        (StoreOptions(region="cn-hangzhou", cname=True), "--oss_cname needs the domain", "--oss_endpoint"),
        (StoreOptions(endpoint=f"{HANGZHOU}/examplebucket"), "is no endpoint", "it is like https://oss-"),
        (StoreOptions(endpoint="ftp://oss-cn-hangzhou.aliyuncs.com"), "is no endpoint", "it is like https://oss-"),
        (StoreOptions(endpoint="http://[::1", region="cn-hangzhou"), "is no endpoint", "it is like https://oss-"),
        (StoreOptions(endpoint=f"{HANGZHOU}:99999"), "is no endpoint", "it is like https://oss-"),
        (
            StoreOptions(endpoint="https://examplebucket.oss-cn-hangzhou.aliyuncs.com"),
            "--oss_endpoint 'https://examplebucket.oss-cn-hangzhou.aliyuncs.com' has a bucket in it",
            "oss-cn-hangzhou.aliyuncs.com is the endpoint",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_what_to_set(options: StoreOptions, message: str, remedy: str) -> None:
    with pytest.raises(ServingError) as refused:
        Endpoint.of(options, {})
    assert message in refused.value.message
    assert remedy in refused.value.hint


def test_a_password_in_the_endpoint_is_refused_and_not_repeated() -> None:
    with pytest.raises(ServingError, match="OSS_ENDPOINT has a user or a password in it") as refused:
        Endpoint.of(StoreOptions(), {"OSS_ENDPOINT": "https://id:s3cret@oss-cn-hangzhou.aliyuncs.com"})
    assert "s3cret" not in refused.value.told
