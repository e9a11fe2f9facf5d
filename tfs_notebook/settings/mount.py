"""A path of a deployment, like /models, that stands for a directory somewhere else: nobody can write /models here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tfs_notebook.oss.address import OssAddress, is_oss


@dataclass(frozen=True, slots=True)
class Mount:
    """Base paths below `path` are found in `root`, a directory or a prefix in OSS.

    An empty `path` leaves every path as it is, but for a `file://`.
    """

    path: str
    root: str

    def resolve(self, base_path: str) -> str:
        """The directory, or the address in OSS, that `base_path` stands for."""
        base_path = base_path.removeprefix("file://")
        asked = PurePosixPath(base_path)
        if not self.path or not asked.is_relative_to(self.path):
            return base_path
        rest = asked.relative_to(self.path)
        if is_oss(self.root):
            below = "/".join(rest.parts)
            return str(OssAddress.parse(self.root).join(f"{below}/" if below and base_path.endswith("/") else below))
        return str(Path(self.root) / rest)
