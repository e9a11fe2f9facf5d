"""The ObjectStore over oss2, which signs, lists and streams here; its downloads, retries and checksums are not used."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from tfs_notebook.oss.client.body import OssBody, stored_object
from tfs_notebook.oss.client.credentials import EnvironmentProvider, FixedProvider, Keys, Provider, keys_of
from tfs_notebook.oss.client.endpoint import Endpoint, StoreOptions
from tfs_notebook.oss.client.oss2_client import TIMEOUTS, Client
from tfs_notebook.oss.client.store import Fault, Listing, StoredObject, StoreError
from tfs_notebook.oss.client.upload import PART_SIZE, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


def open_store(
    bucket: str,
    options: StoreOptions,
    provider: Provider | None = None,
    *,
    timeouts: tuple[float, float] = TIMEOUTS,
    part_size: int = PART_SIZE,
) -> Oss2Store:
    """The bucket named `bucket`, without asking for it yet; `timeouts` in seconds to connect and between bytes.

    Files of more than `part_size` bytes are uploaded in parts of that size, OSS wants 100 KB at least.
    Raises ServingError when the endpoint or the region is not known, or oss2 is not installed.
    """
    return Oss2Store(Client(bucket, Endpoint.of(options), provider or EnvironmentProvider(), timeouts), part_size)


class Oss2Store:
    """One bucket; see ObjectStore."""

    def __init__(self, client: Client, part_size: int = PART_SIZE) -> None:
        self.bucket = client.bucket
        self._client = client
        self._part_size = part_size

    def list(self, prefix: str) -> Listing:
        """Every object whose key begins with `prefix`; a listing that breaks off raises, it is never given in part."""
        objects: list[StoredObject] = []
        listed_at, token = 0.0, ""
        while True:
            page = self._page(prefix, token)
            listed_at = listed_at or _date(page.headers.get("Date"))
            objects += (_listed(item) for item in page.object_list)
            if not page.is_truncated:
                return Listing(tuple(objects), listed_at)
            if page.next_continuation_token in ("", token):
                raise StoreError(Fault.DAMAGED, f"the listing of {self._client.where(prefix)} repeats its pages")
            token = page.next_continuation_token

    def has_new_credentials(self) -> bool:
        """Whether the provider has other keys now than for the last request."""
        return self._client.signer.has_new_credentials()

    def close(self) -> None:
        """End every request under way, in whatever thread; later ones raise StoreError."""
        self._client.close()

    def portable(self) -> dict[str, str | bool]:
        """All that `from_portable` needs in another process: with the keys of this moment, so never for a command line.

        Raises StoreError when there are no credentials.
        """
        endpoint, keys = self._client.endpoint, keys_of(self._client.provider)
        return {"bucket": self.bucket, **asdict(endpoint), **asdict(keys)}

    @classmethod
    def from_portable(cls, fields: Mapping[str, Any]) -> Oss2Store:
        """The same bucket as the store whose `portable` returned `fields`."""
        endpoint = Endpoint(fields["url"], fields["region"], fields["cname"])
        keys = Keys(fields["key_id"], fields["key_secret"], fields["token"])
        return cls(Client(fields["bucket"], endpoint, FixedProvider(keys)))

    def head(self, key: str) -> StoredObject:
        """What the service knows of the object `key`."""
        return self._client.ask(key, lambda: stored_object(key, self._client.api.head_object(key)))

    @contextmanager
    def read(self, key: str, *, etag: str = "", start: int = 0, end: int | None = None) -> Iterator[OssBody]:
        """The bytes from `start` to before `end`; of the whole object they are checked by its checksum, too."""
        headers = {"x-oss-range-behavior": "standard"}  # else a range beyond the end is answered with the whole object
        if etag:
            headers["If-Match"] = f'"{etag}"'
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        reply = self._client.ask(key, lambda: self._client.api.get_object(key, headers=headers))
        try:
            yield OssBody(self._client, key, reply, etag=etag, start=start, end=end)
        finally:
            reply.resp.response.close()  # an unread rest would keep the connection for ever

    def read_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        """The content and ETag of a small object, None when it still has `etag`."""
        headers = {"If-None-Match": f'"{etag}"'} if etag else {}
        reply = self._client.ask(key, lambda: self._get_unless_same(key, headers))
        if reply is None:
            return None
        try:
            body = OssBody(self._client, key, reply, etag="", start=0, end=None)
            return b"".join(map(bytes, body)), body.stored.etag
        finally:
            reply.resp.response.close()

    def put(self, key: str, path: Path, *, sent: Callable[[int], None], overwrite: bool = False) -> StoredObject:
        """Upload the file `path`; see Upload."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return Upload(self._client, key, file, size, sent, overwrite, self._part_size).send()

    def put_bytes(self, key: str, content: bytes, *, overwrite: bool = False) -> StoredObject:
        """Upload `content`."""
        size = len(content)
        return Upload(self._client, key, BytesIO(content), size, lambda _: None, overwrite, size).send()

    def delete(self, key: str) -> None:
        """Delete the object `key`, if it is there."""
        self._client.ask(key, lambda: self._client.api.delete_object(key))

    def _page(self, prefix: str, token: str) -> Any:
        list_objects = self._client.api.list_objects_v2
        return self._client.ask(prefix, lambda: list_objects(prefix, continuation_token=token, max_keys=1000))

    def _get_unless_same(self, key: str, headers: dict[str, str]) -> Any:
        try:
            return self._client.api.get_object(key, headers=headers)
        except self._client.oss2.exceptions.NotModified:
            return None


def _listed(item: Any) -> StoredObject:
    return StoredObject(item.key, item.size, item.etag, float(item.last_modified), item.storage_class)


def _date(text: str | None) -> float:
    """Seconds since the epoch by a Date header, or by this machine's clock where there is none."""
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except (TypeError, ValueError):
        return time.time()
