"""`--enable_signature_method_name_check`: signatures whose method_name is none of TensorFlow Serving's are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.api.calls.call import Call
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from tfs_notebook.engine.models.signature import Signature

_METHODS = tuple(f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress"))


class CheckedCall(Call):
    """A `Call` that knows only signatures with one of the three method names."""

    __slots__ = ()
    checks_method_names = True

    def signature(self, name: str) -> Signature | None:
        """The signature called `name`, or None. Raises ServingError INTERNAL for a method name that is none."""
        signature = super().signature(name)
        if signature is not None and signature.method_name not in _METHODS:
            raise ServingError(
                Code.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}. "
                f"Was: {signature.method_name}",
            )
        return signature
