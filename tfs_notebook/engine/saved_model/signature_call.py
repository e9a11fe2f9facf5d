"""One signature of a SavedModel, ready to be called: its tensors, what was compiled for it, and how long it takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.models.latency import Latency
from tfs_notebook.engine.saved_model.session import CALLING_THREAD
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np

    from tfs_notebook.engine.models.signature import Signature
    from tfs_notebook.engine.saved_model.compilation import Compilation
    from tfs_notebook.engine.saved_model.session import Runner


class SignatureCall:
    """A signature, its tensors, and what is known of its calls."""

    def __init__(
        self,
        runner: Runner,
        compilation: Compilation,
        signature: Signature,
        feeds: Mapping[str, Any],
        fetches: Mapping[str, Any],
        *,
        bounded: bool,
        is_small: bool,
    ) -> None:
        self.signature = signature
        self.fetches = fetches
        self.takes_strings = any(spec.dtype == "string" for spec in signature.inputs.values())
        self.latency = Latency(bounded=bounded)
        self._runner = runner
        self._compilation = compilation
        self._feeds = feeds
        self._all_fetches = list(fetches.values())
        self._dtypes = [(alias, spec.numpy_dtype) for alias, spec in signature.inputs.items()]
        self._quick: Callable[[list[np.ndarray]], list[np.ndarray]] | None = None
        self.has_quick = bounded and is_small and not self.takes_strings and len(fetches) == len(signature.outputs)

    def run(
        self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None, pool: int, timeout: float | None
    ) -> list[Any]:
        """The values of `outputs`, by default of all, in their order."""
        if pool == CALLING_THREAD and outputs is None and self._quick is not None:
            arrays = [array for alias, dtype in self._dtypes if (array := inputs[alias]).dtype == dtype]
            if len(arrays) == len(self._dtypes):  # of a wrong dtype only the session says what the C++ server says
                return self._quick(arrays)
        feeds = {self._feeds[alias]: array for alias, array in inputs.items()}
        if len(feeds) < len(inputs):
            raise invalid_argument(_fed_twice(self.signature, inputs))
        if len(self.fetches) < len(self.signature.outputs):
            self._check_fetches(self.signature.outputs if outputs is None else outputs)
        fetches = self._all_fetches if outputs is None else [self.fetches[alias] for alias in outputs]
        key = self.signature.name, frozenset(inputs), None if outputs is None else frozenset(outputs)
        timeout = self._compilation.once(key, partial(self._compile, feeds, fetches), timeout)
        return self._runner.run(feeds, fetches, pool=pool, timeout=timeout)

    def _check_fetches(self, outputs: Iterable[str]) -> None:
        for alias in outputs:
            if alias not in self.fetches:
                name = self.signature.outputs[alias].name or ":0"
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph",
                    where=alias,
                    hint=f"{alias} is a ragged or sparse tensor, which cannot be sent. Export it as tensors: "
                    "ragged.to_tensor() or its flat_values and row_splits, tf.sparse.to_dense(sparse).",
                )

    def use_twin(self, runner: Runner) -> None:
        """Run short calls by `runner` from now on."""
        if self.has_quick and (quick := self._make_quick(runner)) is not None:
            self._quick = quick

    def _make_quick(self, runner: Runner) -> Callable[[list[np.ndarray]], list[np.ndarray]] | None:
        inputs, outputs = self.signature.inputs.values(), self.signature.outputs.values()
        return runner.callable_on_this_thread([i.name for i in inputs], [o.name for o in outputs])

    def _compile(self, feeds: Mapping[Any, np.ndarray], fetches: list[Any]) -> bool:
        if self.has_quick and self._quick is None:
            self._quick = self._make_quick(self._runner)
        return self._runner.compile(feeds, fetches)


def _fed_twice(signature: Signature, inputs: Mapping[str, np.ndarray]) -> str:
    names = [signature.inputs[alias].name for alias in inputs]
    return f'Endpoint "{next(name for name in names if names.count(name) > 1)}" fed more than once.'
