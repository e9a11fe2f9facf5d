"""`%tfs_sync`: what a person does about models in OSS by hand, and how the places that they come from are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.view.progress import FetchProgress
from tfs_notebook.notebook.view.table import problems, sources_as_html, sources_as_text

if TYPE_CHECKING:
    from tfs_notebook.server.server import Server
    from tfs_notebook.server.status import ServerStatus


class SyncStatus:
    """The places in OSS at one moment."""

    def __init__(self, status: ServerStatus) -> None:
        self._status = status

    def __repr__(self) -> str:
        return "\n".join([*sources_as_text(self._status), *problems(self._status)])

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        return {"text/html": sources_as_html(self._status), "text/plain": repr(self)}


def sync(server: Server, action: str) -> SyncStatus:
    """Do `action`: now, pause, resume or status. Returns what came of it.

    Raises ServingError when nothing that is served is in OSS.
    """
    if not server.has_sources:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Nothing that is served comes from OSS",
            hint="%tfs_serve oss://BUCKET/PREFIX/ serves what does.",
        )
    if action == "pause":
        server.sync_pause()
    elif action == "resume":
        server.sync_resume()
    if action in {"now", "resume"}:
        with FetchProgress(server) as progress:
            server.sync_now(meanwhile=lambda: progress.update(server))
    return SyncStatus(server.status())
