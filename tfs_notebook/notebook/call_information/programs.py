"""Programs that call a model as they are: curl, urllib, requests, JavaScript, gRPC."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.notebook.call_information.literals import JAVASCRIPT, JSON, PYTHON, body_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.api.example_request import Example, ExampleTensor

TOKEN_VARIABLE = "TFS_NOTEBOOK_TOKEN"  # noqa: S105 - its name, not the token
"""The environment variable that programs read the token from unless it stands in them."""
_DTYPES = {"float": "float32", "double": "float64", "half": "float16"}
"""TensorFlow's Python name of a dtype where TensorFlow Serving prints another."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes: `url` of REST and `grpc_target` (None: that protocol is off), and what it carries.

    `token` is "" where the programs read it from the environment. `certificate` is the PEM text that gRPC's TLS is
    trusted by, "" for no TLS; `needs_client_certificate` tells that the client needs one of its own, too.
    """

    spec: ModelSpec
    signature_name: str
    url: str | None
    grpc_target: str | None
    needs_token: bool = False
    token: str = ""
    certificate: str = ""
    needs_client_certificate: bool = False


def programs(target: Target, example: Example) -> dict[str, str]:
    """The programs by what they use; each prints the answer. Those of a protocol that is off are left out."""
    written: dict[str, str] = {}
    if target.url is not None and example.fits_rest:
        written |= {
            "curl": curl(target, target.url, example),
            "urllib": urllib(target, target.url, example),
            "requests": requests(target, target.url, example),
            "JavaScript": javascript(target, target.url, example),
        }
    if target.grpc_target is not None:
        written["gRPC"] = grpc(target, target.grpc_target, example)
    return written


def curl(target: Target, url: str, example: Example) -> str:
    """For a shell; a long body is made by Python."""
    token = shlex.quote(f"Authorization: {target.token}") if target.token else f'"Authorization: ${TOKEN_VARIABLE}"'
    headers = ["-H 'Content-Type: application/json'", *[f"-H {token}"] * target.needs_token]
    if example.is_long:
        make = f"import json; print(json.dumps({body_text(example, PYTHON)}))"
        first, body = f"python3 -c {shlex.quote(make)} |\n", "@-"
    else:
        first, body = "", shlex.quote(body_text(example, JSON))
    return first + " \\\n  ".join([f"curl -sS {shlex.quote(url)}", *headers, f"-d {body}"])


def urllib(target: Target, url: str, example: Example) -> str:
    """For a Python without further packages."""
    imports = [
        "import json",
        *["import os"] * _from_environment(target),
        "import urllib.error",
        "import urllib.request",
    ]
    return "\n".join(
        [
            *imports,
            "",
            f"body = {body_text(example, PYTHON)}",
            f"headers = {{{', '.join(_python_headers(target, content_type=True))}}}",
            f"request = urllib.request.Request({json.dumps(url)}, json.dumps(body).encode(), headers)",
            "try:",
            "    with urllib.request.urlopen(request) as response:",
            "        print(json.load(response))",
            "except urllib.error.HTTPError as error:",
            "    print(error.code, error.read().decode())",
        ]
    )


def requests(target: Target, url: str, example: Example) -> str:
    """For a Python with requests."""
    headers = ", ".join(_python_headers(target, content_type=False))
    arguments = f"json=body, headers={{{headers}}}" if headers else "json=body"
    return "\n".join(
        [
            *["import os", ""] * _from_environment(target),
            "import requests",
            "",
            f"body = {body_text(example, PYTHON)}",
            f"response = requests.post({json.dumps(url)}, {arguments})",
            "print(response.json())",
        ]
    )


def javascript(target: Target, url: str, example: Example) -> str:
    """For node 18 or newer, and for pages where CORS is on."""
    token = json.dumps(target.token) if target.token else f"process.env.{TOKEN_VARIABLE}"
    headers = ['"Content-Type": "application/json"', *[f'"Authorization": {token}'] * target.needs_token]
    return "\n".join(
        [
            f"const body = {body_text(example, JAVASCRIPT)};",
            f"fetch({json.dumps(url)}, {{",
            '  method: "POST",',
            f"  headers: {{{', '.join(headers)}}},",
            "  body: JSON.stringify(body),",
            "})",
            "  .then((response) => response.json())",
            "  .then((answer) => console.log(JSON.stringify(answer)));",
        ]
    )


def grpc(target: Target, address: str, example: Example) -> str:
    """For a Python with grpcio and tensorflow-serving-api (which brings TensorFlow)."""
    ask = {"classify": _classification, "regress": _regression}.get(example.verb, _predict)
    kind, method, fill, show = ask(example)
    module = {"Predict": "predict", "Classify": "classification", "Regress": "regression"}[method]
    metadata = f', metadata=[("authorization", {_python_token(target)})]' if target.needs_token else ""
    return "\n".join(
        [
            *["import os", ""] * _from_environment(target),
            "import grpc",
            *["import tensorflow as tf"] * (method == "Predict"),
            f"from tensorflow_serving.apis import {module}_pb2, prediction_service_pb2_grpc",
            "",
            f"request = {module}_pb2.{kind}()",
            *_model_spec(target),
            *fill,
            *_channel(target, address),
            "stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)",
            f"answer = stub.{method}(request, timeout=60{metadata})",
            *show,
        ]
    )


def _predict(example: Example) -> tuple[str, str, list[str], list[str]]:
    fill = [
        f"request.inputs[{json.dumps(alias)}].CopyFrom({_proto(tensor)})" for alias, tensor in example.tensors.items()
    ]
    show = ["for name, tensor in answer.outputs.items():", "    print(name, tf.make_ndarray(tensor).tolist())"]
    return "PredictRequest", "Predict", fill, show


_EXAMPLE = [
    "example = request.input.example_list.examples.add()",
    'example.features.feature["x"].float_list.value.append(1.5)',
]


def _classification(_example: Example) -> tuple[str, str, list[str], list[str]]:
    return "ClassificationRequest", "Classify", _EXAMPLE, ["print(answer.result)"]


def _regression(_example: Example) -> tuple[str, str, list[str], list[str]]:
    return "RegressionRequest", "Regress", _EXAMPLE, ["print(answer.result)"]


def _model_spec(target: Target) -> Iterator[str]:
    spec = target.spec
    yield f"request.model_spec.name = {json.dumps(spec.name)}"
    yield f"request.model_spec.signature_name = {json.dumps(target.signature_name)}"
    if spec.version is not None:
        yield f"request.model_spec.version.value = {spec.version}"
    if spec.label is not None:
        yield f"request.model_spec.version_label = {json.dumps(spec.label)}"


def _proto(tensor: ExampleTensor) -> str:
    dtype = f"tf.{_DTYPES.get(tensor.dtype, tensor.dtype)}"
    if tensor.values is not None:
        return f"tf.make_tensor_proto({tensor.values}, {dtype})"
    return f"tf.make_tensor_proto({tensor.value!r}, {dtype}, {list(tensor.shape)})"


def _channel(target: Target, address: str) -> Iterator[str]:
    if not target.certificate:
        yield f"channel = grpc.insecure_channel({json.dumps(address)})"
        return
    yield f'certificate = b"""{target.certificate.strip()}\n"""'
    own = ""
    if target.needs_client_certificate:
        yield 'key, chain = open("client.key", "rb").read(), open("client.crt", "rb").read()  # the client\'s own'
        own = ", key, chain"
    yield f"credentials = grpc.ssl_channel_credentials(certificate{own})"
    yield f"channel = grpc.secure_channel({json.dumps(address)}, credentials)"


def _from_environment(target: Target) -> bool:
    return target.needs_token and not target.token


def _python_token(target: Target) -> str:
    return json.dumps(target.token) if target.token else f'os.environ["{TOKEN_VARIABLE}"]'


def _python_headers(target: Target, *, content_type: bool) -> Iterator[str]:
    if content_type:
        yield '"Content-Type": "application/json"'
    if target.needs_token:
        yield f'"Authorization": {_python_token(target)}'
