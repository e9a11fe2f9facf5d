"""`%tfs_console`: the console in a cell, or as a web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from tfs_notebook.notebook.magic_line import parse

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tfs_notebook.notebook.view.console import ConsoleLink, ConsoleView
    from tfs_notebook.server.server import Server


@magics_class
class ConsoleMagic(Magics):
    """The magic that shows the console; the server is that of `ServingMagics` in the same shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell

    @magic_arguments()
    @argument("--web", action="store_true", help="As a web page: tells where it is.")
    @line_magic
    def tfs_console(self, line: str) -> ConsoleView | ConsoleLink:
        """Show the console, live: models, requests by hand, traffic, configuration, calls, events.

        %tfs_console
        %tfs_console --web

        With --web it is a page of its own, on --console_port or a free port,
        which asks for the server's token where there is one.
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_console, line)
        server: Server | None = getattr(self.shell.magics_manager.registry.get("ServingMagics"), "server", None)
        if server is None or not server.running:
            raise UsageError("Nothing is served: %tfs_serve PATH starts a server")
        from tfs_notebook.notebook.view.console import ConsoleLink, ConsoleView

        return ConsoleLink.open(server) if arguments.web else ConsoleView(server)
