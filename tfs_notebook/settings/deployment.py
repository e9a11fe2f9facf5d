"""What is to be served: a path, a config file or a config text, as one ModelServerConfig."""

from __future__ import annotations

import os
from concurrent import futures  # Python 3.10 has three TimeoutErrors
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.config import PLATFORM, Latest, parse_config
from tfs_notebook.engine.config_file import ConfigFile
from tfs_notebook.engine.storage.scan import nothing_to_serve
from tfs_notebook.errors import Code, ServingError, invalid_argument
from tfs_notebook.options import ANY_PORT, NOTEBOOK_DEFAULTS, Options
from tfs_notebook.oss.address import OssAddress, check_spelling, is_oss
from tfs_notebook.oss.config_object import ConfigObject
from tfs_notebook.oss.preflight import Access
from tfs_notebook.oss.sync.completeness import check_marker
from tfs_notebook.runtime import result_of
from tfs_notebook.settings.batching import check_batching
from tfs_notebook.settings.files import can_be_read_again, with_files
from tfs_notebook.settings.ignored_flags import KNOWN_FLAGS, without_accepted
from tfs_notebook.settings.monitoring import metrics_path
from tfs_notebook.settings.mount import Mount
from tfs_notebook.settings.oss import open_store
from tfs_notebook.threads import run_on_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.options import OptionFile

_FIRST_READ_SECONDS = 60.0
"""How long a config file may take to answer at the start."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Options and the configuration they lead to; `file` is where it was read from, None for a path or a text."""

    options: Options
    config: ModelServerConfig
    file: ConfigFile | None = None


def single_model(name: str, base_path: str) -> ModelServerConfig:
    """The configuration that serves one model's newest version."""
    config = parse_config("")
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def deployment(
    options: Options,
    text: str = "",
    source: str = "model config",
    access: Access | None = None,
    kept: Sequence[OptionFile] = (),
) -> Deployment:
    """What `options` deploy, or `text` (a ModelServerConfig in text format) when there is one; every file is read.

    `access` is the way to OSS; `kept` files go on as they were read where they cannot be read again. Raises
    ServingError: NOT_FOUND for a file that cannot be read, INVALID_ARGUMENT for text that is no config or when nothing
    was named, and for what cannot be had from OSS.
    """
    _check_addresses(options)
    access = access or Access(partial(open_store, options=options))
    deployed = _configured(options, text, source, access)
    mount, models = Mount(options.mount, options.model_root), deployed.config.model_config_list.config
    access.check([mount.resolve(options.mount), *(mount.resolve(model.base_path) for model in models)])
    check_batching(options)
    options = with_files(options, kept)
    metrics_path(options)  # refuses a bad file now; the models take their time to load
    return replace(deployed, options=options)


def _check_addresses(options: Options) -> None:
    """Raise ServingError for what names something in OSS in a way that cannot be meant."""
    for path in (options.model_root, options.model_config_file, options.model_base_path):
        check_spelling(path)
    check_marker(options.oss_marker)


def _configured(options: Options, text: str, source: str, access: Access) -> Deployment:
    if text.strip():
        return Deployment(options, parse_config(text, source))
    if options.model_config_file:
        path = Mount(options.mount, options.model_root).resolve(options.model_config_file)
        in_oss = ConfigObject(OssAddress.parse(path), access.open_store) if is_oss(path) else None
        file = ConfigFile(path, in_oss.fetch if in_oss is not None else None)
        return Deployment(options, _first_read(file, options), file)
    if options.model_base_path:
        return Deployment(options, single_model(options.model_name, options.model_base_path))
    raise ServingError(
        Code.INVALID_ARGUMENT,
        "Both server_options.model_base_path and server_options.model_config_file are empty!",
        hint="--model_base_path=DIRECTORY serves the newest of the versions DIRECTORY/1, DIRECTORY/2 and so on; "
        "--model_config_file=FILE several models.",
    )


def _check_polling(options: Options, path: str) -> None:
    """Raise ServingError INVALID_ARGUMENT for a config file whose second look would find nothing."""
    seconds = options.model_config_file_poll_wait_seconds
    if seconds > 0 and not is_oss(path) and not can_be_read_again(path):
        raise invalid_argument(
            f"--model_config_file={options.model_config_file} is no file that can be read again, as "
            f"--model_config_file_poll_wait_seconds={seconds} asks for: give a file, or leave the polling out"
        )


def _first_read(file: ConfigFile, options: Options) -> ModelServerConfig:
    """The configuration in `file`. Raises ServingError, also UNAVAILABLE for one that does not answer."""

    def read() -> ModelServerConfig:
        _check_polling(options, file.path)
        return file.read()

    try:
        return result_of(run_on_daemon_thread(read, "tfs-config-file"), _FIRST_READ_SECONDS)
    except futures.TimeoutError:
        raise file.silence(_FIRST_READ_SECONDS) from None


def notebook_options(given: Mapping[str, Any]) -> Options:
    """Options with the notebook's defaults: REST on 8501, the model of a single path called `model`, and port 0 picks.

    Raises ServingError that names an option which does not exist, with the nearest that does, or a value of the wrong
    type.
    """
    for name, value in given.items():
        if name not in KNOWN_FLAGS:
            near = get_close_matches(name, KNOWN_FLAGS, n=1)
            raise invalid_argument(f"There is no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        wanted = KNOWN_FLAGS[name].type
        fitting = (int, float) if wanted is float else wanted
        if not isinstance(value, fitting) or (wanted is not bool and isinstance(value, bool)):
            raise invalid_argument(f"Option {name} is of type {wanted.__name__}, not {value!r}")
    options = Options(**{**NOTEBOOK_DEFAULTS, **without_accepted(given)})
    return replace(options, port=options.port or ANY_PORT, rest_api_port=options.rest_api_port or ANY_PORT)


def plan(
    path: str,
    text: str,
    given: Mapping[str, Any],
    *,
    source: str = "model config",
    credentials: Any = None,
    kept: Sequence[OptionFile] = (),
) -> Deployment:
    """The deployment that a notebook asks for. Raises ServingError, also for a path with nothing to serve."""
    options, has_text = notebook_options(given), bool(text.strip())
    _check_alternatives(options, path, has_text=has_text, source=source)
    if path:
        options = _at_path(options, path, has_text=has_text)
    if options.mount and not options.model_root:
        raise invalid_argument(f"--mount={options.mount} needs the directory that it stands for: give it as the path")
    if options.mount and not (has_text or options.model_config_file or options.model_base_path):
        # as tf_serving_entrypoint.sh does in the image
        options = replace(options, model_base_path=f"{options.mount.rstrip('/')}/{options.model_name}")
    access = Access(partial(open_store, options=options, credentials=credentials))
    deployed = deployment(options, text, source, access, kept)
    if deployed.config.WhichOneof("config") is None:
        named = options.model_config_file or f"The {source}"
        raise invalid_argument(f"{named} lists no model: write model_config_list {{ config {{ name: … }} }}")
    if options.model_base_path and deployed.file is None and not has_text:
        base_path = Mount(options.mount, options.model_root).resolve(options.model_base_path)
        if is_oss(base_path):
            problem = access.no_version(options.model_name, base_path)
        else:
            problem = nothing_to_serve(options.model_name, base_path, Latest())
        if problem is not None:
            raise problem
    return deployed


def _check_alternatives(options: Options, path: str, *, has_text: bool, source: str) -> None:
    """Raise ServingError when nothing was named, or two things of which one would be ignored."""
    file, base_path = options.model_config_file, options.model_base_path
    if not (path or has_text or file or base_path):
        raise invalid_argument(
            "What is to be served? A path of a model's numbered versions, a config text, model_config_file or "
            "model_base_path"
        )
    if has_text and file:
        raise invalid_argument(f"The {source} and --model_config_file={file} are two configurations: give one of them")
    if path and base_path and not options.mount:
        raise invalid_argument(
            f"{path} and --model_base_path={base_path} are two models: give one, or a config for both"
        )
    if options.model_root and not options.mount:
        raise invalid_argument(f"--model_root={options.model_root} needs the path it stands for, like --mount=/models")


def _at_path(options: Options, path: str, *, has_text: bool) -> Options:
    """`options` with the path that was given: a model's base path, or the directory that a mount stands for."""
    check_spelling(path)
    if "://" not in path:
        path = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - resolving links would show other names
    if options.mount:
        return replace(options, model_root=path)
    if options.model_config_file or has_text:
        raise invalid_argument(
            f"{path}: a config says where its models are. With --mount=/models, base paths below /models are looked up "
            "in that directory"
        )
    return replace(options, model_base_path=path)
