"""Who asks OSS: read anew for every request, so that rotated keys and tokens are taken up, and never shown to anybody.

Without a provider of the user's own the environment decides, the first of these that is set:

* `OSS_ACCESS_KEY_ID` and `OSS_ACCESS_KEY_SECRET`, with `OSS_SESSION_TOKEN` for temporary keys;
* `ALIBABA_CLOUD_CREDENTIALS_URI`, where keys of a role are served, as in PAI-DSW;
* `ALIBABA_CLOUD_ECS_METADATA`, the RAM role of this ECS instance;
* `OSS_ANONYMOUS=true` for a bucket that everybody may read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_ID, KEY_SECRET, TOKEN = "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"
CREDENTIALS_URI, ECS_ROLE, ANONYMOUS = "ALIBABA_CLOUD_CREDENTIALS_URI", "ALIBABA_CLOUD_ECS_METADATA", "OSS_ANONYMOUS"
_METADATA = "http://100.100.100.200/latest/meta-data/ram/security-credentials/"


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key as oss2 wants it; without an id the request is not signed."""

    key_id: str = field(default="", repr=False)
    key_secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def get_access_key_id(self) -> str:
        """The id of the key."""
        return self.key_id

    def get_access_key_secret(self) -> str:
        """What requests are signed with."""
        return self.key_secret

    def get_security_token(self) -> str:
        """What goes with temporary keys, else ""."""
        return self.token


class Provider(Protocol):
    """Anything with oss2's one method, which returns an object with `Keys`' three methods; called for every request."""

    def get_credentials(self) -> Any:
        """The keys to use now."""
        ...


@dataclass(frozen=True, slots=True)
class FixedProvider:
    """Always the same keys."""

    keys: Keys

    def get_credentials(self) -> Keys:
        """These."""
        return self.keys


class EnvironmentProvider:
    """Looks at the environment each time."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._lock = Lock()
        self._role: tuple[str, Provider] | None = None

    def get_credentials(self) -> Any:
        """The keys that the environment names. Raises StoreError when it names none."""
        key_id, key_secret = self._get(KEY_ID), self._get(KEY_SECRET)
        if key_id and key_secret:
            return Keys(key_id, key_secret, self._get(TOKEN))
        if key_id or key_secret:
            raise _missing(f"{KEY_ID if key_id else KEY_SECRET} is set, but {KEY_SECRET if key_id else KEY_ID} is not")
        if uri := self._get(CREDENTIALS_URI):
            return self._keys_of_role(uri, f"the credentials at {CREDENTIALS_URI}")
        if role := self._get(ECS_ROLE):
            return self._keys_of_role(f"{_METADATA}{role}", f"the credentials of the ECS instance's RAM role {role!r}")
        if self._get(ANONYMOUS).lower() in ("1", "true", "yes", "on"):
            return Keys()
        raise _missing("there are no credentials for OSS")

    def _get(self, name: str) -> str:
        return (self._environment.get(name) or "").strip()

    def _keys_of_role(self, url: str, what: str) -> Any:
        from oss2.credentials import EcsRamRoleCredentialsProvider
        from oss2.exceptions import ClientError

        with self._lock:
            if self._role is None or self._role[0] != url:
                self._role = (url, EcsRamRoleCredentialsProvider(url, max_retries=2, timeout=5))
            provider = self._role[1]
        try:
            return provider.get_credentials()
        except ClientError:
            problem = f"{what} cannot be fetched"
        raise StoreError(Fault.UNREACHABLE, problem, hint="is that role attached, and is this its machine?")


def keys_of(provider: Provider) -> Keys:
    """What `provider` says now, checked; raises StoreError, without repeating any of it."""
    try:
        given = provider.get_credentials()
        keys = Keys(
            given.get_access_key_id() or "", given.get_access_key_secret() or "", given.get_security_token() or ""
        )
    except StoreError:
        raise
    except Exception as error:
        problem = f"the credentials provider {type(provider).__name__} failed ({type(error).__name__})"
    else:
        if unfit := next((name for name, text in _named(keys) if not _may_be_sent(text)), ""):
            raise StoreError(
                Fault.FORBIDDEN, f"{unfit} has characters that no key has", hint="was it copied with its quotes?"
            )
        return keys
    raise StoreError(Fault.FORBIDDEN, problem, hint="it needs get_credentials() as oss2's providers have it")


def _named(keys: Keys) -> tuple[tuple[str, str], ...]:
    return (KEY_ID, keys.key_id), (KEY_SECRET, keys.key_secret), (TOKEN, keys.token)


def _may_be_sent(text: str) -> bool:
    """Whether an HTTP header may have it; an error of the HTTP library would repeat it."""
    return text.isascii() and text.isprintable() and not set(text) & set(" \"'")


def _missing(problem: str) -> StoreError:
    return StoreError(
        Fault.FORBIDDEN,
        problem,
        hint=f"set {KEY_ID} and {KEY_SECRET} (and {TOKEN} for temporary keys), or {ECS_ROLE} to the RAM role of this "
        f"ECS instance, or {ANONYMOUS}=true for a bucket that everybody may read",
    )
