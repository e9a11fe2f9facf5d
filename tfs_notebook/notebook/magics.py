"""`%tfs_serve`, `%tfs_predict`, `%tfs_status`, `%tfs_sync`, `%tfs_push`, `%tfs_stop`.

Options stand on the line, payloads in the cell's body. There is one server a kernel; `%tfs_serve` on a running one
changes it. Every refusal is one UsageError without a traceback, and Ctrl-C returns the prompt at once.
"""

from __future__ import annotations

import atexit
import builtins
import keyword
import logging
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)
from IPython.core.magic_arguments import argument, argument_group, magic_arguments

from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.completion import matcher
from tfs_notebook.notebook.config_magics import ConfigMagics
from tfs_notebook.notebook.console_magic import ConsoleMagic
from tfs_notebook.notebook.flags import given_flags, push_flags, serving_flags
from tfs_notebook.notebook.inquiry_magics import InquiryMagics
from tfs_notebook.notebook.interrupted import Interrupted
from tfs_notebook.notebook.magic_line import parse
from tfs_notebook.notebook.plots.shown import PLOTS
from tfs_notebook.notebook.predict.line import read_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tfs_notebook.notebook.predict.answer import Answer
    from tfs_notebook.notebook.predict.comparison import Comparison
    from tfs_notebook.notebook.sync import SyncStatus
    from tfs_notebook.server.server import Server


_SYNC_ACTIONS = ("now", "pause", "resume", "status")
_NOTHING_TO_SERVE = (
    "What is to be served? %tfs_serve PATH takes the directory of one model's numbered versions, "
    "%tfs_serve --model_config_file=FILE several models, %%tfs_serve the same text in the cell"
)


@magics_class
class ServingMagics(Magics):
    """The magics of one shell, and the server they share."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell
        self.server: Server | None = None
        self.matcher: Any = None

    @magic_arguments()
    @argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="A variable with a model, or several; or a base path, or with --mount the directory it stands for.",
    )
    @argument_group("a model in a variable")
    @argument(
        "--label",
        default="",
        metavar="LABEL",
        help="Label for the version that a variable becomes; what serves now goes on.",
    )
    @argument(
        "--version",
        type=int,
        default=None,
        metavar="INT",
        help="Number for a variable's version; by default the next one.",
    )
    @argument("--export_to", default="", metavar="DIRECTORY", help="Where versions are written to.")
    @argument("--variable", nargs="?", default="", help="MODEL is a variable, though there is a path of that name.")
    @serving_flags
    @output_can_be_silenced
    @line_cell_magic
    def tfs_serve(self, line: str, cell: str = "") -> Server:
        """Serve TensorFlow models from this kernel, or change what is served.

        %tfs_serve net serves the Keras model, tf.Module or tf.function in the
        variable `net` as the next version of the model `net`, beside what is
        served already: run it again after more training.
        %tfs_serve PATH serves the newest version in PATH as `model`;
        %tfs_serve --model_config_file=FILE serves what the file lists;
        %%tfs_serve takes the same text from the cell. Any of these paths may
        be oss://BUCKET/PREFIX/: what is there is brought here and followed.
        With PATH --mount=/models, base paths below /models are found in PATH.

        REST is on port 8501 and gRPC on 8500; 0 picks a free port. Run it
        again to change models or options: no request is lost, versions that
        were exported again are exchanged, and ports, host and token stay
        unless others are given. What cannot be served is told in the table,
        and kept in the logger `tfs_notebook`. Flags of TensorFlow Serving that
        are not listed here are accepted without effect.
        """
        __tracebackhide__ = True  # IPython then shows the user's frames only
        arguments = parse(self.tfs_serve, line)
        given = given_flags(arguments)
        if not (arguments.models or cell.strip() or given.keys() & {"model_base_path", "model_config_file"}):
            raise UsageError(_NOTHING_TO_SERVE)
        from tfs_notebook.notebook.serving import serve

        running = self.server is not None and self.server.running
        try:
            self.server = serve(self.server if running else None, arguments, cell, given, self.shell.user_ns)
        except ServingError as error:
            raise UsageError(error.told) from None
        except OSError as error:
            raise UsageError(str(error)) from None
        except KeyboardInterrupt as interrupt:
            outcome = "nothing is served"
            if running:
                goes_on = getattr(interrupt, "goes_on", False)
                outcome = "what was asked for goes on, %tfs_status shows it" if goes_on else "nothing has changed"
            raise Interrupted(outcome) from None
        from tfs_notebook.notebook.view.summary import summary

        if told := summary(self.server.status()):
            print(told, file=sys.stderr)
        return self.server

    @no_var_expand
    @magic_arguments()
    @argument("model", nargs="?", default="", help="Name of the model, or several: modelA,modelB.")
    @argument("--classes", default="", help="Names of the classes: a variable, an expression, or a file of names.")
    @argument("--truth", default="", help="What is true of each row: a variable or an expression.")
    @argument("--label", action="append", help="Label of the version to ask; two of them are compared.")
    @argument("--version", type=int, action="append", help="Version to ask; by default the newest; two are compared.")
    @argument("--plot", choices=PLOTS, default="auto", help="The picture; by default what suits the signature.")
    @argument("--out", default="", metavar="NAME", help="Variable that takes the outputs: an array, or a dict of them.")
    @argument("--via", choices=("local", "rest", "grpc"), default="local", help="The way to ask; by default local.")
    @argument("--signature_name", default="", help="Signature to call; by default serving_default.")
    @output_can_be_silenced
    @line_cell_magic
    def tfs_predict(self, line: str, cell: str | None = None) -> Answer | Comparison:
        """Ask a served model, and see what it answers.

        %tfs_predict modelA x_test[:24]
        %tfs_predict modelA x_test[:24] --classes names --truth y_test
        answer = %tfs_predict modelB x_test --label canary --via rest
        %tfs_predict modelB x_test --label stable --label canary --truth y_test
        %tfs_predict modelA,modelB x_test[:24]

        What follows the model's name is a Python expression: the value of the
        only input with its batch dimension, or a dict of arrays by input name.
        In a %%tfs_predict cell the body is one, or a REST request body in JSON,
        {"instances": [...]} or {"inputs": ...}.

        The result draws itself. It is a record that keeps what was asked:
        .predictions (the rows), .numpy(), .to_pandas(), .plot() (a matplotlib
        Figure), .version, .times (seconds by stage). Rows of --truth are taken
        as those of the input, so that x_test[:24] is held to y_test[:24].
        Several labels, versions or models are compared side by side, the rows
        that they answer differently first.
        """
        __tracebackhide__ = True
        found = read_line(self.tfs_predict, line, self.shell.user_ns)
        arguments, text = found.arguments, cell if cell is not None else found.expression
        if cell is not None and found.expression:
            raise UsageError(f"unexpected argument {found.expression!r}: in a %%tfs_predict cell the body is asked")
        if arguments.out and (not arguments.out.isidentifier() or keyword.iskeyword(arguments.out)):
            raise UsageError(f"--out={arguments.out} is not a variable's name")
        if hasattr(builtins, arguments.out) or arguments.out in self.shell.user_ns_hidden:
            raise UsageError(f"--out={arguments.out} is a name of Python's or IPython's own: choose another")
        server = self._running_server()
        from tfs_notebook.notebook.predict.asking import predict

        try:
            return predict(arguments, text, server, self.shell)
        except KeyboardInterrupt:
            raise Interrupted("the answer is not waited for") from None

    @magic_arguments()
    @line_magic
    def tfs_status(self, line: str) -> Server:
        """Show what is served, live."""
        parse(self.tfs_status, line)
        return self._running_server()

    @magic_arguments()
    @argument("action", nargs="?", default="status", choices=_SYNC_ACTIONS, help="What to do; by default status.")
    @output_can_be_silenced
    @line_magic
    def tfs_sync(self, line: str) -> SyncStatus:
        """Follow OSS by hand: look now, pause, resume, or show how far it is.

        now looks at once, and returns when what is new serves; pause fetches
        nothing more, while what is served stays; resume goes on, and begins
        as now does. Of kernels with one copy one fetches for all: any of them
        can be asked.
        """
        __tracebackhide__ = True
        action = parse(self.tfs_sync, line).action
        server = self._running_server()
        from tfs_notebook.notebook.sync import sync

        try:
            return sync(server, action)
        except ServingError as error:
            raise UsageError(error.told) from None
        except KeyboardInterrupt:
            raise Interrupted("the synchronisation goes on, %tfs_sync shows it") from None

    @magic_arguments()
    @argument("model", help="A served model's name, a variable with a Keras model or tf.Module, or a path.")
    @argument("address", help="Where versions of the model are: oss://BUCKET/PREFIX/.")
    @argument("--version", type=int, default=None, help="Number to give it; by default the next free one.")
    @push_flags
    @line_magic
    def tfs_push(self, line: str) -> None:
        """Upload a model to OSS, as its next version.

        Nobody who follows the prefix ever sees half of it; a number that is
        there already is not written over; and what was interrupted goes on
        when it is asked for again. Options that are not given are those of
        the running server.
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_push, line)
        server = self.server if self.server is not None and self.server.running else None
        from tfs_notebook.notebook.push import push_model

        given = given_flags(arguments)
        try:
            model, address = arguments.model, arguments.address
            push_model(model, address, arguments.version, given, server, self.shell.user_ns)
        except ServingError as error:
            raise UsageError(error.told) from None
        except KeyboardInterrupt:
            raise Interrupted("what was sent is kept: the same line goes on from there") from None

    @magic_arguments()
    @line_magic
    def tfs_stop(self, line: str) -> None:
        """Finish the requests under way, unload every model and free the ports."""
        parse(self.tfs_stop, line)
        self._running_server().stop()

    def _running_server(self) -> Server:
        if self.server is None or not self.server.running:
            raise UsageError("Nothing is served: %tfs_serve PATH starts a server")
        return self.server

    def stop(self) -> None:
        """Stop the server if there is one."""
        if self.server is not None:
            self.server.stop(timeout=2.0)
            self.server = None


OTHER_MAGICS: tuple[type[Magics], ...] = (InquiryMagics, ConfigMagics, ConsoleMagic)
"""What is registered besides `ServingMagics`, whose server they ask for."""


def register(shell: InteractiveShell) -> None:
    """Add the magics to `shell`."""
    magics = ServingMagics(shell)
    shell.register_magics(magics, *(kind(shell) for kind in OTHER_MAGICS))
    # Somebody's handler of the root logger, TensorFlow's for one, would write into whatever cell runs
    logging.getLogger("tfs_notebook").propagate = False
    magics.matcher = matcher(magics)
    shell.Completer.custom_matchers.append(magics.matcher)
    atexit.register(magics.stop)


def unregister(shell: InteractiveShell) -> None:
    """Stop the server and take everything back that `register` added. IPython itself has no call for that."""
    manager = shell.magics_manager
    magics = manager.registry.pop(ServingMagics.__name__, None)
    if magics is None:
        return
    found = [magics, *(manager.registry.pop(kind.__name__) for kind in OTHER_MAGICS)]
    for kind in ("line", "cell"):
        for name, function in list(manager.magics[kind].items()):
            if getattr(function, "__self__", None) in found:
                del manager.magics[kind][name]
    if magics.matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(magics.matcher)
    magics.stop()
    atexit.unregister(magics.stop)
    logging.getLogger("tfs_notebook").propagate = True
    shell.configurables[:] = [each for each in shell.configurables if each not in found]
    from tfs_notebook.notebook.view.display import close_all

    close_all()
