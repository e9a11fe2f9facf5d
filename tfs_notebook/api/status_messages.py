"""Status and metadata as TensorFlow Serving's messages, and as the JSON that its REST API makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

    from tfs_notebook.engine.lifecycle.version import VersionStatus


def status_message(versions: Iterable[VersionStatus]) -> GetModelStatusResponse:
    """The GetModelStatusResponse of `versions`, in their order."""
    response = GetModelStatusResponse()
    for version in versions:
        entry = response.model_version_status.add(version=version.number, state=int(version.state))
        entry.status.error_code = int(version.error_code)
        if version.error_code and version.error is not None:
            entry.status.error_message = version.error.message
        else:
            entry.status.SetInParent()
    return response


def signature_def_map(signature_def: Mapping[str, Any]) -> SignatureDefMap:
    """The SignatureDefMap that GetModelMetadata packs."""
    message = SignatureDefMap()
    for name, definition in signature_def.items():
        message.signature_def[name].CopyFrom(definition)
    return message


def model_spec(name: str, version: int, signature_name: str = "") -> ModelSpec:
    """The effective model spec of a reply: always with the concrete version."""
    spec = ModelSpec(name=name, signature_name=signature_name)
    spec.version.value = version
    return spec


def status_json(versions: Iterable[VersionStatus]) -> bytes:
    """GET /v1/models/NAME: one-space indent, proto field names, defaults printed, a final newline."""
    return f"{_to_json(status_message(versions))}\n".encode()


def metadata_json(name: str, version: int, signature_def: Mapping[str, Any]) -> bytes:
    """GET /v1/models/NAME/metadata: the model spec and the signatures, without the Any between them."""
    spec = _to_json(model_spec(name, version))
    signatures = _to_json(signature_def_map(signature_def))
    return f'{{\n"model_spec":{spec}\n,\n"metadata": {{"signature_def": {signatures}}}\n}}\n'.encode()


def _to_json(message: Message) -> str:
    return json_format.MessageToJson(
        message, indent=1, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
