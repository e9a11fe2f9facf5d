"""How the options reach OSS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfs_notebook.oss.client.endpoint import StoreOptions

if TYPE_CHECKING:
    from tfs_notebook.options import Options
    from tfs_notebook.oss.client.store import ObjectStore


def store_options(options: Options) -> StoreOptions:
    """How `options` reach OSS."""
    return StoreOptions(options.oss_endpoint, options.oss_region, options.oss_cname)


def open_store(bucket: str, options: Options, credentials: Any = None) -> ObjectStore:
    """The bucket; `credentials` is a provider of the user's. Raises ServingError with what is missing."""
    from tfs_notebook.oss.client.oss2_store import open_store

    return open_store(bucket, store_options(options), credentials)
