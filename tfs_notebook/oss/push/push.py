"""Pushing a model version to OSS: whole or not at all for those who watch, resumable, and never mixed with another.

* Everything else is sent before the graph, whose arrival makes a version, and the marker comes last.
* A number is claimed by an object beside the versions, `.tfs-push/NUMBER`, which names the files and cannot be
  overwritten. Who finds a claim of the same files continues that push; the claim goes when the push is done.
* No object is overwritten, and the checksum that OSS computed of each is compared. (A bucket with versioning of its
  objects does not refuse to overwrite: there, two pushes to the same number at the same moment can meet.)
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.scan import parse_version
from tfs_notebook.errors import invalid_argument
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.client.store import Fault, StoredObject, StoreError
from tfs_notebook.oss.push.source import GRAPHS, OutgoingFile, OutgoingVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from tfs_notebook.oss.client.store import ObjectStore

CLAIMS = ".tfs-push/"
EMPTY_MARKER = "_SUCCESS"
"""The marker that has no content; one of any other name is a manifest of the version's files."""


def push(
    open_store: Callable[[str], ObjectStore],
    source: Path,
    address: OssAddress,
    *,
    version: int | None = None,
    marker: str = "",
    progress: Callable[[int, int], None] = lambda _sent, _size: None,
) -> OssAddress:
    """Upload the version `source` (or the newest in it) to the model directory `address`, and return where it is.

    Its number is `version`, or that of an interrupted push of the same files, or the next free one. `progress` is told
    the bytes that are there and those in all. Interrupted, by Ctrl-C too, it continues when it is called again. Raises
    ServingError for a source that is no complete version, StoreError EXISTS for a number that is taken, and whatever
    the store raises.
    """
    root, version = _model(address, version)
    local = OutgoingVersion.of(source, marker)
    with closing(open_store(root.bucket)) as store:
        return _push(store, local, root, version, marker, progress)


def _push(
    store: ObjectStore,
    local: OutgoingVersion,
    root: OssAddress,
    version: int | None,
    marker: str,
    progress: Callable[[int, int], None],
) -> OssAddress:
    number = _claimed(store, root, local, version, marker)
    target = root.join(str(number)).directory
    there = {stored.key for stored in store.list(target.key).objects}
    if strange := there - {target.join(name).key for name in (*(file.name for file in local.files), marker)}:
        raise _mixed(store.bucket, min(strange))
    sender = _Sender(store, local.size, progress)
    for file in local.files:
        sender.send(target.join(file.name), file, there)
    if marker:
        _put(store, target.join(marker), b"" if marker == EMPTY_MARKER else local.manifest())
    with suppress(StoreError):  # what is left of a claim only keeps its number
        store.delete(root.join(f"{CLAIMS}{number}").key)
    return target


def _model(address: OssAddress, version: int | None) -> tuple[OssAddress, int | None]:
    """The model's directory and the number: `oss://bucket/modelA/3` names both."""
    if version is not None and not 0 <= version < 2**63:
        raise invalid_argument(f"{version} is no number of a version: 0 to {2**63 - 1} are")
    root = address.directory
    above, _, name = root.key.rstrip("/").rpartition("/")
    number = parse_version(name)
    if number is None:
        return root, version
    if version not in (None, number):
        raise invalid_argument(f"{address} is version {number}, but version {version} is asked for: name one of them")
    return OssAddress(root.bucket, above).directory, number


@dataclass(frozen=True, slots=True)
class _ModelDirectory:
    """A model directory in a bucket: names of objects by version, and the numbers that are claimed."""

    versions: Mapping[int, set[str]]
    claims: Mapping[int, StoredObject]
    others: str
    """What kind of other thing it is, "" when it is none."""

    @classmethod
    def of(cls, store: ObjectStore, root: OssAddress) -> _ModelDirectory:
        versions: dict[int, set[str]] = {}
        claims = {}
        models, is_version = set(), False
        for stored in store.list(root.key).objects:
            name, _, rest = stored.key.removeprefix(root.key).partition("/")
            if f"{name}/" == CLAIMS and (number := parse_version(rest)) is not None:
                claims[number] = stored
            elif rest and (number := parse_version(name)) is not None:
                versions.setdefault(number, set()).add(rest)
            elif name in GRAPHS and not rest:
                is_version = True
            elif _is_graph_of_version(rest):
                models.add(name)
        others = f"holds the models {', '.join(sorted(models)[:_SHOWN])}" if models else ""
        return cls(versions, claims, "" if versions else "is a version itself" if is_version else others)

    @property
    def next(self) -> int:
        """The next free number."""
        return max((0, *self.versions, *self.claims)) + 1


_SHOWN = 8


def _is_graph_of_version(path: str) -> bool:
    number, _, name = path.partition("/")
    return name in GRAPHS and parse_version(number) is not None


def _claimed(store: ObjectStore, root: OssAddress, local: OutgoingVersion, version: int | None, marker: str) -> int:
    """The number that is now this push's own."""
    directory, manifest = _ModelDirectory.of(store, root), local.manifest()
    if directory.others:
        raise _no_model(root, directory.others)
    begun = [
        n for n, stored in directory.claims.items() if stored.size == len(manifest) and _is(store, stored.key, manifest)
    ]
    if version is not None:
        names = directory.versions.get(version, set())
        if version in begun and not (names & set(GRAPHS) and (not marker or marker in names)):
            return version
        if names:
            raise _taken(root, version, directory.next, complete=bool(names & set(GRAPHS)))
        if _claim(store, root, version, manifest):
            return version
        raise _claimed_by_another(root, version)
    if begun:
        return max(begun)
    number = directory.next
    while not _claim(store, root, number, manifest):
        number += 1
    return number


def _claim(store: ObjectStore, root: OssAddress, number: int, manifest: bytes) -> bool:
    """Whether `number` could be claimed: nobody else has, and nothing was put there since it was listed."""
    claim = root.join(f"{CLAIMS}{number}")
    try:
        store.put_bytes(claim.key, manifest)
    except StoreError as error:
        if error.fault is not Fault.EXISTS:
            raise
        return _is(store, claim.key, manifest)
    if not store.list(root.join(f"{number}/").key).objects:
        return True
    store.delete(claim.key)
    return False


def _put(store: ObjectStore, address: OssAddress, content: bytes) -> None:
    try:
        store.put_bytes(address.key, content)
    except StoreError as error:
        if error.fault is not Fault.EXISTS or not _is(store, address.key, content):
            raise


def _is(store: ObjectStore, key: str, content: bytes) -> bool:
    """Whether `key` holds `content`; not when it has just gone."""
    try:
        found = store.read_if_changed(key, "")
    except StoreError as error:
        if error.fault is not Fault.MISSING:
            raise
        return False
    return found is not None and found[0] == content


class _Sender:
    """Sends files, and tells how far it is."""

    def __init__(self, store: ObjectStore, size: int, progress: Callable[[int, int], None]) -> None:
        self._store = store
        self._size = size
        self._sent = 0
        self._progress = progress

    def send(self, address: OssAddress, file: OutgoingFile, there: Collection[str]) -> None:
        """Make `address` hold `file`. Raises StoreError when it holds something else."""
        if address.key not in there:
            try:
                stored = self._store.put(address.key, file.path, sent=self._on_sent)
            except OSError as error:
                raise StoreError(Fault.REFUSED, f"{file.path} cannot be read any more ({error.strerror})") from error
            except StoreError as error:
                if error.fault is not Fault.EXISTS:
                    raise
            else:
                if not _holds(stored, file):
                    raise StoreError(Fault.REFUSED, f"{file.path} changed while it was pushed", hint="push it again")
                return
        if not _holds(self._store.head(address.key), file):
            raise _mixed(address.bucket, address.key)
        self._on_sent(file.size)

    def _on_sent(self, size: int) -> None:
        self._sent += size
        self._progress(self._sent, self._size)


def _holds(stored: StoredObject, file: OutgoingFile) -> bool:
    return stored.size == file.size and stored.crc64 in (None, file.crc64)


def _mixed(bucket: str, key: str) -> StoreError:
    return StoreError(
        Fault.EXISTS,
        f"{OssAddress(bucket, key)} is not of this model: somebody else writes this version, too",
        hint="push to another number, or delete first what is there",
    )


def _no_model(root: OssAddress, what: str) -> StoreError:
    return StoreError(
        Fault.REFUSED,
        f"{root} {what}: it is no prefix above the versions of one model",
        hint=f"push to a prefix of the model's own, like {root}NAME/",
    )


def _taken(root: OssAddress, version: int, following: int, *, complete: bool) -> StoreError:
    target = root.join(f"{version}/")
    problem = "is already there" if complete else "holds files that are not of a push of these files"
    hint = f"push without a number to make it version {following}, or delete {target} first"
    return StoreError(Fault.EXISTS, f"{target} {problem}", hint=hint)


def _claimed_by_another(root: OssAddress, version: int) -> StoreError:
    return StoreError(
        Fault.EXISTS,
        f"a push of other files to {root.join(f'{version}/')} has begun",
        hint=f"push to another number, or delete {root.join(f'{CLAIMS}{version}')} if it was given up",
    )
