"""A file whose text is read whole."""

from __future__ import annotations

from pathlib import Path

from tfs_notebook.engine.storage.hints import for_missing
from tfs_notebook.errors import not_found


def read_text(path: str, hint: str = "") -> str:
    """The text of a file. Raises ServingError NOT_FOUND, with `hint`, for what cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        missing = for_missing(Path(path)) if isinstance(error, FileNotFoundError) else ""
        raise not_found(f"{path}; {reason}", hint="\n".join(filter(None, (hint, missing)))) from None
