"""`%tfs_label`, `%tfs_policy`, `%tfs_config`, `%tfs_load`, `%tfs_unload`: change a part of what is served.

Each leaves a record of what was before and what is now. What is refused, has changed nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.interrupted import Interrupted
from tfs_notebook.notebook.magic_line import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from tfs_notebook.notebook.configuration.record import ConfigRecord, ConfigText
    from tfs_notebook.server.server import Server

_POLICIES = "a policy is latest=N, all, or specific=1,2"


@magics_class
class ConfigMagics(Magics):
    """The magics that change the configuration; the server is that of `ServingMagics` in the same shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell

    def _running_server(self) -> Server:
        found: Server | None = getattr(self.shell.magics_manager.registry.get("ServingMagics"), "server", None)
        if found is None or not found.running:
            raise UsageError("Nothing is served: %tfs_serve PATH starts a server")
        return found

    @magic_arguments()
    @argument("model", help="Name of the model.")
    @argument("labels", nargs="*", metavar="LABEL=VERSION", help="What each label is to name; LABEL= takes it away.")
    @output_can_be_silenced
    @line_magic
    def tfs_label(self, line: str) -> ConfigRecord:
        """Let labels of a model name other versions, or show them.

        %tfs_label modelB canary=3 stable=2
        %tfs_label modelB canary=

        A label moves when its version serves, so that no request is lost; all
        labels on the line move, or none does. In a script:
        tfs_notebook.label("modelB", canary=3, stable=2, old=None).
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_label, line)
        labels = dict(_label(word) for word in arguments.labels)
        if len(labels) < len(arguments.labels):
            raise UsageError("A label names one version: give each label once")
        server = self._running_server()
        from tfs_notebook.notebook.configuration import edits

        with _told():
            return edits.label(server, arguments.model, labels)

    @magic_arguments()
    @argument("model", help="Name of the model.")
    @argument("policy", nargs="?", default="", help="latest=N, all, or specific=1,2; by default it is only shown.")
    @output_can_be_silenced
    @line_magic
    def tfs_policy(self, line: str) -> ConfigRecord:
        """Choose which versions of a model are served, or show it.

        %tfs_policy modelB latest=2
        %tfs_policy modelB all
        %tfs_policy modelB specific=1,2

        Versions that a label names cannot be left out. In a script:
        tfs_notebook.policy("modelB", latest=2), all=True or specific=[1, 2].
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_policy, line)
        kind, _, value = arguments.policy.partition("=")
        if (kind, bool(value)) not in {("", False), ("all", False), ("latest", True), ("specific", True)}:
            raise UsageError(f"{arguments.policy} is no policy: {_POLICIES}")
        chosen = [_number(arguments.policy, number) for number in value.split(",") if value]
        if kind == "latest" and len(chosen) != 1:
            raise UsageError(f"{arguments.policy} is no policy: {_POLICIES}")
        server = self._running_server()
        from tfs_notebook.notebook.configuration import edits

        with _told():
            return edits.policy(
                server,
                arguments.model,
                latest=chosen[0] if kind == "latest" else None,
                all=kind == "all",
                specific=chosen if kind == "specific" else (),
            )

    @magic_arguments()
    @argument("--save", default="", metavar="FILE", help="Write it to this file, which TensorFlow Serving reads.")
    @argument("--undo", action="store_true", help="Go back to the configuration before this one; ten times at most.")
    @output_can_be_silenced
    @line_magic
    def tfs_config(self, line: str) -> ConfigRecord | ConfigText:
        """Show the configuration as the text of a model_config.pbtxt, save it, or go back.

        %tfs_config
        %tfs_config --save model_config.pbtxt
        %tfs_config --undo

        It is what is in force, whoever changed it last: a magic, a config
        file that is followed, or HandleReloadConfigRequest. In a script:
        tfs_notebook.config(save="model_config.pbtxt"), tfs_notebook.config(undo=True).
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_config, line)
        server = self._running_server()
        from tfs_notebook.notebook.configuration import edits

        with _told():
            return edits.config(server, save=arguments.save, undo=arguments.undo)

    @magic_arguments()
    @argument("model", help="Name of a model, a directory of numbered versions, or an address in OSS.")
    @argument("version", nargs="?", type=int, default=None, help="Version to serve beside the others.")
    @argument("--model_name", default="", metavar="NAME", help="Name of a new model; by default its directory's.")
    @output_can_be_silenced
    @line_magic
    def tfs_load(self, line: str) -> ConfigRecord:
        """Serve one more version of a model, or one more model, beside what is served.

        %tfs_load modelB 1
        %tfs_load models/modelD
        %tfs_load modelC

        With a version, the policy of the model becomes `specific`: those
        versions that it selects now, and this one. A directory is served as a
        new model, and the name of a model that was unloaded brings it back.
        In a script: tfs_notebook.load("modelB", 1).
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_load, line)
        server = self._running_server()
        from tfs_notebook.notebook.configuration import loading

        with _told():
            return loading.load(server, arguments.model, arguments.version, model_name=arguments.model_name)

    @magic_arguments()
    @argument("model", help="Name of the model.")
    @argument("version", nargs="?", type=int, default=None, help="Version to unload; by default the whole model.")
    @output_can_be_silenced
    @line_magic
    def tfs_unload(self, line: str) -> ConfigRecord:
        """Serve a version, or a whole model, no longer; requests under way are finished.

        %tfs_unload modelB 1
        %tfs_unload modelB

        With a version, the policy of the model becomes `specific`, without it;
        a version that a label names stays. A model leaves the configuration
        with its labels; %tfs_load brings it back. In a script:
        tfs_notebook.unload("modelB", 1).
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_unload, line)
        server = self._running_server()
        from tfs_notebook.notebook.configuration import loading

        with _told():
            return loading.unload(server, arguments.model, arguments.version)


@contextmanager
def _told() -> Iterator[None]:
    """Lets what is refused, and Ctrl-C, end in one line."""
    try:
        yield
    except ServingError as error:
        raise UsageError(error.told) from None
    except KeyboardInterrupt as interrupt:
        goes_on = getattr(interrupt, "goes_on", False)
        outcome = "what was asked for goes on, %tfs_status shows it" if goes_on else "nothing has changed"
        raise Interrupted(outcome) from None


def _label(word: str) -> tuple[str, int | None]:
    name, equals, version = word.partition("=")
    if not (name and equals):
        raise UsageError(f"{word} is no LABEL=VERSION: canary=3 lets a label name a version, canary= takes it away")
    return name, _number(word, version) if version else None


def _number(word: str, number: str) -> int:
    try:
        return int(number)
    except ValueError:
        raise UsageError(f"{word}: {number!r} is no version, which is a whole number") from None
