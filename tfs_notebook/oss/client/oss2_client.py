"""oss2, set up so that it does what it is good at: it signs requests, sends them, and parses listings."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.oss.client.credentials import FixedProvider, Keys, Provider, keys_of
from tfs_notebook.oss.client.errors import refusal, unreachable
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.oss.client.connections import EndableAdapter
    from tfs_notebook.oss.client.endpoint import Endpoint

T = TypeVar("T")

TIMEOUTS = (10.0, 30.0)
"""Seconds to connect, and to wait for the next bytes."""

_MALFORMED = (SyntaxError, ValueError, RuntimeError, LookupError, AttributeError, TypeError)
"""What oss2 and the XML parser raise for a reply that is not one of OSS's."""


class Client:
    """`api` is oss2's bucket; what is asked of it goes through `ask`. `timeouts` in seconds."""

    def __init__(
        self, bucket: str, endpoint: Endpoint, provider: Provider, timeouts: tuple[float, float] = TIMEOUTS
    ) -> None:
        self.bucket = bucket
        self.endpoint = endpoint
        self.provider = provider
        self.oss2 = _import_oss2()
        self._adapter = _adapter()
        self.signer = _Signer(provider)
        self.api = self.oss2.Bucket(
            self.signer,
            endpoint.url,
            bucket,
            is_cname=endpoint.cname,
            session=_session(self.oss2, self._adapter),
            connect_timeout=timeouts,
            enable_crc=False,
            region=endpoint.region,
        )

    def close(self) -> None:
        """End every request under way, and ask nothing any more."""
        self._adapter.end()

    def where(self, key: str) -> str:
        """`key`'s address, as messages name it."""
        return f"oss://{self.bucket}/{key}"

    def ask(self, key: str, call: Callable[[], T]) -> T:
        """What `call`, about the object or the prefix `key`, returns; whatever goes wrong becomes a StoreError.

        The original error is not kept: it holds what was signed, and by whom.
        """
        from requests import RequestException

        where = self.where(key)
        try:
            return call()
        except StoreError:
            raise
        except self.oss2.exceptions.OssError as error:
            problem = refusal(error, where, self.endpoint) if error.status > 0 else self._client_side(error, where)
        except (RequestException, OSError) as error:
            problem = unreachable(error, where, self.endpoint)
        except _MALFORMED as error:
            problem = StoreError(
                Fault.DAMAGED,
                f"the answer about {where} cannot be read ({type(error).__name__})",
                hint=f"is {self.endpoint.url} an endpoint of OSS, and is there a proxy on the way?",
            )
        raise problem

    def _client_side(self, error: Any, where: str) -> StoreError:
        """Errors that oss2 made itself: for the network's, or because it was asked for what cannot be."""
        if isinstance(error, self.oss2.exceptions.RequestError):
            return unreachable(error, where, self.endpoint)
        return StoreError(Fault.REFUSED, f"{where} is refused: {error.body}")


class _Signer:
    """What oss2 calls its auth: signs (V4) with the provider's keys of this moment, or not at all when anonymous."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._used: Keys | None = None
        """What the last request was signed with, None when there was nothing for it."""

    def has_new_credentials(self) -> bool:
        """Whether the next request would be signed with others. Where no two are signed with the same: no."""
        try:
            keys = keys_of(self._provider)
            return keys != self._used and keys == keys_of(self._provider)
        except StoreError:
            return False

    def auth_version(self) -> str:
        """oss2 asks, to tell whether keys are restricted as they were under V1."""
        return "v4"

    def _sign_request(self, request: Any, bucket: str, key: str) -> None:
        self._used = None
        self._used = keys = keys_of(self._provider)
        if not keys.key_id:
            return
        from oss2 import ProviderAuthV4

        ProviderAuthV4(FixedProvider(keys))._sign_request(request, bucket, key)  # noqa: SLF001 (oss2's own protocol)


def _import_oss2() -> Any:
    import oss2

    # Without a handler logging would write to the cell. What oss2 logs as an error is raised, too; below that it tells
    # what was signed, and tokens.
    logger = logging.getLogger("oss2")
    if logger.level == logging.NOTSET:
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", r"datetime\.datetime\.utcnow", DeprecationWarning, r"oss2\.auth")
    return oss2


def _adapter() -> EndableAdapter:
    from urllib3.util import Retry

    from tfs_notebook.oss.client.connections import EndableAdapter

    retry = Retry(
        total=4,
        backoff_factor=0.2,
        status_forcelist=(500, 502, 503, 504),
        allowed_methods={"GET", "HEAD"},
        raise_on_status=False,
        respect_retry_after_header=False,  # it may say hours, and a caller is waiting
    )
    return EndableAdapter(max_retries=retry, pool_maxsize=16)


def _session(oss2: Any, adapter: EndableAdapter) -> Any:
    session = oss2.Session(adapter=adapter)
    session.session.auth = lambda request: request  # else ~/.netrc replaces the signature
    return session
