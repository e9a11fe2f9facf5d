"""A predict body by the letter: the `instances` and `inputs` rules of TensorFlow Serving's json_tensor.cc.

Every error of a body comes from here; the faster readers only take bodies for which these rules would find none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.api.json.reader import JsonObject, parse_json
from tfs_notebook.api.json.text import reprint, text
from tfs_notebook.api.json.values import Leaf, append_leaves, base64_text, build_tensor, dense_shape
from tfs_notebook.errors import ServingError, invalid_argument

if TYPE_CHECKING:
    import numpy as np

    from tfs_notebook.api.json.reader import JsonValue
    from tfs_notebook.engine.models.signature import Signature


class JsonBody:
    """A body that is a JSON object, and its `signature_name`, "" when absent.

    Raises INVALID_ARGUMENT for anything else, and for a `signature_name` that is no string.
    """

    def __init__(self, body: bytes) -> None:
        document = parse_json(body)
        if not isinstance(document, JsonObject):
            raise invalid_argument(f"JSON Value: {reprint(document)} Is not object")
        self._document = document
        self._members = document.first_members()
        self.signature_name = self._signature_name()

    def _signature_name(self) -> str:
        name = self._members.get(b"signature_name", b"")
        if isinstance(name, bytes):
            return text(name)
        raise self._refusal("not formatted correctly. 'signature_name' key must be a string value.", "signature_name")

    def _refusal(self, reason: str, where: str) -> ServingError:
        return invalid_argument(f"JSON Value: {reprint(self._document)} {reason}", where=where)


class ExactBody(JsonBody):
    """A predict request."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.row_format = b"instances" in self._members

    def tensors(self, signature: Signature) -> dict[str, np.ndarray]:
        """Input alias to array; the signature has at least one input."""
        if self.row_format:
            return self._instances(signature)
        if b"inputs" in self._members:
            return _read_inputs(self._members[b"inputs"], signature)
        raise invalid_argument("Missing 'inputs' or 'instances' key")

    def _instances(self, signature: Signature) -> dict[str, np.ndarray]:
        if b"inputs" in self._members:
            reason = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            raise self._refusal(reason, "inputs")
        instances = self._members[b"instances"]
        if not isinstance(instances, list):
            raise self._refusal("Expecting 'instances' to be an list/array", "instances")
        if not instances:
            raise self._refusal("No values in 'instances' array", "instances")
        if not isinstance(instances[0], JsonObject) and len(signature.inputs) > 1:
            raise invalid_argument(
                "instances is a plain list, but expecting list of objects as multiple"
                " input tensors required as per tensorinfo_map",
                where="instances[0]",
            )
        return _Rows(signature).read(instances)


def _read_inputs(value: JsonValue, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(value, JsonObject) or base64_text(value) is not None:
        if len(signature.inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple"
                " input tensors required as per tensorinfo_map",
                where="inputs",
            )
        return {alias: _read_column(value, alias, signature, "inputs") for alias in signature.inputs}
    members, tensors = value.first_members(), dict[str, "np.ndarray"]()
    for alias in signature.inputs:
        if alias.encode() not in members:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.", where="inputs")
        tensors[alias] = _read_column(members[alias.encode()], alias, signature, f"inputs.{alias}")
    return tensors


def _read_column(value: JsonValue, alias: str, signature: Signature, where: str) -> np.ndarray:
    spec, shape, leaves = signature.inputs[alias], dense_shape(value), list[Leaf]()
    try:
        append_leaves(value, spec.dtype, shape, leaves)
    except ServingError as error:
        raise ServingError(error.code, error.message, where=where + error.where) from None
    return build_tensor(leaves, shape, spec)


def _is_element_object(value: JsonValue) -> bool:
    return isinstance(value, JsonObject) and base64_text(value) is None


class _Rows:
    """The elements of `instances`, stacked input by input."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._leaves: dict[str, list[Leaf]] = {}
        self._sizes: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def read(self, instances: list[JsonValue]) -> dict[str, np.ndarray]:
        named = _is_element_object(instances[0])
        for index, element in enumerate(instances):
            if named:
                self._add_object(element, index)
            else:
                self._add_plain(element, index)
        return {
            alias: build_tensor(leaves, (len(instances), *self._shapes[alias]), self._signature.inputs[alias])
            for alias, leaves in self._leaves.items()
        }

    def _add_object(self, element: JsonValue, index: int) -> None:
        if not isinstance(element, JsonObject) or base64_text(element) is not None:
            raise invalid_argument(
                f"Expecting object but got list at item {index} of input list", where=f"instances[{index}]"
            )
        names = set[str]()
        for key, value in element.members:
            # TensorFlow Serving takes the key as a C string.
            name = text(key.partition(b"\0")[0])
            names.add(name)
            try:
                self._add(value, name)
            except ServingError as error:
                message = f"Failed to process element: {index} key: {name} of 'instances' list. Error: {error}"
                raise invalid_argument(message, where=f"instances[{index}].{name}{error.where}") from None
        if names != set(self._signature.inputs):
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object: {reprint(element)}"
                f" keys must be equal to: {','.join(sorted(self._signature.inputs))}",
                where=f"instances[{index}]",
            )

    def _add_plain(self, element: JsonValue, index: int) -> None:
        if _is_element_object(element):
            raise invalid_argument(
                f"Expecting value/list but got object at item {index} of input list", where=f"instances[{index}]"
            )
        try:
            self._add(element, next(iter(self._signature.inputs)))
        except ServingError as error:
            message = f"Failed to process element: {index} of 'instances' list. Error: {error}"
            raise invalid_argument(message, where=f"instances[{index}]{error.where}") from None

    def _add(self, value: JsonValue, alias: str) -> None:
        spec = self._signature.inputs.get(alias)
        if spec is None:
            raise invalid_argument(f"JSON object: does not have named input: {alias}")
        shape = dense_shape(value)
        size = append_leaves(value, spec.dtype, shape, self._leaves.setdefault(alias, []))
        if self._sizes.setdefault(alias, size) != size:
            raise invalid_argument(f"Expecting tensor size: {self._sizes[alias]} but got: {size}")
        expected = self._shapes.setdefault(alias, shape)
        if expected != shape:
            raise invalid_argument(f"Expecting shape {_print_shape(expected)} but got: {_print_shape(shape)}")


def _print_shape(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
