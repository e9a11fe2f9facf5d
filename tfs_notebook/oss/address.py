"""`oss://bucket/key`, the way Alibaba Cloud's tools write where an object, or everything below a prefix, is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tfs_notebook.errors import invalid_argument

SCHEME = "oss://"
PRIVATE = ".tfs-sync"
"""The directory beside the copies of models in which the synchronisation keeps its own files."""
_NEARLY = re.compile(r"oss(:/*|//+)(?=[^/])", re.IGNORECASE)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def is_oss(path: str) -> bool:
    """Whether `path` names something in OSS."""
    return path.startswith(SCHEME)


def check_spelling(path: str) -> None:
    """Raise ServingError for a path that does not exist and is nearly an address: `oss:/bucket/x`, `oss//bucket`."""
    nearly = _NEARLY.match(path)
    if nearly is not None and not is_oss(path) and not Path(path).exists():
        meant = f"{SCHEME}{path[nearly.end() :]}"
        raise invalid_argument(f"{path!r} is neither a path that exists nor an address in OSS: is {meant} meant?")


@dataclass(frozen=True, slots=True, order=True)
class OssAddress:
    """An object or a prefix of a bucket; a prefix ends with `/`, or is "" for the whole bucket."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> OssAddress:
        """The address that `text` spells. Raises ServingError INVALID_ARGUMENT, with what is wrong with it."""
        bucket, _, key = text.removeprefix(SCHEME).partition("/")
        if not is_oss(text) or not _BUCKET.fullmatch(bucket):
            raise invalid_argument(
                f"{text!r} is no address in OSS: oss://BUCKET/PREFIX/, where the bucket's name has 3 to 63 lower-case "
                "letters, digits and hyphens (an endpoint is given by --oss_endpoint)"
            )
        if PRIVATE in key.split("/"):
            raise invalid_argument(
                f"{text!r} cannot be used: beside the copies of models, {PRIVATE} is where the synchronisation keeps "
                "its own files. Give that prefix another name"
            )
        return cls(bucket, key.lstrip("/"))

    @property
    def directory(self) -> OssAddress:
        """The same as a prefix: `modelA` and `modelA/` name one directory, but `modelA` alone matches `modelAB` too."""
        return self if not self.key or self.key.endswith("/") else OssAddress(self.bucket, f"{self.key}/")

    def below(self, root: OssAddress) -> str | None:
        """The rest of this key under the prefix `root` ("" for `root` itself), None when it is not below it."""
        root, asked = root.directory, self.key
        if self.bucket != root.bucket or not f"{asked}/".startswith(root.key):
            return None
        return asked.removeprefix(root.key) if asked != root.key.rstrip("/") else ""

    def join(self, path: str) -> OssAddress:
        """What `path`, relative with `/` between its parts, names below this prefix."""
        return OssAddress(self.bucket, f"{self.directory.key}{path.lstrip('/')}")

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"
