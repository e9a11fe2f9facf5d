"""The local copy of one root: complete versions where the engine looks, all else in `.tfs-sync/` beside them.

    modelA/123/…            a published version, there by one rename and gone by one rename
    .tfs-sync/lock          held by the one process that writes (see `peers.coordinator`)
    .tfs-sync/published/    what each published version was made of, written before its rename
    .tfs-sync/staging/      versions on their way (see `staging`)
    .tfs-sync/trash/        withdrawn versions until nothing uses them, each with its record beside it

A process may be killed between any two steps: a record without its directory is of a publication that did not happen,
or of a version that has gone; staging is continued; trash still is only emptied of what nothing uses. Names that are
made here never spell a number.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import stat
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.address import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.listing import Content

_MAX_NAME_BYTES = 150


def cache_directory(given: str = "") -> Path:
    """The directory `given`, by default the one under the user's cache directory."""
    if given:
        return Path(given).expanduser().absolute()
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "tfs_notebook" / "oss"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tfs_notebook" / "oss"


def root_directory(cache: Path, endpoint: str, root: OssAddress) -> Path:
    """Where the copy of what is below `root` is."""
    return cache / _plain(endpoint or "default") / root.bucket / _plain(f"/{root.directory.key.rstrip('/')}")


def _plain(text: str) -> str:
    """A name for one directory that no other text has, that is no number and not hidden."""
    name = quote(text, safe="").replace(".", "%2E") if text.startswith(".") else quote(text, safe="")
    if len(name) > _MAX_NAME_BYTES:
        name = f"{name[: _MAX_NAME_BYTES - 41]}-{hashlib.sha256(text.encode()).hexdigest()[:40]}"
    return name


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path`, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def _write_lasting(path: Path, content: bytes) -> Path:
    """A file beside `path`, to be renamed to it, that survives a loss of power."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return new


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size_on_disk(path: Path) -> int:
    """Bytes that a file takes, without the holes that it has until all its ranges have come; 0 for a directory."""
    try:
        found = path.stat()
    except FileNotFoundError:  # renamed by a download at this moment
        return 0
    return min(found.st_size, found.st_blocks * 512) if stat.S_ISREG(found.st_mode) else 0


@dataclass(frozen=True, slots=True)
class Published:
    """What a published version was made of."""

    content: Content

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(size for _, size, _ in self.content)


class Cache:
    """The copy of one root in `directory`. Only the process that holds its lock calls anything but `directory_of`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.private = directory / PRIVATE
        self.published: dict[str, Published] = {}
        """Every version that stands there by our doing; its path from the root, with `/`."""
        self._trash: dict[Path, str] = {}

    def prepare(self) -> None:
        """Make the directories, for nobody else to read. Raises OSError."""
        for directory in (self.directory.parent.parent, self.directory.parent, self.directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.parent.parent.chmod(0o700)
        for name in ("published", "staging", "trash", "followers"):
            (self.private / name).mkdir(parents=True, exist_ok=True)

    def recover(self) -> None:
        """Take over what another process, however it ended, has left. Raises OSError."""
        self._recover_trash()
        self.published.clear()
        for record in (self.private / "published").iterdir():
            path, published = _read_record(record)
            is_whole = record.suffix == ".json"  # else of a publication that did not get that far
            if is_whole and published is not None and self.directory_of(path).is_dir():
                self.published[path] = published
            else:
                record.unlink()

    def _recover_trash(self) -> None:
        records = {record.stem: record for record in (self.private / "published").glob("*.json")}
        self._trash.clear()
        for left in list((self.private / "trash").iterdir()):
            if left.suffix == ".json":
                if not left.with_suffix("").is_dir():
                    left.unlink()
                continue
            beside, record = _record_beside(left), records.get(left.name.rpartition("~")[0])
            if record is not None and not beside.exists():  # killed before it was moved there
                shutil.copyfile(record, beside)
            self._trash[left] = _read_record(beside)[0]

    def directory_of(self, path: str) -> Path:
        """Where what is at `path` from the root stands, or will."""
        return self.directory.joinpath(*path.split("/")) if path else self.directory

    def staging(self, path: str) -> Path:
        """The directory in which the version `path` is put together."""
        return self.private / "staging" / f"v{_plain('/' + path)}"

    def size_staged(self, path: str) -> int:
        """Bytes on the disk of what has been fetched of a version."""
        return sum(map(_size_on_disk, self.staging(path).rglob("*")))

    def drop_staging(self, path: str) -> None:
        """Forget what has been fetched of a version."""
        shutil.rmtree(self.staging(path), ignore_errors=True)

    def keep_staging(self, paths: Collection[str]) -> None:
        """Forget what has been fetched of all other versions than `paths`."""
        wanted = {self.staging(path).name for path in paths}
        for left in (self.private / "staging").iterdir():
            if left.name not in wanted:
                shutil.rmtree(left, ignore_errors=True)

    def publish(self, path: str, content: Content, *, replace: bool = False) -> None:
        """Let the version in the staging of `path` stand where the engine looks.

        Raises ServingError ALREADY_EXISTS when something else stands there, unless it is to `replace` that.
        """
        source, target = self.staging(path) / "content", self.directory_of(path)
        if target.exists() and not (replace and path in self.published):
            raise ServingError(
                Code.ALREADY_EXISTS,
                f"{target} is there already, and was not brought by this",
                hint=f"Move it away, and {path} from the bucket takes its place.",
            )
        for directory, _, _ in os.walk(source, topdown=False):
            sync_directory(Path(directory))
        target.parent.mkdir(parents=True, exist_ok=True)
        new_record = _write_lasting(self._record(path), _write_record(path, content))
        if replace:
            trash = self._trash_for(path)
            target.rename(trash)
        new_record.replace(self._record(path))
        if not replace:  # else nothing stands there, and every moment counts
            sync_directory(self.private / "published")
        source.rename(target)
        sync_directory(target.parent)
        self.published[path] = Published(content)
        self.drop_staging(path)
        if replace:
            shutil.rmtree(trash, ignore_errors=True)

    def _trash_for(self, path: str) -> Path:
        return self.private / "trash" / f"v{_plain('/' + path)}~{uuid.uuid4().hex}"

    def withdraw(self, path: str) -> None:
        """Take the version `path` away from where the engine looks, in one rename; it is deleted later."""
        trash, target = self._trash_for(path), self.directory_of(path)
        if target.is_dir():
            target.rename(trash)
            sync_directory(target.parent)
            self._trash[trash] = path
            with suppress(FileNotFoundError):
                self._record(path).rename(_record_beside(trash))
        self._record(path).unlink(missing_ok=True)
        self.published.pop(path, None)

    def notice_losses(self) -> None:
        """Forget versions whose directory somebody else took away, so that they are brought again."""
        for path in [path for path in self.published if not self.directory_of(path).is_dir()]:
            self.withdraw(path)

    def empty_trash(self, in_use: Callable[[str], bool]) -> None:
        """Delete the withdrawn versions that nothing uses."""
        for trash, path in list(self._trash.items()):
            if not in_use(path):
                del self._trash[trash]
                shutil.rmtree(trash, ignore_errors=True)
                _record_beside(trash).unlink(missing_ok=True)

    @property
    def known(self) -> set[str]:
        """The versions that are published, or were and wait for their deletion."""
        return {*self.published, *self._trash.values()}

    @property
    def has_trash(self) -> bool:
        """Whether withdrawn versions wait for their deletion."""
        return bool(self._trash)

    @property
    def size(self) -> int:
        """Bytes of all published versions."""
        return sum(published.size for published in self.published.values())

    def free(self) -> int:
        """Bytes that the file system still takes."""
        return shutil.disk_usage(self.directory).free

    def _record(self, path: str) -> Path:
        return self.private / "published" / f"v{_plain('/' + path)}.json"


def _record_beside(trash: Path) -> Path:
    """Where the record of a version in the trash is."""
    return trash.with_name(f"{trash.name}.json")


def _write_record(path: str, content: Content) -> bytes:
    return json.dumps({"path": path, "files": sorted(content)}).encode()


def _read_record(record: Path) -> tuple[str, Published | None]:
    """The path and the content that a record tells, None for what was not written to its end."""
    try:
        told = json.loads(record.read_bytes())
        content = frozenset((str(path), int(size), str(etag)) for path, size, etag in told["files"])
        return str(told["path"]), Published(content)
    except (OSError, ValueError, LookupError, TypeError):
        return "", None
