"""Signatures V4: the vectors that Alibaba Cloud's own clients are tested with, and one written out part by part."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest

from tests.oss.stand_in.errors import RefusalError
from tests.oss.stand_in.signature import (
    Account,
    SignedRequest,
    authorization,
    canonical_request,
    sign,
    string_to_sign,
    verify,
)

NOW = 1702743657.0  # 2023-12-16T16:20:57Z
PUBLISHED = SignedRequest(
    "PUT",
    "bucket",
    "1234+-/123/1.txt",
    "param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2=",
    {
        "x-oss-head1": "value",
        "abc": "value",
        "zabc": "value",
        "xyz": "value",
        "content-type": "text/plain",
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        "x-oss-date": "20231216T162057Z",
    },
)
"""The request of the signer tests in Alibaba Cloud's SDKs (C++, C#, Go, Java, Kotlin, PHP, Rust): access key ak, sk."""


def with_headers(request: SignedRequest, **headers: str) -> SignedRequest:
    return replace(request, headers={**request.headers, **{k.replace("_", "-"): v for k, v in headers.items()}})


def test_the_published_vector() -> None:
    assert canonical_request(PUBLISHED) == (
        "PUT\n"
        "/bucket/1234%2B-/123/1.txt\n"
        "%2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2\n"
        "content-type:text/plain\n"
        "x-oss-content-sha256:UNSIGNED-PAYLOAD\n"
        "x-oss-date:20231216T162057Z\n"
        "x-oss-head1:value\n"
        "\n"
        "\n"
        "UNSIGNED-PAYLOAD"
    )
    assert authorization(PUBLISHED, "ak", "sk", "cn-hangzhou") == (
        "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request, "
        "Signature=e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"
    )


def test_the_published_vector_with_a_security_token() -> None:
    request = with_headers(PUBLISHED, x_oss_date="20231217T034736Z", x_oss_security_token="token")
    assert authorization(request, "ak", "sk", "cn-hangzhou").endswith(
        "Signature=b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea"
    )


def test_the_published_vector_with_additional_headers() -> None:
    request = with_headers(PUBLISHED, x_oss_date="20231216T172512Z")
    assert authorization(request, "ak", "sk", "cn-hangzhou", ["zabc", "abc"]).endswith(
        "AdditionalHeaders=abc;zabc, Signature=4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f"
    )


def test_a_listing_signed_step_by_step() -> None:
    request = SignedRequest(
        "GET",
        "examplebucket",
        "",
        "list-type=2&prefix=models%2Fmodel%20A%2F&max-keys=1000&delimiter=",
        {"host": "127.0.0.1:80", "x-oss-content-sha256": "UNSIGNED-PAYLOAD", "x-oss-date": "20231216T162057Z"},
    )
    canonical = (
        "GET\n"
        "/examplebucket/\n"
        "delimiter&list-type=2&max-keys=1000&prefix=models%2Fmodel%20A%2F\n"
        "host:127.0.0.1:80\n"
        "x-oss-content-sha256:UNSIGNED-PAYLOAD\n"
        "x-oss-date:20231216T162057Z\n"
        "\n"
        "host\n"
        "UNSIGNED-PAYLOAD"
    )
    assert canonical_request(request, ["host"]) == canonical
    text = (
        "OSS4-HMAC-SHA256\n"
        "20231216T162057Z\n"
        "20231216/cn-hangzhou/oss/aliyun_v4_request\n"
        f"{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    assert string_to_sign(canonical, "20231216T162057Z", "cn-hangzhou") == text
    by_date = hmac.new(b"aliyun_v4secret", b"20231216", hashlib.sha256).digest()
    by_region = hmac.new(by_date, b"cn-hangzhou", hashlib.sha256).digest()
    by_product = hmac.new(by_region, b"oss", hashlib.sha256).digest()
    signing_key = hmac.new(by_product, b"aliyun_v4_request", hashlib.sha256).digest()
    assert sign("secret", text) == hmac.new(signing_key, text.encode(), hashlib.sha256).hexdigest()


ACCOUNTS = {
    "ak": Account("sk"),
    "STS.ak": Account("sk", token="token", expires=NOW + 3600),
}


def signed(
    request: SignedRequest = PUBLISHED,
    key_id: str = "ak",
    secret: str = "sk",
    region: str = "cn-hangzhou",
    additional: tuple[str, ...] = (),
) -> SignedRequest:
    return with_headers(request, authorization=authorization(request, key_id, secret, region, additional))


def refused(request: SignedRequest, now: float = NOW) -> str:
    with pytest.raises(RefusalError) as refusal:
        verify(request, ACCOUNTS, "cn-hangzhou", now)
    return refusal.value.code


def test_what_an_account_signed_is_let_through() -> None:
    verify(signed(), ACCOUNTS, "cn-hangzhou", NOW)
    verify(signed(additional=("abc", "xyz")), ACCOUNTS, "cn-hangzhou", NOW + 899)
    verify(signed(with_headers(PUBLISHED, x_oss_security_token="token"), "STS.ak"), ACCOUNTS, "cn-hangzhou", NOW)


def test_a_header_that_nobody_signed_may_change() -> None:
    verify(with_headers(signed(), xyz="other"), ACCOUNTS, "cn-hangzhou", NOW)


@pytest.mark.parametrize(
    "changed",
    [
        signed(secret="ks"),
        replace(signed(), method="GET"),
        replace(signed(), key="1234+-/123/2.txt"),
        replace(signed(), bucket="tekcub"),
        replace(signed(), query=PUBLISHED.query.replace("value1", "value2")),
        replace(signed(), query=f"{PUBLISHED.query}&more=1"),
        with_headers(signed(), x_oss_head1="other"),
        with_headers(signed(), x_oss_head2="added"),
        with_headers(signed(), content_type="text/html"),
        with_headers(signed(additional=("abc",)), abc="other"),
        with_headers(signed(), x_oss_date="20231216T162058Z"),
    ],
    ids=[
        "secret",
        "method",
        "key",
        "bucket",
        "query",
        "more-query",
        "header",
        "more-header",
        "type",
        "additional",
        "date",
    ],
)
def test_what_was_changed_after_signing_does_not_match(changed: SignedRequest) -> None:
    assert refused(changed) == "SignatureDoesNotMatch"


def test_an_unknown_access_key() -> None:
    assert refused(signed(key_id="nobody")) == "InvalidAccessKeyId"


def test_temporary_keys_go_with_their_token() -> None:
    with_token = with_headers(PUBLISHED, x_oss_security_token="token")
    assert refused(signed(key_id="STS.ak")) == "InvalidAccessKeyId"
    assert refused(signed(with_headers(PUBLISHED, x_oss_security_token="other"), "STS.ak")) == "InvalidSecurityToken"
    assert refused(signed(with_token, "ak")) == "InvalidSecurityToken"
    later = with_headers(with_token, x_oss_date="20231216T172057Z")
    assert refused(signed(later, "STS.ak"), NOW + 3600) == "SecurityTokenExpired"


@pytest.mark.parametrize("skew", [-901, 901])
def test_a_clock_over_fifteen_minutes_off(skew: float) -> None:
    assert refused(signed(), NOW + skew) == "RequestTimeTooSkewed"


def test_another_region() -> None:
    with pytest.raises(RefusalError, match=r"400 InvalidArgument: Invalid signing region in Authorization header\."):
        verify(signed(region="cn-beijing"), ACCOUNTS, "cn-hangzhou", NOW)


def test_older_signature_versions() -> None:
    with pytest.raises(RefusalError, match=r"403 AccessDenied: Signature versions before V4"):
        verify(with_headers(PUBLISHED, authorization="OSS ak:vjbyPxybdZaNmGa="), ACCOUNTS, "cn-hangzhou", NOW)


@pytest.mark.parametrize(
    "header",
    [
        "OSS4-HMAC-SHA256",
        "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/s3/aliyun_v4_request, Signature=" + "0" * 64,
        "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request, Signature=1",
        "OSS4-HMAC-SHA256 Credential=ak/20231215/cn-hangzhou/oss/aliyun_v4_request, Signature=" + "0" * 64,
        *(
            "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request, "
            f"AdditionalHeaders={names}, Signature=" + "0" * 64
            for names in ("", "abc;", "xyz;abc", "Abc", "range")
        ),
    ],
)
def test_an_authorization_header_that_says_nothing(header: str) -> None:
    assert refused(with_headers(PUBLISHED, authorization=header)) == "InvalidArgument"


@pytest.mark.parametrize("date", ["", "Sat, 16 Dec 2023 16:20:57 GMT"])
def test_a_time_that_is_none(date: str) -> None:
    assert refused(with_headers(signed(), x_oss_date=date)) == "InvalidArgument"


def test_the_payload_is_not_signed() -> None:
    assert refused(signed(with_headers(PUBLISHED, x_oss_content_sha256="0" * 64))) == "InvalidArgument"
