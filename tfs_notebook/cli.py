"""`tfs-model-server`: the engine from a shell, with tensorflow_model_server's flags, log lines and exit codes."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import Code, ServingError, invalid_argument
from tfs_notebook.options import Flag, Options
from tfs_notebook.settings.batching import batching_parameters, check_batching
from tfs_notebook.settings.ignored_flags import KNOWN_FLAGS, without_accepted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfs_notebook.server.server import Server

_log = logging.getLogger("tfs_notebook")
_FAILED = 255
_VERSION = Flag("version", bool, False, "display version", own=False)
_FLAGS = {**KNOWN_FLAGS, _VERSION.name: _VERSION}
_TYPE_NAMES = {int: "int", float: "float", bool: "bool", str: "string"}


class FlagError(ValueError):
    """A flag whose value cannot be parsed, or a call for help: the usage is printed and the process ends."""


def parse_flags(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The options in `--name=value` arguments, and the arguments that are none of them.

    By the rules of TensorFlow's own flag parser: no `--name value`, no `-name`; everything after `--` is unknown.
    Raises FlagError.
    """
    found: dict[str, Any] = {}
    unknown: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            unknown.extend(arguments[position + 1 :])
            break
        if argument == "--help":
            raise FlagError("")
        flag, text = _flag_of(argument)
        if flag is None:
            unknown.append(argument)
            continue
        try:
            found[flag.name] = flag.parse(text)
        except ValueError as error:
            raise FlagError(str(error)) from None
    return found, unknown


def _flag_of(argument: str) -> tuple[Flag | None, str | None]:
    """The flag that an argument sets, and the text of its value."""
    name, equals, text = argument.removeprefix("--").partition("=")
    if not argument.startswith("--"):
        return None, None
    flag = _FLAGS.get(name)
    if flag is not None and (equals or flag.type is bool):
        return flag, text if equals else None
    # TensorFlow's parser takes a boolean flag that begins the argument for the one that is meant
    prefixes = (flag for flag in _FLAGS.values() if flag.type is bool and name.startswith(flag.name))
    return next(prefixes, None), argument


def usage() -> str:
    """The text of --help."""
    lines = ["usage: tfs-model-server", "Flags:"]
    lines += [_usage_line(flag) for flag in _FLAGS.values()]
    return "\n".join(lines)


def _usage_line(flag: Flag) -> str:
    default = str(flag.default).lower() if flag.type is bool else repr(flag.default).replace("'", '"')
    return f"\t{f'--{flag.name}={default}':<56}\t{_TYPE_NAMES[flag.type]}\t{flag.help}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        found, unknown = parse_flags(arguments)
    except FlagError as error:
        print(*filter(None, (str(error), usage())), sep="\n")
        return _FAILED
    if found.pop("version", False):
        _print_versions()
        return 0
    if unknown:
        print(*(f"unknown argument: {argument}" for argument in unknown), usage(), sep="\n")
        for remedy in _remedies(unknown):
            print(remedy, file=sys.stderr)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it logs each retry; what comes of them all is told
    stop = _Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.on_signal)
    try:
        _serve(Options(**without_accepted(found)), alts=found.get("use_alts_credentials", False))
    except _Stopped:
        _log.info("Stopped before the models were loaded")
    except (ServingError, OSError) as error:
        _print_failure(error)
        return _FAILED
    return 0


def _remedies(unknown: Sequence[str]) -> list[str]:
    """What was probably meant by arguments that are no flags."""
    remedies = []
    for argument, following in zip(unknown, [*unknown[1:], ""], strict=True):
        name, equals, _ = argument.lstrip("-").partition("=")
        if not argument.startswith("-"):
            continue
        if name in _FLAGS and not equals:
            remedies.append(f"{argument}: a value follows =, without a blank: --{name}={following or '…'}")
        elif near := get_close_matches(name, _FLAGS, n=1):
            remedies.append(f"{argument}: did you mean --{near[0]}{equals}{argument.partition('=')[2]}?")
    return remedies


class _Stopped(BaseException):  # as KeyboardInterrupt: nothing on the way may take it for an error
    """A signal asked to stop."""


class _Stop:
    """The first signal interrupts whatever is done, so that it is wound up; the second ends the process at once."""

    def __init__(self) -> None:
        self._asked = False

    def on_signal(self, number: int, _frame: object) -> None:
        if self._asked:
            os._exit(128 + number)
        self._asked = True
        raise _Stopped


def _print_versions() -> None:
    import tensorflow as tf

    from tfs_notebook import __version__

    print(f"TensorFlow ModelServer: tfs-notebook {__version__}")
    print(f"TensorFlow Library: {tf.__version__}")


def _print_failure(error: ServingError | OSError) -> None:
    if not isinstance(error, ServingError):
        error = ServingError(Code.INVALID_ARGUMENT, f"Failed to BuildAndStart gRPC server: {error}")
    if error.message.startswith("Error parsing text-format"):
        print(error.message, error.hint, sep="\n", file=sys.stderr)
        path = error.where.rsplit(":", 2)[0]
        error = ServingError(error.code, f"Invalid protobuf file: '{path}'")
    print(f"Failed to start server. Error: {error}", flush=True)
    if error.hint:
        print(error.hint, file=sys.stderr)


def _serve(options: Options, *, alts: bool) -> None:
    options = _without_conflicts(options, alts=alts)
    from tfs_notebook.settings.deployment import deployment

    deployed = deployment(options)
    if deployed.file is None:
        _log.info(
            "Building single TensorFlow model file config:  model_name: %s model_base_path: %s",
            options.model_name, options.model_base_path,
        )  # fmt: skip
    from tfs_notebook.settings.grpc import check_listening

    options = deployed.options
    check_listening(options)  # before TensorFlow is imported, which takes seconds
    batching_parameters(options)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else each process that is begun makes grpc tell of the fork
    from tfs_notebook.server.server import Server
    from tfs_notebook.server.start import open_console

    with Server(options) as server:
        server.start(deployed.config, file=deployed.file, timeout=None, strict=True)
        open_console(server)
        try:
            _tell(server, options)
            while True:
                time.sleep(3600)
        except _Stopped:
            _log.info("Stopping: finishing the requests under way")


def _tell(server: Server, options: Options) -> None:
    """Log where the server answers, in the lines that scripts wait for."""
    if server.made_up_token:
        _log.warning("Requests need the header or metadata authorization: %s", server.made_up_token)
    if server.grpc_target:
        _log.info("Running gRPC ModelServer at %s:%s ...", options.host, server.grpc_target.rpartition(":")[2])
    if server.grpc_socket_target:
        _log.info("Running gRPC ModelServer at UNIX socket %s ...", options.grpc_socket_path)
    if server.rest_url:
        _log.info("Exporting HTTP/REST API at:%s ...", server.rest_url.removeprefix("http://"))
    if server.console_url:
        _log.info("Console at %s", server.console_url)
    if not server.rest_url and options.monitoring_config_file:
        _log.warning("--monitoring_config_file has no effect without REST, on whose port metrics are served")


def _without_conflicts(options: Options, *, alts: bool) -> Options:
    """`options` checked in TensorFlow Serving's order; a REST port that cannot be had leaves REST off, as there."""
    if options.port == 0 and not options.grpc_socket_path and options.rest_api_port == 0:
        raise invalid_argument(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        )
    if alts and options.ssl_config_file:
        raise invalid_argument("Either use_alts_credentials must be false or ssl_config_file must be empty.")
    if options.model_base_path or options.model_config_file:  # their absence is told first
        check_batching(options)
    intra, inter = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
    if intra > 0 and inter > 0 and options.tensorflow_session_parallelism > 0:
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    if options.rest_api_port <= 0 or options.port == 0:
        return options
    if options.rest_api_port == options.port:
        _log.error(
            "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. "
            "Skipped exporting HTTP/REST API."
        )
        return replace(options, rest_api_port=0)
    from tfs_notebook.settings.ports import PortTakenError, check_port

    try:
        check_port("rest_api_port", options.host, options.rest_api_port)
    except (PortTakenError, ServingError) as error:
        _log.error("Failed to start HTTP Server at %s:%d: %s", options.host, options.rest_api_port, error)
        return replace(options, rest_api_port=0)
    return options


def run(arguments: Sequence[str] | None = None) -> None:
    """Serve, and end the process without waiting for threads that a model keeps busy."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold any bytes
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
