"""How the console shows itself in a cell: live where widgets are, as the table of that moment everywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from tfs_notebook.notebook.view.dashboard import static_mimebundle

if TYPE_CHECKING:
    from tfs_notebook.server.server import Server


class ConsoleView:
    """The console of a server; each display of it is a widget of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from tfs_notebook.console.widget import ConsoleWidget

        plain = static_mimebundle(self._server)
        if not self._server.running:
            return dict(plain)
        shown = ConsoleWidget(self._server)._repr_mimebundle_(**kwargs)
        bundle = shown[0] if isinstance(shown, tuple) else shown
        return {**(bundle or {}), **plain}


@dataclass(frozen=True, slots=True)
class ConsoleLink:
    """Where the console's page is, without the token: outputs are handed on with notebooks."""

    url: str
    needs_token: bool

    @classmethod
    def open(cls, server: Server) -> ConsoleLink:
        """The page of `server`, which is opened on a free port if it is not yet."""
        from tfs_notebook.console.pages import open_page

        page = open_page(server, server.options.console_port or -1)
        return cls(page.url.partition("#")[0], bool(server.token))

    def __repr__(self) -> str:
        return f"Console: {self.url}{self._token}"

    @property
    def _token(self) -> str:
        return ", which asks for the token: server.token (server = %tfs_status)" if self.needs_token else ""

    def _repr_html_(self) -> str:
        url = escape(self.url)
        return f'Console: <a href="{url}" target="_blank" rel="noopener">{url}</a>{escape(self._token)}'
