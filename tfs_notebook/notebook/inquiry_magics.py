"""`%tfs_call`, `%tfs_doctor` and `%tfs_parity`: how to call what is served, what is wrong, and where answers differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.magic_line import parse
from tfs_notebook.notebook.predict.line import read_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tfs_notebook.notebook.call_information.information import CallInformation
    from tfs_notebook.notebook.doctor.report import Report
    from tfs_notebook.notebook.parity.report import Parity
    from tfs_notebook.server.server import Server


@magics_class
class InquiryMagics(Magics):
    """The magics that only ask; the server is that of `ServingMagics` in the same shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell

    @property
    def server(self) -> Server | None:
        """The server of the shell, None for none; it may have been stopped."""
        found: Server | None = getattr(self.shell.magics_manager.registry.get("ServingMagics"), "server", None)
        return found

    @magic_arguments()
    @argument("model", help="Name of the model.")
    @argument("--version", type=int, default=None, help="Version to call; by default the newest.")
    @argument("--label", default=None, help="Label of the version to call.")
    @argument("--signature_name", default="", help="Signature to call; by default serving_default.")
    @argument("--show_token", action="store_true", help="Write the token into the programs, which are then saved too.")
    @output_can_be_silenced
    @line_magic
    def tfs_call(self, line: str) -> CallInformation:
        """Show how programs call a model: address, token, and programs that run as they are.

        %tfs_call modelA --label canary

        There are curl, urllib, requests, JavaScript and gRPC, each with a body
        made from the signature. The token stays hidden: programs read it from
        the environment variable TFS_NOTEBOOK_TOKEN unless --show_token is
        given. In a script: tfs_notebook.call_information("modelA", server=server),
        whose .programs["curl"] is the text of one.
        """
        __tracebackhide__ = True
        arguments = parse(self.tfs_call, line)
        if arguments.version is not None and arguments.label is not None:
            raise UsageError("--version and --label name two versions: give one of them")
        server = self.server
        if server is None or not server.running:
            raise UsageError("Nothing is served: %tfs_serve PATH starts a server")
        from tfs_notebook.api.calls.model_spec import ModelSpec
        from tfs_notebook.notebook.call_information.information import call_information

        spec = ModelSpec(arguments.model, arguments.version, arguments.label)
        try:
            return call_information(server, spec, arguments.signature_name, show_token=arguments.show_token)
        except ServingError as error:
            raise UsageError(error.told) from None

    @magic_arguments()
    @argument("path", nargs="?", default="", help="A model's directory, a directory of models, either in OSS, a "
              "config file, or a service.json of PAI-EAS.")  # fmt: skip
    @output_can_be_silenced
    @line_magic
    def tfs_doctor(self, line: str) -> Report:
        """Look for what is wrong, each finding in one line with its remedy.

        %tfs_doctor
        %tfs_doctor models/modelA
        %tfs_doctor service.json

        It looks at ports and who holds them, at what is served and at PATH
        (directories that are no version, missing files, SavedModels without
        signature, labels without version), at memory, device and disk, and at
        packages that do not fit together. Nothing is loaded or changed, and no
        server is needed. In a script: tfs_notebook.doctor("models/modelA").
        """
        __tracebackhide__ = True
        path = parse(self.tfs_doctor, line).path
        from tfs_notebook.notebook.doctor.report import doctor

        try:
            return doctor(path, self.server)
        except ServingError as error:
            raise UsageError(error.told) from None

    @no_var_expand
    @magic_arguments()
    @argument("model", help="Name of the model; a variable of that name is asked first.")
    @argument("--version", type=int, default=None, help="Version to ask; by default the newest.")
    @argument("--label", default=None, help="Label of the version to ask.")
    @argument("--signature_name", default="", help="Signature to call; by default serving_default.")
    @argument("--at", default="", metavar="URL", help="Another server, asked over REST, too: http://HOST:8501.")
    @argument("--at_token", default="", metavar="TOKEN", help="The token of that server.")
    @output_can_be_silenced
    @line_magic
    def tfs_parity(self, line: str) -> Parity:
        """Find where answers begin to differ between a model and its clients.

        %tfs_parity net x_test[:8]
        %tfs_parity modelA x_test[:8] --label canary --at http://localhost:8601

        The same rows go through the model in the variable of that name (if
        there is one), the SavedModel's signature, the engine, REST and gRPC.
        Shown are the largest difference of each from the step before, and for
        the first that differs the likely reason. The record has .agrees,
        .differences and .reason.
        """
        __tracebackhide__ = True
        found = read_line(self.tfs_parity, line, self.shell.user_ns)
        arguments = found.arguments
        if arguments.version is not None and arguments.label is not None:
            raise UsageError("--version and --label name two versions: give one of them")
        if not found.expression:
            raise UsageError(f"%tfs_parity {arguments.model} ROWS: which rows? An expression like x_test[:8]")
        server = self.server
        if server is None or not server.running:
            raise UsageError("Nothing is served: %tfs_serve PATH starts a server")
        from tfs_notebook.api.calls.model_spec import ModelSpec
        from tfs_notebook.engine.models.export import can_be_exported
        from tfs_notebook.notebook.parity.report import parity
        from tfs_notebook.notebook.predict.asking import evaluator

        variable = self.shell.user_ns.get(arguments.model)
        model = variable if can_be_exported(variable) and callable(variable) else None
        spec = ModelSpec(arguments.model, arguments.version, arguments.label)
        rows = evaluator(self.shell)(found.expression)
        try:
            return parity(
                server, spec, rows,
                signature_name=arguments.signature_name, model=model, at=arguments.at, token=arguments.at_token,
            )  # fmt: skip
        except ServingError as error:
            raise UsageError(error.told) from None
