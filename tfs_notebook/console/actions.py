"""What the commands of the console do, each on the texts that a page sends. All of them may block."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.example_request import Example, example_of
from tfs_notebook.console.edits import move_label, set_policy
from tfs_notebook.engine.config import parse_config
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from tfs_notebook.server.server import Server

_TIMEOUT_SECONDS = 60.0
_LONGEST_REPLY = 1 << 20
"""Bytes of a reply that a page is shown."""
_MOST_VALUES = 100_000
"""Numbers of an example body; with more it would only be a burden to the page."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What REST answered after so many milliseconds: the body's beginning as text, of `size` bytes in all."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str
    size: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a signature; None is an unknown rank or dimension."""

    alias: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Description:
    """A signature, with a request body that it takes ("" where none can be written in JSON)."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    body: str


@dataclass(frozen=True, slots=True)
class Calls:
    """How a model is called: its path below the REST address, the token to send ("": none), and its signatures."""

    path: str
    token: str
    signatures: tuple[Description, ...]


def stop(server: Server) -> None:
    """Stop the server."""
    server.stop()


def sync_now(server: Server) -> None:
    """Look now at what comes from OSS."""
    server.sync_now()


def sync_pause(server: Server) -> None:
    """Bring nothing more from OSS."""
    server.sync_pause()


def sync_resume(server: Server) -> None:
    """Follow OSS again."""
    server.sync_resume()


def config(server: Server) -> str:
    """The configuration in force as text."""
    return server.config_text()


def apply_config(server: Server, text: str) -> None:
    """Replace the configuration."""
    wanted = parse_config(text, "configuration")
    if wanted.WhichOneof("config") is None:
        raise invalid_argument("The text lists no model: write model_config_list { config { name: … } }")
    server.edit(lambda _: wanted)


def undo(server: Server) -> None:
    """Go back to the configuration before."""
    server.undo()


def label(server: Server, model: str, label: str, version: str) -> None:
    """Let a label name another version."""
    number = _spec(model, version, "").version or 0
    server.edit(lambda config: move_label(config, model, label, number))


def policy(server: Server, model: str, policy: str) -> None:
    """Let other versions of a model be served."""
    server.edit(lambda config: set_policy(config, model, policy))


def describe(server: Server, model: str, version: str, label: str) -> Calls:
    """How the model is called."""
    spec = _spec(model, version, label)
    try:
        call = server.open(spec)
    except ServingError:
        named = f"version {version} of " if version else f"label {label} of " if label else ""
        raise ServingError(Code.NOT_FOUND, f"Nothing answers for {named}model {model} now") from None
    with call:
        signatures = {name: (each, example_of(each, call.composites(each))) for name, each in call.signatures.items()}
    described = (
        Description(
            name,
            tuple(Tensor(alias, spec.dtype, spec.shape) for alias, spec in signature.inputs.items()),
            tuple(Tensor(alias, spec.dtype, spec.shape) for alias, spec in signature.outputs.items()),
            _body(example),
        )
        for name, (signature, example) in signatures.items()
    )
    return Calls(_path(model, version, label), server.token, tuple(described))


def _body(example: Example) -> str:
    is_short = sum(tensor.size for tensor in example.tensors.values()) <= _MOST_VALUES
    return example.json if example.fits_rest and example.verb == "predict" and is_short else ""


def predict(server: Server, model: str, version: str, label: str, signature: str, body: str) -> Reply:
    """Ask by REST, as any client does."""
    _spec(model, version, label)
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid_argument(f"The body is no JSON: {error}") from None
    if not isinstance(asked, dict):
        raise invalid_argument('The body is {"instances": [...]} or {"inputs": ...}')
    if signature:
        asked.setdefault("signature_name", signature)
    if server.rest_url is None:
        raise ServingError(Code.FAILED_PRECONDITION, "REST is off", hint="--rest_api_port=8501 opens it.")
    headers = {"Content-Type": "application/json"} | ({"Authorization": server.token} if server.token else {})
    url = f"{server.rest_url}{_path(model, version, label)}:predict"
    return _ask(urllib.request.Request(url, orjson.dumps(asked), headers))  # noqa: S310 - its own address


def _ask(request: urllib.request.Request) -> Reply:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would not find localhost
    began = time.perf_counter()
    try:
        response: Any = opener.open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        body = response.read()
        seconds = time.perf_counter() - began
        shown = body[:_LONGEST_REPLY].decode("utf-8", "replace")
        return Reply(response.status, tuple(response.headers.items()), shown, len(body), round(seconds * 1000, 2))


def _spec(model: str, version: str, label: str) -> ModelSpec:
    if version and label:
        raise invalid_argument(f"Version {version} and label {label} name two versions: give one of them")
    if version and not (version.isascii() and version.isdigit()):
        raise invalid_argument(f"A version is a whole number, not {version!r}")
    return ModelSpec(model, int(version) if version else None, label or None)


def _path(model: str, version: str, label: str) -> str:
    which = f"/versions/{version}" if version else f"/labels/{quote(label, safe='')}" if label else ""
    return f"/v1/models/{quote(model, safe='')}{which}"
