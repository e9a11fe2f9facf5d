"""tf.train.Examples as the tensor that classify and regress signatures take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorflow_serving.apis.input_pb2 import Input

_MAX_COPIED_BYTES = 256 << 20


def example_tensor(examples: Sequence[bytes], context: bytes = b"") -> np.ndarray:
    """Serialized Examples as an object array of shape [examples], each behind the serialized `context`.

    Two messages in a row are one to a parser, in which the later value of a feature counts: the example's own. Raises
    ServingError RESOURCE_EXHAUSTED when a small request would become a very large one by that.
    """
    copied = len(context) * len(examples)
    if copied > _MAX_COPIED_BYTES:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"A context of {len(context)} bytes in each of {len(examples)} examples takes {copied >> 20} MiB; "
            f"{_MAX_COPIED_BYTES >> 20} MiB is the limit: send fewer examples at a time",
        )
    tensor = np.empty(len(examples), dtype=object)
    tensor[:] = [context + example for example in examples] if context else examples
    return tensor


def read_input(message: Input) -> np.ndarray:
    """The examples of a gRPC request; none when its Input is not set."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return example_tensor([])
    given = getattr(message, kind)
    context = given.context.SerializeToString() if kind == "example_list_with_context" else b""
    return example_tensor([example.SerializeToString() for example in given.examples], context)
