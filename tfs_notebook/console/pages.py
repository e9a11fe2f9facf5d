"""Which server has a console page: opened by an option or by hand, moved by a change, closed with its server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tfs_notebook.console.web import ConsolePage
from tfs_notebook.engine.events import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.engine.events import Event
    from tfs_notebook.server.server import Server

_PAGES = WeakKeyDictionary["Server", ConsolePage]()


def open_page(server: Server, port: int) -> ConsolePage:
    """The page of `server`: the one that is open, or a new one on `port` (less than 0: any free one).

    It is closed when the server stops. Raises PortTakenError.
    """
    page = _PAGES.get(server)
    return page if page is not None else _register(server, _opened(server, port))


def _opened(server: Server, port: int) -> ConsolePage:
    page = ConsolePage(server)
    page.open(port)
    return page


def _register(server: Server, page: ConsolePage) -> ConsolePage:
    _PAGES[server] = page
    server.console_url = page.url.partition("#")[0]

    def close(event: Event) -> None:
        if event.kind is Kind.SERVER and event.message == "stopped":
            end()
            close_page(server)

    end = server.events.listen(close)
    return page


def close_page(server: Server) -> None:
    """Close the page of `server`, if there is one."""
    page = _PAGES.pop(server, None)
    server.console_url = None
    if page is not None:
        page.close()


@contextmanager
def moved(server: Server, port: int) -> Iterator[None]:
    """Let the page be on `port` (0: nowhere) if what is done meanwhile succeeds, else stay where it was.

    Raises PortTakenError before anything is done.
    """
    new = _opened(server, port) if port else None
    try:
        yield
    except BaseException:
        if new is not None:
            new.close()
        raise
    close_page(server)
    if new is not None:
        _register(server, new)


def _disown() -> None:
    """In a process that was forked off no page is: what is left of them here is the parent's."""
    for page in _PAGES.values():
        page.disown()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_disown)
