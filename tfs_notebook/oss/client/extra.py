"""The packages of `pip install 'tfs-notebook[oss]'`, which nobody needs who has no models in OSS."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needs(package: str) -> Iterator[None]:
    """Turns the ImportError of `package` into a ServingError FAILED_PRECONDITION that says how to install it."""
    try:
        yield
    except ImportError as error:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"models in OSS need the package {package}, which cannot be imported ({error})",
            hint="pip install 'tfs-notebook[oss]'",
        ) from error
