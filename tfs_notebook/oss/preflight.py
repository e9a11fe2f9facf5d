"""Can what is to be served be had from OSS? Asked before anything is begun or changed, one listing a place."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.scan import parse_version
from tfs_notebook.errors import ServingError, not_found
from tfs_notebook.oss.address import OssAddress, check_spelling, is_oss
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tfs_notebook.oss.client.store import ObjectStore

_PASSING = frozenset({Fault.UNREACHABLE, Fault.DAMAGED, Fault.CHANGED})
"""What goes away by itself; a copy from an earlier time is served until then."""


class Access:
    """Reaches for OSS on behalf of one deployment; `open_store` gives a bucket by its name, or raises ServingError."""

    def __init__(self, open_store: Callable[[str], ObjectStore]) -> None:
        self.open_store = open_store
        self._listed: dict[OssAddress, tuple[OssAddress, ...] | None] = {}

    def check(self, places: Iterable[str]) -> None:
        """Raise ServingError when one of `places` (paths that are not in OSS are passed over) cannot be listed, or is
        nearly an address.

        Trouble that passes by itself is none.
        """
        places = list(places)
        for place in places:
            check_spelling(place)
        roots = {OssAddress.parse(place).directory for place in places if is_oss(place)}
        for root in sorted(roots, key=lambda root: len(root.key)):
            self._below(root)

    def no_version(self, name: str, base_path: str) -> ServingError | None:
        """Why no version of model `name` can be brought from `base_path`, None when one can or nobody knows now.

        Raises ServingError as `check` does.
        """
        root = OssAddress.parse(base_path).directory
        below = self._below(root)
        if below is None or any("/" in path and parse_version(path.partition("/")[0]) is not None for path in below):
            return None
        return not_found(
            f"No versions of servable {name} found under base path {base_path}. "
            "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            hint=_hint(root, below),
        )

    def holds_version(self, prefix: str) -> bool:
        """Whether a version of some model lies below `prefix`, at any depth. Raises ServingError as `check` does."""
        below = self._below(OssAddress.parse(prefix).directory) or ()
        return any(parse_version(part) is not None for path in below for part in path.split("/")[:-1])

    def _below(self, root: OssAddress) -> list[str] | None:
        """What lies below `root`, relative to it; None when that cannot be said now."""
        covering = next((listed for listed in self._listed if root.below(listed) is not None), root)
        if covering not in self._listed:
            self._listed[covering] = self._list(covering)
        found = self._listed[covering]
        return None if found is None else [rest for address in found if (rest := address.below(root))]

    def _list(self, root: OssAddress) -> tuple[OssAddress, ...] | None:
        with closing(self.open_store(root.bucket)) as store:
            try:
                return tuple(OssAddress(root.bucket, stored.key) for stored in store.list(root.key).objects)
            except StoreError as error:
                if error.fault in _PASSING:
                    return None
                raise


def _hint(root: OssAddress, below: list[str]) -> str:
    if not below:
        return f"Nothing lies below {root}; versions are uploaded there under a number: %tfs_push MODEL {root}"
    if any(path.startswith("saved_model.pb") for path in below):
        parent = str(root).rstrip("/").rpartition("/")
        number = f" (for this version: {parent[0]}/)" if parse_version(parent[2]) is not None else ""
        return f"{root} is a version itself: name the prefix above its number{number}."
    names = sorted({path.partition("/")[0] + "/" * ("/" in path) for path in below})
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    deeper = next((name for name in names if any(_is_version_in(name, path) for path in below)), "")
    serve = f" Serve one of them, like {root}{deeper}." if deeper else ""
    return f"{root} holds {listed}.{serve}"


def _is_version_in(name: str, path: str) -> bool:
    """Whether `path` lies in a version of the model directory `name`."""
    parts = path.split("/")
    return len(parts) > 2 and f"{parts[0]}/" == name and parse_version(parts[1]) is not None
