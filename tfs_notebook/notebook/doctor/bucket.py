"""A prefix in OSS: can it be reached with the credentials there are, and is a version below it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.doctor.finding import Finding, one_line
from tfs_notebook.options import Options
from tfs_notebook.oss.preflight import Access
from tfs_notebook.settings.oss import open_store

if TYPE_CHECKING:
    from tfs_notebook.server.server import Server


def look_at_prefix(address: str, server: Server | None) -> tuple[str, list[Finding]]:
    """What was looked at of `address`, and what was found; it is reached as `server` does, else as a new one would."""
    options = server.options if server is not None else Options()
    credentials = server.oss_credentials if server is not None else None
    access = Access(partial(open_store, options=options, credentials=credentials))
    try:
        access.check([address])
        problem = None if access.holds_version(address) else access.no_version("model", address)
    except ServingError as error:
        problem = error
    found = [] if problem is None else [Finding(address, one_line(problem.message), one_line(problem.hint))]
    return f"{address}, by one listing", found
