"""What OSS, or the network before it, answered instead: one Fault each, and what to do about it.

Only the code, the message, the request id and the endpoint of a refusal are repeated: the rest of its XML holds what
was signed, and by whom.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from tfs_notebook.oss.client.endpoint import Endpoint

_FRESH = "take a fresh OSS_SESSION_TOKEN, with the OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET that came with it"
_PUBLIC = (
    "this account may not use {url}: inside Alibaba Cloud take https://oss-{region}-internal.aliyuncs.com, elsewhere a "
    "domain of your own that is mapped to the bucket (--oss_endpoint=DOMAIN --oss_region={region} --oss_cname)"
)
_BY_CODE = {
    "AccessDenied": (
        Fault.FORBIDDEN,
        "the credentials may need oss:GetObject, oss:ListObjects (and oss:PutObject to push) for {bucket}",
    ),
    "InvalidAccessKeyId": (
        Fault.FORBIDDEN,
        "check OSS_ACCESS_KEY_ID: is the key disabled, or one of STS, which needs OSS_SESSION_TOKEN, too?",
    ),
    "SignatureDoesNotMatch": (
        Fault.FORBIDDEN,
        "check OSS_ACCESS_KEY_SECRET, and that {region} (OSS_REGION or --oss_region) is the bucket's region",
    ),
    "RequestTimeTooSkewed": (Fault.EXPIRED, "this machine's clock is more than 15 minutes wrong: set it"),
    "InvalidSecurityToken": (Fault.EXPIRED, _FRESH),
    "SecurityTokenExpired": (Fault.EXPIRED, _FRESH),
    "InvalidObjectState": (
        Fault.ARCHIVED,
        "it is archived: restore first (ossutil restore {where}), or store it in class Standard or IA",
    ),
    "NoSuchBucket": (Fault.MISSING, "check the name of the bucket, and that it is in {region} ({url})"),
    "NoSuchKey": (Fault.MISSING, ""),
    "PreconditionFailed": (Fault.CHANGED, ""),
    "InvalidRange": (Fault.CHANGED, "it is shorter than it was"),
    "FileAlreadyExists": (Fault.EXISTS, ""),
    "ObjectAlreadyExists": (Fault.EXISTS, ""),
    "PublicEndpointForbidden": (Fault.FORBIDDEN, _PUBLIC),
    "UserDisable": (Fault.FORBIDDEN, "the account is disabled: are there bills to pay?"),
    "RequestTimeout": (Fault.UNREACHABLE, ""),
}
_BY_STATUS = {401: Fault.FORBIDDEN, 403: Fault.FORBIDDEN, 404: Fault.MISSING, 408: Fault.UNREACHABLE}
_BY_STATUS |= {409: Fault.REFUSED, 412: Fault.CHANGED, 416: Fault.CHANGED, 429: Fault.UNREACHABLE}
_WORDS = {
    Fault.MISSING: "is not there",
    Fault.CHANGED: "has changed",
    Fault.EXISTS: "is already there",
    Fault.FORBIDDEN: "is refused",
    Fault.EXPIRED: "is refused",
    Fault.ARCHIVED: "cannot be read",
    Fault.UNREACHABLE: "cannot be had now",
    Fault.REFUSED: "is refused",
}


def refusal(error: Any, where: str, endpoint: Endpoint) -> StoreError:
    """The StoreError for `error`, an OssError that has an HTTP status, when `where` (`oss://…`) was asked for."""
    said = error.message or ""
    fault, hint = _BY_CODE.get(error.code, (None, ""))
    if fault is None:
        fault = Fault.UNREACHABLE if error.status >= 500 else _BY_STATUS.get(error.status, Fault.REFUSED)
    if error.details.get("Endpoint"):
        hint = "its bucket answers at {belongs}: set OSS_ENDPOINT or --oss_endpoint to it"
    elif "signing region" in said.lower():
        hint = "{region} is not the bucket's region: set OSS_REGION or --oss_region"
    elif not (error.code or error.request_id):
        hint = "the answer is not one of OSS: is {url} the endpoint, and is there a proxy on the way?"
    hint = hint.format(
        where=where,
        bucket=where.split("/")[2],
        region=endpoint.region,
        url=endpoint.url,
        belongs=error.details.get("Endpoint"),
    )
    message = f"{where} {_WORDS[fault]}" + (f": {said.rstrip('.')}" if said else "")
    told = [error.code or f"HTTP {error.status}", f"request {error.request_id}" if error.request_id else ""]
    return StoreError(fault, f"{message} ({', '.join(filter(None, told))})", hint=hint)


def unreachable(error: BaseException, where: str, endpoint: Endpoint) -> StoreError:
    """The StoreError for what the network did to a request for `where`, or to its reply."""
    reason = _reason(error)
    hint = f"can this machine reach {endpoint.url} (HTTPS_PROXY, NO_PROXY)?"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = "if a proxy signs for it, set REQUESTS_CA_BUNDLE to a file with that proxy's certificate authority"
    elif "-internal." in endpoint.url:
        hint = f"{endpoint.url} can only be reached from inside Alibaba Cloud, in the same region"
    return StoreError(Fault.UNREACHABLE, f"{where} cannot be reached: {reason}", hint=hint)


def _reason(error: BaseException) -> str:
    """What the innermost of the HTTP libraries' wrapped errors says, without its connection's repr and any password."""
    inner: Any = error
    while inner is not None:
        error = inner
        candidates = (getattr(error, "exception", None), getattr(error, "reason", None), *reversed(error.args))
        inner = next((candidate for candidate in candidates if isinstance(candidate, Exception)), None)
    text = re.sub(r"^\S*\(host=.*?\): ", "", str(error))
    return re.sub(r"//[^/@\s]*@", "//", text) or type(error).__name__
