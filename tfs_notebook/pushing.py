"""Uploading a model to OSS; see `tfs_notebook.push`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_notebook.deployment import notebook_options
from tfs_notebook.exporting import exported
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.runtime import import_aside
from tfs_notebook.sources import open_store

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
    from tfs_notebook.oss.push import push

    target, options = OssAddress.parse(address), notebook_options(given)
    reach = partial(open_store, options=options, credentials=credentials)
    told = {} if progress is None else {"progress": progress}
    import_aside("tensorflow")  # reads what a version must hold
    with exported(model) as source:
        return push(reach, source, target, version=version, marker=options.oss_marker, **told)
