"""A model config that is an object in OSS; looking at one that has not changed costs no transfer."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError, not_found
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.client.store import ObjectStore


class ConfigObject:
    """The text at `address`; a look sends the ETag of the last one (`If-None-Match`)."""

    def __init__(self, address: OssAddress, open_store: Callable[[str], ObjectStore]) -> None:
        self._address = address
        self._open_store = open_store
        self._text, self._etag = "", ""
        self._last_error: StoreError | None = None

    def fetch(self) -> str:
        """The text now. Raises ServingError, NOT_FOUND for an object that is not there or is no text."""
        try:
            with closing(self._open_store(self._address.bucket)) as store:  # looks are rare: nothing stays open between
                changed = store.read_if_changed(self._address.key, self._etag)
        except StoreError as error:
            if self._last_error is None or self._last_error.fault is not error.fault:
                self._last_error = error  # else told already: only the id of the request is another one
            raise self._as_serving_error(self._last_error) from None
        self._last_error = None
        if changed is not None:
            content, etag = changed
            try:
                self._text, self._etag = content.decode("utf-8"), etag
            except UnicodeDecodeError:
                raise not_found(f"{self._address}; it is not UTF-8 text", hint=_HINT) from None
        return self._text

    def _as_serving_error(self, error: StoreError) -> ServingError:
        hint = error.hint or (_HINT if error.fault is Fault.MISSING else "")
        where = "" if str(self._address) in error.message else f"{self._address}; "
        return ServingError(error.code, f"{where}{error.message}", hint=hint)


_HINT = "--model_config_file names an object with a ModelServerConfig in text format."
