"""How a server shows itself: live where a kernel has a page, as text and HTML everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from IPython.core.getipython import get_ipython

from tfs_notebook.notebook.view.dashboard import Dashboard, static_mimebundle

if TYPE_CHECKING:
    from tfs_notebook.server.server import Server

_dashboards: WeakKeyDictionary[Server, Dashboard] = WeakKeyDictionary()


def mimebundle(server: Server, **kwargs: Any) -> dict[str, Any]:
    """The server's live table, one widget however often it is displayed; the table as it is now without a kernel."""
    shell = get_ipython()
    if getattr(shell, "kernel", None) is None:
        return dict(static_mimebundle(server))
    dashboard = _dashboards.get(server)
    if dashboard is None and server.running:
        dashboard = _dashboards[server] = Dashboard(server)
    return dashboard.mimebundle(**kwargs) if dashboard is not None else dict(static_mimebundle(server))


def close_all() -> None:
    """Take every live table off the page."""
    for dashboard in list(_dashboards.values()):
        dashboard.close()
    _dashboards.clear()
