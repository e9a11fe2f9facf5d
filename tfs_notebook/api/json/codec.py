"""REST predict bodies to tensors, and tensors to REST replies.

A body is read by the first of three ways that takes it; all of them give the same tensors.

1. `fast`: nothing but numbers in lists; no Python object per number.
2. `loose`: what orjson reads as RapidJSON does.
3. `exact`: everything else, to the letter. All errors come from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.api.json.exact import ExactBody
from tfs_notebook.api.json.fast import read_numeric
from tfs_notebook.api.json.loose import read_loose
from tfs_notebook.api.json.writer import encode_error, encode_predict
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    import numpy as np

    from tfs_notebook.api.json.fast import NumericBody
    from tfs_notebook.api.json.loose import LooseBody
    from tfs_notebook.engine.models.signature import Signature

__all__ = ["PredictBody", "check_cost", "encode_error", "encode_predict", "parse_predict", "parse_quickly"]

_SMALL = 4 << 10
"""Bytes up to which anything is read in a fraction of a millisecond."""


class PredictBody:
    """A predict request whose JSON is sound; its values wait for the signature that says what they should be.

    `signature_name` is "" when absent; `row_format` says whether `instances` was used, once `tensors` has returned.
    """

    __slots__ = ("_body", "_reading", "row_format", "signature_name")

    def __init__(self, body: bytes, reading: NumericBody | LooseBody | ExactBody) -> None:
        self._body = body
        self._reading = reading
        self.signature_name = reading.signature_name
        self.row_format = reading.row_format

    def tensors(self, signature: Signature) -> dict[str, np.ndarray]:
        """Input alias to array of the input's dtype; strings are object arrays of bytes.

        Raises ServingError with TensorFlow Serving's text; `where` names the position (`instances[3][0][17]`).
        """
        if not signature.inputs:
            raise invalid_argument(f"Failed to get input map for signature: {self.signature_name or 'DEFAULT'}")
        tensors = self._reading.tensors(signature)
        if tensors is not None:
            return tensors
        del self._reading  # it can take many times the body's size
        exact = ExactBody(self._body)
        self.row_format = exact.row_format
        return exact.tensors(signature)


def parse_predict(body: bytes, max_bytes: int = 1 << 30) -> PredictBody:
    """Reads a predict body as far as it can be read without knowing the model.

    Raises INVALID_ARGUMENT when the body is no JSON object or its `signature_name` is no string, and RESOURCE_EXHAUSTED
    when its values would take about more than `max_bytes` of memory.
    """
    numbers = read_numeric(body)
    if numbers is not None:
        return PredictBody(body, numbers)
    check_cost(body, max_bytes)
    return PredictBody(body, read_loose(body) or ExactBody(body))


def parse_quickly(body: bytes) -> PredictBody | None:
    """The same when it takes next to no time, else None: for numbers, and for anything small."""
    if len(body) <= _SMALL:
        return parse_predict(body)
    numbers = read_numeric(body)
    return PredictBody(body, numbers) if numbers is not None else None


def check_cost(body: bytes, max_bytes: int) -> None:
    """Raise RESOURCE_EXHAUSTED when the values of a body would take about more than `max_bytes` of memory."""
    if len(body) > _SMALL and (cost := _cost(body)) > max_bytes:
        message = f"Reading this JSON would take about {cost >> 20} MiB of memory; {max_bytes >> 20} MiB is the limit"
        raise ServingError(Code.RESOURCE_EXHAUSTED, message)


def _cost(body: bytes) -> int:
    """About how many bytes of memory the values of a body take while they are read."""
    return 280 * body.count(b"{") + 105 * body.count(b"[") + 60 * body.count(b'"') + 25 * body.count(b",") + len(body)
