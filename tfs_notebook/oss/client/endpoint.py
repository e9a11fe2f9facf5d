"""Where OSS answers, and for which region requests are signed.

What a flag says goes before the environment (`OSS_ENDPOINT`, `OSS_REGION`). An endpoint's host names its region, as in
`oss-cn-hangzhou-internal.aliyuncs.com`, and a region has a public endpoint, so that one of the two is enough.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = re.compile(r"(?P<bucket>.+\.)?oss-(?P<region>[a-z0-9-]+?)(?P<internal>-internal)?\.aliyuncs\.com")
_NO_REGIONS = ("accelerate", "accelerate-overseas")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HOST_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """`--oss_endpoint`, `--oss_region` and `--oss_cname`, "" for what is not given."""

    endpoint: str = ""
    region: str = ""
    cname: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`url` is scheme and host, `region` an id like `cn-hangzhou`; with `cname` the host is a domain of the bucket."""

    url: str
    region: str
    cname: bool = False

    @classmethod
    def of(cls, options: StoreOptions, environment: Mapping[str, str] = os.environ) -> Endpoint:
        """The endpoint that `options` and `environment` name. Raises ServingError with what to set."""
        given = options.endpoint.strip()
        told = (environment.get("OSS_ENDPOINT") or "").strip()
        region = _region(
            options.region or _region_of(given) or environment.get("OSS_REGION") or _region_of(told), given or told
        )
        if options.cname and not (given or told):
            raise _problem("--oss_cname needs the domain that stands for the bucket", "give it as --oss_endpoint")
        if given or told:
            name = "--oss_endpoint" if given else "OSS_ENDPOINT"
            return cls(_url(given or told, name, options.cname), region, options.cname)
        return cls(f"https://oss-{region}.aliyuncs.com", region)

    @property
    def public(self) -> bool:
        """Whether it is a region's default public one, which mainland China refuses to accounts since 2025-03-20."""
        match = _HOST.fullmatch(urlsplit(self.url).hostname or "")
        return bool(match and not match["internal"]) and not self.cname


def _url(text: str, name: str, cname: bool) -> str:
    """`text` as scheme, host and port: https when it names no scheme, as a secret travels with every request."""
    parts = _split(text)
    if "@" in parts.netloc:
        raise _problem(f"{name} has a user or a password in it", "credentials come from OSS_ACCESS_KEY_ID and its kin")
    if parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query or not _is_host(parts):
        raise _problem(f"{name} {text!r} is no endpoint", "it is like https://oss-cn-hangzhou-internal.aliyuncs.com")
    match = _HOST.fullmatch(parts.hostname or "")
    if match and match["bucket"] and not cname:
        host = (parts.hostname or "").removeprefix(match["bucket"])
        raise _problem(f"{name} {text!r} has a bucket in it", f"{host} is the endpoint; the address names the bucket")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:  # a bracket without its other one
        return urlsplit("")


def _is_host(parts: SplitResult) -> bool:
    try:
        return bool(_HOST_NAME.fullmatch(parts.hostname or "")) and parts.port != 0
    except ValueError:
        return False


def _region_of(endpoint: str) -> str:
    match = _HOST.fullmatch(_split(endpoint).hostname or "") if endpoint else None
    return match["region"] if match and match["region"] not in _NO_REGIONS else ""


def _region(text: str, endpoint: str) -> str:
    """The id that signatures want, `cn-hangzhou`, also where somebody wrote `oss-cn-hangzhou`."""
    region = text.strip().removeprefix("oss-")
    if not region:
        at = f", and {endpoint} does not tell it" if endpoint else ""
        raise _problem(
            f"OSS signs requests for a region, but none is given{at}",
            "set OSS_REGION or --oss_region, for example to cn-hangzhou (or an endpoint like "
            "https://oss-cn-hangzhou.aliyuncs.com by OSS_ENDPOINT or --oss_endpoint)",
        )
    if not _REGION.fullmatch(region):
        raise _problem(f"{text!r} is no region of OSS", "it is like cn-hangzhou (OSS_REGION or --oss_region)")
    return region


def _problem(message: str, hint: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message, hint=hint)
