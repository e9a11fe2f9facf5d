"""Which versions the policies select, and which may be pruned. No input or output here."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import Latest, VersionPolicy
from tfs_notebook.engine.storage.scan import candidates, parse_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tfs_notebook.oss.cache.cache import Published


def selected_by(policy: VersionPolicy, numbers: Iterable[int], counts: Callable[[int], bool]) -> Iterator[int]:
    """The versions that `policy` selects, newest first; `latest` ends once `counts` is true for as many as it wants."""
    wanted = max(policy.num_versions, 1) if isinstance(policy, Latest) else None
    for number in candidates(policy, numbers):
        yield number
        if wanted is not None and counts(number):
            wanted -= 1
            if not wanted:
                return


def base_of(path: str) -> str:
    """The base path in which the version `path` stands."""
    return path.rpartition("/")[0]


def number_of(path: str) -> int:
    """The number of the version `path`."""
    number = parse_version(path.rpartition("/")[2])
    return -1 if number is None else number


def prunable(published: Mapping[str, Published], wanted: set[str], keep: int | None, over_budget: int) -> Iterator[str]:
    """Versions that no policy wants and that may be pruned, in this order.

    First all but the `keep` newest of each base path (None: keep all), then, as long as `over_budget` bytes are too
    many, the others from the lowest number up.
    """
    unwanted: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(published.keys() - wanted, key=number_of, reverse=True):
        unwanted[base_of(path)].append(path)
    surplus = [path for paths in unwanted.values() for path in (paths[keep:] if keep is not None else ())]
    for path in surplus:
        yield path
        over_budget -= published[path].size
    for path in sorted(published.keys() - wanted - set(surplus), key=number_of):
        if over_budget <= 0:
            return
        yield path
        over_budget -= published[path].size
