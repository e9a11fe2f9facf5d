"""Uploading a model to OSS; see `tfs_notebook.push`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.models.export import exported
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.runtime import import_aside
from tfs_notebook.settings.arguments import as_version
from tfs_notebook.settings.deployment import notebook_options
from tfs_notebook.settings.oss import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def push(
    model: Any,
    address: str,
    version: int | None,
    given: Mapping[str, Any],
    *,
    credentials: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> OssAddress:
    """Upload `model` below `address`; the prefix of the version that was written. `given` are options by name."""
    from tfs_notebook.oss.push.push import push
    from tfs_notebook.oss.sync.completeness import check_marker

    target, options = OssAddress.parse(address), notebook_options(given)
    check_marker(options.oss_marker)
    number = as_version(version)
    store = open_store(target.bucket, options, credentials)  # what is missing is told before anything is exported
    told = {} if progress is None else {"progress": progress}
    import_aside("tensorflow")  # reads what a version must hold
    with closing(store), exported(model) as source:
        return push(lambda _bucket: store, source, target, version=number, marker=options.oss_marker, **told)
