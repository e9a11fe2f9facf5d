"""The one place where requests are resolved, with a servable that shows what it is asked."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tfs_notebook.api.calls.call import Asking
from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.calls.names import unknown_signature
from tfs_notebook.api.inference import Inference
from tfs_notebook.engine.lifecycle.registry import Registry
from tfs_notebook.engine.models.servable import Loaded
from tfs_notebook.engine.models.signature import Signature, TensorSpec
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ASKING = Asking("rest", "Predict"), ("",), 0.0
ONE = np.array([1.0], np.float32)


def spec(name: str) -> TensorSpec:
    return TensorSpec(f"{name}:0", "float", (None,), np.dtype(np.float32))


class Echo:
    """Answers with what it is asked."""

    def __init__(self, *, defaults: Mapping[str, np.ndarray] | None = None) -> None:
        signature = Signature(
            "serving_default",
            {"a": spec("a"), "b": spec("b")},
            {"y": spec("y"), "z": spec("z")},
            defaults=defaults or {},
        )
        self.signatures = {"serving_default": signature}
        self.signature_def: Mapping[str, object] = {}
        self.closed = False

    def expected_seconds(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> float | None:
        return float(len(inputs))

    def run(
        self, signature: Signature, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], timeout: float | None
    ) -> dict[str, Any]:
        if timeout == 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "over")
        return {"asked": dict(inputs), "outputs": outputs, "timeout": timeout}

    def close(self) -> None:
        self.closed = True


def serve(servable: Echo, version: int = 1) -> tuple[Inference, Registry, Loaded]:
    registry = Registry()
    loaded = Loaded("m", version, servable)
    registry.publish(loaded)
    core: Any = SimpleNamespace(manager=SimpleNamespace(registry=registry))
    return Inference(core), registry, loaded


def ask(inputs: Mapping[str, Any], *, defaults: Mapping[str, np.ndarray] | None = None, **options: Any) -> Any:
    inference, _, _ = serve(Echo(defaults=defaults))
    with inference.open(ModelSpec("m")) as call:
        signature = call.signature("")
        assert signature is not None
        return call.predict(signature, inputs, **options)


def test_inputs_outputs_and_timeout_reach_the_servable() -> None:
    answer = ask({"b": ONE, "a": ONE}, timeout=3.0)
    assert answer == {"asked": {"b": ONE, "a": ONE}, "outputs": None, "timeout": 3.0}
    assert ask({"b": ONE, "a": ONE}, output_filter=["z"])["outputs"] == ("z",)


def test_defaults_stand_in_for_inputs_that_are_left_out() -> None:
    default = np.array([7.0], np.float32)
    assert ask({"a": ONE}, defaults={"b": default})["asked"] == {"a": ONE, "b": default}
    assert ask({"a": ONE, "b": ONE}, defaults={"b": default})["asked"] == {"a": ONE, "b": ONE}


@pytest.mark.parametrize(
    ("inputs", "defaults", "message"),
    [
        (
            ("a",),
            (),
            (
                "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
                "Missing but required: {b}."
            ),
        ),
        (
            ("a", "b", "c"),
            (),
            (
                "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). Sent extra: {c}. "
                "Missing but required: {}."
            ),
        ),
        (
            ("a", "c"),
            (),
            (
                "Signature input alias: b(feed name: b:0) not found in request and no default value provided. "
                "Inputs expected to be in the request {a,b}, or default input alias set: {}"
            ),
        ),
        (
            ("b",),
            ("b",),
            (
                "Signature input alias: a(feed name: a:0) not found in request and no default value provided. "
                "Inputs expected to be in the request {a}, or default input alias set: {b}"
            ),
        ),
        (("a", "c"), ("b",), "Inputs contains invalid name. Used request inputs: {a}, request input: {a,c}"),
    ],
)
def test_inputs_that_do_not_fit(inputs: tuple[str, ...], defaults: tuple[str, ...], message: str) -> None:
    with pytest.raises(ServingError) as caught:
        ask(dict.fromkeys(inputs, ONE), defaults=dict.fromkeys(defaults, ONE))
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_errors_and_answers_are_counted() -> None:
    inference, _, loaded = serve(Echo())
    for timeout in (None, 0.0):
        with suppress(ServingError), inference.open(ModelSpec("m"), *ASKING) as call:
            call.predict(call.signatures["serving_default"], {"a": ONE, "b": ONE}, timeout=timeout)
    summary = loaded.stats["serving_default"].summary()
    assert summary.codes == {Code.OK: 1, Code.DEADLINE_EXCEEDED: 1}
    assert (summary.count, summary.errors) == (2, 1)


def test_a_call_holds_its_version_and_lets_it_go_whatever_happens() -> None:
    inference, _, loaded = serve(Echo(), version=5)
    idle: list[int] = []
    with inference.open(ModelSpec("m")) as call, suppress(ZeroDivisionError):
        assert (call.model, call.version) == ("m", 5)
        loaded.retire(lambda: idle.append(1))
        assert idle == []
        raise ZeroDivisionError
    assert idle == [1]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (ModelSpec(""), "INVALID_ARGUMENT: ModelSpec has no name specified."),
        (ModelSpec("n"), "NOT_FOUND: Servable not found for request: Latest(n)"),
        (ModelSpec("m", version=2), "NOT_FOUND: Servable not found for request: Specific(m, 2)"),
        (ModelSpec("m", label="x"), "INVALID_ARGUMENT: Unrecognized servable version label: x"),
        (ModelSpec("n", label="x"), "INVALID_ARGUMENT: Unrecognized servable version label: x"),
        (ModelSpec("m", label="gone"), "NOT_FOUND: Servable not found for request: Specific(m, 9)"),
    ],
)
def test_specs_that_name_nothing(model: ModelSpec, error: str) -> None:
    inference, registry, _ = serve(Echo())
    registry.set_labels({"m": {"gone": 9}})
    with pytest.raises(ServingError) as caught:
        inference.open(model)
    assert str(caught.value) == error


def test_an_unknown_signature() -> None:
    assert str(unknown_signature("s")) == 'FAILED_PRECONDITION: Serving signature key "s" not found.'
    assert unknown_signature("").message == 'Serving signature key "serving_default" not found.'
