"""`%tfs_call`: where a model is called, with which token, and by which programs; a record that stays as it was."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tfs_notebook.api.auth import is_loopback
from tfs_notebook.api.example_request import Example, example_of
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import ServingError, not_found
from tfs_notebook.notebook.call_information.programs import TOKEN_VARIABLE, Target, programs
from tfs_notebook.notebook.call_information.view import as_html, as_text
from tfs_notebook.notebook.predict.client import predict_path
from tfs_notebook.notebook.predict.explain import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tfs_notebook.api.calls.call import Call
    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.engine.models.signature import Signature
    from tfs_notebook.server.server import Server

_EAS = "http://<uid>.<region>.pai-eas.aliyuncs.com/api/predict/<service>"


@dataclass(frozen=True, slots=True)
class CallInformation:
    """How programs call one signature of a model.

    `url` is REST's address, `grpc_target` and `grpc_socket_target` are gRPC's (None: off), `eas_url` is what the REST
    address is on PAI-EAS. `body` is the example as REST's JSON, `programs` are by what they use; they hold the token
    only where that was asked for. `notes` are what a caller should know besides, `time` is when that was so (seconds
    since the epoch).
    """

    model: str
    version: int
    signature: str
    url: str | None
    grpc_target: str | None
    grpc_socket_target: str | None
    eas_url: str
    needs_token: bool
    shows_token: bool
    body: str
    programs: Mapping[str, str]
    notes: tuple[str, ...]
    time: float = field(default_factory=time.time)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What is told in one line each: its title, and the line."""
        grpc = " or ".join(filter(None, (self.grpc_target, self.grpc_socket_target)))
        return [
            ("REST", f"POST {self.url}" if self.url else "off: %tfs_serve … --rest_api_port=8501"),
            ("gRPC", grpc or "off: %tfs_serve … --port=8500"),
            ("token", self._token),
            ("takes", self.signature),
            ("on PAI-EAS", f"POST {self.eas_url}, with the service's token in the header Authorization"),
            *(("note", note) for note in self.notes),
        ]

    @property
    def _token(self) -> str:
        if not self.needs_token:
            return "none is needed"
        if self.shows_token:
            return "stands in the programs below: do not hand on a notebook that shows them"
        return (
            f"hidden; the programs read it from the environment variable {TOKEN_VARIABLE}. "
            f"%tfs_call {self.model} --show_token writes it into them; server.token (server = %tfs_status) is it"
        )

    def __repr__(self) -> str:
        return as_text(self.title, self.rows, self.programs)

    @property
    def title(self) -> str:
        """What is called, and when it was so."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.time))
        return f"Call {self.model}, version {self.version} at {clock}"

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        return {"text/html": as_html(self.title, self.rows, self.programs), "text/plain": repr(self)}


def call_information(
    server: Server, spec: ModelSpec, signature_name: str = "", *, show_token: bool = False
) -> CallInformation:
    """How programs call the version that `spec` names, by `signature_name` or the signature that is called by default.

    Raises ServingError NOT_FOUND, with the nearest name, for a model, version, label or signature that does not serve.
    """
    try:
        call = server.open(spec)
    except ServingError as error:
        raise ServingError(error.code, error.message, hint=_what_serves(server, spec)) from None
    with call:
        signature = _signature(call, signature_name)
        example = example_of(signature, call.composites(signature))
        version = call.version
    path = predict_path(spec).removesuffix("predict") + example.verb
    target = Target(
        spec,
        signature.name,
        f"{server.rest_url}{path}" if server.rest_url else None,
        server.grpc_target or server.grpc_socket_target,
        needs_token=bool(server.token),
        token=server.token if show_token else "",
        certificate=server.tls.certificate if server.tls else "",
        needs_client_certificate=bool(server.tls and server.tls.client_verify),
    )
    return CallInformation(
        model=spec.name,
        version=version,
        signature=str(signature),
        url=target.url,
        grpc_target=server.grpc_target,
        grpc_socket_target=server.grpc_socket_target,
        eas_url=f"{_EAS}{path}",
        needs_token=target.needs_token,
        shows_token=show_token,
        body=example.json,
        programs=programs(target, example),
        notes=tuple(_notes(server, target, example)),
    )


def _signature(call: Call, name: str) -> Signature:
    """The signature called `name`; without a name `serving_default`, or the only one there is."""
    known = {name: signature for name, signature in call.signatures.items() if not name.startswith("__")}
    if not name:
        name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in known or len(known) != 1 else next(iter(known))
    if name not in known:
        hint = f"{nearest(name, known)} --signature_name chooses one."
        raise not_found(f'Serving signature name: "{name}" not found in signature def', hint=hint)
    return known[name]


def _what_serves(server: Server, spec: ModelSpec) -> str:
    models = {model.name: model for model in server.status().models if model.config is not None}
    if spec.name not in models:
        return nearest(spec.name, models)
    model = models[spec.name]
    if spec.label is not None:
        if model.labels:
            return nearest(spec.label, model.labels)
        return f"{spec.name} has no labels: version_labels in its config gives them."
    serving = [str(version.number) for version in model.versions if version.state.name == "AVAILABLE"]
    return f"{spec.name} serves version {', '.join(serving)}." if serving else "%tfs_status tells what it waits for."


def _notes(server: Server, target: Target, example: Example) -> Iterator[str]:
    if example.json_lacks:
        yield f"REST's JSON has no {' or '.join(example.json_lacks)}: call it by gRPC"
    if not example.tensors:
        yield "REST cannot call a signature without inputs: call it by gRPC"
    if example.verb != "predict":
        yield f'{example.verb} takes tf.train.Examples: "x" stands for the features that the model parses'
    if any(tensor.dtype == "string" for tensor in example.tensors.values()):
        yield 'strings are text, bytes like pictures {"b64": …}; both are an example: put yours there'
    if target.needs_client_certificate:
        yield "gRPC demands a certificate of its clients: client.key and client.crt are to be yours"
    host = urlsplit(target.url or "").hostname or "localhost"
    if urllib.request.getproxies().keys() & {"http", "all"} and not urllib.request.proxy_bypass(host):
        yield f"a proxy is set in the environment, which cannot reach {host}: export no_proxy={host}"
    if not is_loopback(server.options.host):
        yield "from other machines: the same with this machine's name or address in the place of localhost"
