"""What shapes the inputs of a `model.tflite` take, so that no request ends the process.

TFLite's kernels are prepared for any shape that an input is given, and check little of it: a window larger than its
picture or a dimension of 0 ends the process, or is answered with what lies beside the tensor. So an input takes the
sizes that it declares, and from 1 on any number of rows where it declares -1. Where all operations are known to work
with any size, 0 and other sizes that are -1 are taken, too. Where all compute value by value nothing can go wrong, and
any shape is taken: TensorFlow Serving gives the input the shape of what it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.input_checks.shapes import OPTION, bad_shape, shape_text

if TYPE_CHECKING:
    from tfs_notebook.engine.tflite.interpreter import Tensor

MAX_DIMENSIONS = 6
"""What TFLite's element-wise kernels broadcast."""
_ELEMENT_WISE = frozenset({
    "ABS", "ADD", "ADD_N", "ATAN2", "CAST", "CEIL", "COS", "DEQUANTIZE", "DIV", "ELU", "EQUAL", "EXP", "FLOOR",
    "FLOOR_DIV", "FLOOR_MOD", "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "LEAKY_RELU", "LESS", "LESS_EQUAL",
    "LOG", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "NEG", "NOT_EQUAL",
    "POW", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SQRT",
    "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TANH", "ZEROS_LIKE",
})  # fmt: skip


_OF_ANY_SIZE = _ELEMENT_WISE | frozenset({
    "ARG_MAX", "ARG_MIN", "BATCH_MATMUL", "BROADCAST_ARGS", "BROADCAST_TO", "CONCATENATION", "CUMSUM",
    "EXPAND_DIMS", "FILL", "FULLY_CONNECTED", "GATHER", "L2_NORMALIZATION", "LOG_SOFTMAX", "MEAN", "PACK", "PAD",
    "PADV2", "RANGE", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RESHAPE", "SELECT",
    "SELECT_V2", "SHAPE", "SLICE", "SOFTMAX", "SQUEEZE", "STRIDED_SLICE", "SUM", "TILE", "TRANSPOSE", "UNPACK",
})  # fmt: skip
"""Operations without windows: each was run with many sizes, 0 too, where a model declares -1."""


class TFLiteShapes:
    """The shapes that the inputs of a model take."""

    def __init__(self, content: bytes) -> None:
        """`content` is a valid flatbuffer."""
        operations = _operations(content)
        self._any_rank = operations <= _ELEMENT_WISE
        self._unsized = ", ".join(sorted(operations - _OF_ANY_SIZE)[:3])

    def check(self, alias: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        """Raise ServingError INVALID_ARGUMENT for a shape that may end the process."""
        declared = tensor.shape
        is_declared = _fits(declared, shape)
        if self._any_rank:
            if len(shape) > MAX_DIMENSIONS:
                raise bad_shape(alias, f"may have at most {MAX_DIMENSIONS} dimensions", shape)
            if 0 in shape and not is_declared:
                raise bad_shape(alias, f"must have values, as {shape_text(declared)} has", shape)
        elif len(shape) != len(declared):
            raise bad_shape(alias, f"must be {len(declared)}-dimensional, {shape_text(declared)}", shape, hint=_HINT)
        elif not is_declared:
            raise bad_shape(alias, f"must be {shape_text(declared)}", shape, hint=_HINT)
        elif self._unsized and 0 in shape:
            raise bad_shape(alias, f"must be {shape_text(declared)} without a size of 0", shape, hint=_HINT)
        elif self._unsized and None in declared[1:]:
            what = f"is declared as {shape_text(declared)}, in which {self._unsized} may end the process"
            raise bad_shape(alias, what, shape, hint=_HINT)


_HINT = f"TFLite checks little of what it is given, and may end the process; {OPTION} hands it on."


def _operations(content: bytes) -> set[str]:
    """The names of the operations of a model."""
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator, Model

    names = {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}
    model = Model.GetRootAs(content)
    codes: list[Any] = [model.OperatorCodes(position) for position in range(model.OperatorCodesLength())]
    # Numbers from 127 on stand in the newer field alone
    return {names.get(number := max(c.DeprecatedBuiltinCode(), c.BuiltinCode()), str(number)) for c in codes}


def _fits(declared: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(declared) == len(shape) and all(
        size in {None, given} for size, given in zip(declared, shape, strict=True)
    )
