"""OSS signatures V4 in the Authorization header, from the documented algorithm and not from any client's signer.

<https://help.aliyun.com/en/oss/developer-reference/recommend-to-use-signature-version-4>
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from tests.oss.stand_in.errors import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALGORITHM = "OSS4-HMAC-SHA256"
MAX_SKEW = 900.0
"""Seconds that a request's time may differ from the server's."""
_ALWAYS_SIGNED = ("content-type", "content-md5")
_CREDENTIAL = re.compile(r"(?P<key_id>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/oss/aliyun_v4_request")


@dataclass(frozen=True)
class Account:
    """An access key; with `token` a temporary one, which ends at `expires` (epoch seconds)."""

    secret: str
    token: str = ""
    expires: float = float("inf")


@dataclass(frozen=True)
class SignedRequest:
    """The parts of a request that its signature covers; `query` is as sent, header names are in lower case."""

    method: str
    bucket: str
    key: str
    query: str
    headers: Mapping[str, str]


def canonical_query(query: str) -> str:
    """The parameters, encoded anew and in the order of their encoded names; an empty value has no `=`."""
    parameters = ((quote(name, safe=""), quote(value, safe="")) for name, value in parse_qsl(query, True))
    return "&".join(f"{name}={value}" if value else name for name, value in sorted(parameters))


def canonical_request(request: SignedRequest, additional: Iterable[str] = ()) -> str:
    """The six parts that are hashed; `additional` names the headers that are signed though nothing demands it."""
    additional = sorted(set(additional))
    signed = (
        f"{name}:{value.strip()}\n"
        for name, value in sorted(request.headers.items())
        if name.startswith("x-oss-") or name in _ALWAYS_SIGNED or name in additional
    )
    return "\n".join(
        (
            request.method,
            quote(f"/{request.bucket}/{request.key}" if request.bucket else "/", safe="/"),
            canonical_query(request.query),
            "".join(signed),
            ";".join(additional),
            request.headers.get("x-oss-content-sha256", ""),
        )
    )


def string_to_sign(canonical: str, moment: str, region: str) -> str:
    """What is signed: the algorithm, the time as in `x-oss-date`, the scope, and the canonical request's hash."""
    # The canonical request is ASCII but for headers, which http.server reads as Latin-1: these are the bytes sent.
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return "\n".join((ALGORITHM, moment, f"{moment[:8]}/{region}/oss/aliyun_v4_request", digest))


def sign(secret: str, text: str) -> str:
    """The signature of a string to sign, whose scope gives the key its date and region."""
    date, region, product, request = text.split("\n")[2].split("/")
    key = f"aliyun_v4{secret}".encode()
    for part in (date, region, product, request, text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def authorization(request: SignedRequest, key_id: str, secret: str, region: str, additional: Iterable[str] = ()) -> str:
    """The Authorization header of `request`, whose headers already have `x-oss-date` and `x-oss-content-sha256`."""
    text = string_to_sign(canonical_request(request, additional), request.headers["x-oss-date"], region)
    names = f"AdditionalHeaders={';'.join(sorted(set(additional)))}, " if additional else ""
    return f"{ALGORITHM} Credential={key_id}/{text.splitlines()[2]}, {names}Signature={sign(secret, text)}"


def verify(request: SignedRequest, accounts: Mapping[str, Account], region: str, now: float) -> None:
    """Raises RefusalError unless a known account signed exactly this request, for `region` and about `now`."""
    kind, _, rest = request.headers["authorization"].partition(" ")
    if kind != ALGORITHM:
        raise RefusalError("AccessDenied", "Signature versions before V4 are not supported.", EC="0002-00000080")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    credential = _CREDENTIAL.fullmatch(fields.get("Credential", ""))
    if not credential or not re.fullmatch("[0-9a-f]{64}", fields.get("Signature", "")):
        raise RefusalError("InvalidArgument", "Invalid Authorization header.")
    if request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
        raise RefusalError("InvalidArgument", "The x-oss-content-sha256 header must be UNSIGNED-PAYLOAD.")
    account = _account(accounts, credential["key_id"], request.headers.get("x-oss-security-token", ""), now)
    moment = _check_time(request.headers.get("x-oss-date", ""), credential["date"], now)
    if credential["region"] != region:
        raise RefusalError("InvalidArgument", "Invalid signing region in Authorization header.", EC="0002-00000226")
    canonical = canonical_request(request, _additional(fields, request.headers))
    text = string_to_sign(canonical, moment, region)
    if not hmac.compare_digest(sign(account.secret, text), fields["Signature"]):
        raise RefusalError(
            "SignatureDoesNotMatch",
            OSSAccessKeyId=credential["key_id"],
            SignatureProvided=fields["Signature"],
            StringToSign=text,
            CanonicalRequest=canonical,
        )


def _account(accounts: Mapping[str, Account], key_id: str, token: str, now: float) -> Account:
    account = accounts.get(key_id)
    if account is None or (account.token and not token):
        raise RefusalError("InvalidAccessKeyId", OSSAccessKeyId=key_id)
    if token != account.token:
        raise RefusalError("InvalidSecurityToken")
    if now >= account.expires:
        raise RefusalError("SecurityTokenExpired")
    return account


def _check_time(moment: str, scope_date: str, now: float) -> str:
    try:
        asked = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise RefusalError("InvalidArgument", "Invalid x-oss-date header.") from None
    if abs(asked - now) > MAX_SKEW:
        server_time = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now))
        raise RefusalError(
            "RequestTimeTooSkewed", MaxAllowedSkewMilliseconds=900000, RequestTime=moment, ServerTime=server_time
        )
    if moment[:8] != scope_date:
        raise RefusalError("InvalidArgument", "Invalid signing date in Authorization header.")
    return moment


def _additional(fields: Mapping[str, str], headers: Mapping[str, str]) -> list[str]:
    """The names of AdditionalHeaders, which must be lower case, in order and sent."""
    names = fields["AdditionalHeaders"].split(";") if "AdditionalHeaders" in fields else []
    if names != sorted(set(names)) or any(name not in headers for name in names):
        raise RefusalError("InvalidArgument", "Invalid AdditionalHeaders in Authorization header.")
    return names
