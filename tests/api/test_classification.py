"""Classify, regress and MultiInference over REST and gRPC, with real SavedModels, as TensorFlow Serving answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import text_format
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

import tfs_notebook
from tests.support import example_models
from tests.support.serving import ALL, PATIENCE, ask, config_text, label, until
from tfs_notebook.api.calls.call import Call
from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.calls.observers import Observers
from tfs_notebook.api.classification import CLASSIFY, REGRESS, classify, regress
from tfs_notebook.api.examples import example_tensor
from tfs_notebook.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tfs_notebook.engine.models.servable import Loaded
    from tfs_notebook.server.server import Server

Stub = prediction_service_pb2_grpc.PredictionServiceStub
NO_LABEL = [["", 0.0], ["other", 1.0]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves `heads` with the equal versions 1 (stable) and 2, `unfit` and `tf2`."""
    root = tmp_path_factory.mktemp("models")
    for version in ("1", "2"):
        example_models.heads(root / "heads" / version)
    example_models.unfit(root / "unfit" / "1")
    example_models.tf2(root / "tf2" / "1")
    paths = {name: root / name for name in ("heads", "unfit", "tf2")}
    text = config_text(paths, {"heads": ALL + label("stable", 1)})
    with tfs_notebook.serve(config=text, rest_api_port=0, port=0) as server:
        assert server.problems == []
        yield server


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield Stub(channel)


# REST


def post(server: Server, path: str, *examples: Any, **members: Any) -> Any:
    return ask(server, "POST", f"/v1/models/{path}", {"examples": examples, **members})


@pytest.mark.parametrize("path", ["heads", "heads/versions/1", "heads/labels/stable"])
def test_classify_gives_labels_and_scores(server: Server, path: str) -> None:
    reply = post(server, f"{path}:classify", {"x": 0.25, "word": "cat"}, {})
    assert (reply.status, reply.json) == (200, {"results": [[["cat", 0.25], ["other", 0.75]], NO_LABEL]})
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("signature", "results"),
    [
        ("", [[["cat", 0.1], ["other", 0.9]], NO_LABEL]),
        ("classify", [[["cat", 0.1], ["other", 0.9]], NO_LABEL]),
        ("classes_only", [[["cat", 0.0], ["other", 0.0]], [["", 0.0], ["other", 0.0]]]),
        ("scores_only", [[["", 0.1], ["", 0.9]], [["", 0.0], ["", 1.0]]]),
    ],
)
def test_what_a_signature_does_not_tell_is_empty_or_zero(server: Server, signature: str, results: Any) -> None:
    reply = post(server, "heads:classify", {"x": 0.1, "word": "cat"}, {}, signature_name=signature)
    assert (reply.status, reply.json) == (200, {"results": results})


@pytest.mark.parametrize(
    ("path", "signature", "examples", "results"),
    [
        ("heads", "regress", [{"x": 0.1}, {"x": [4.0]}, {}], [2.05, 4.0, 2.0]),
        ("heads", "count", [{"words": ["a", {"b64": "Yg=="}]}, {"words": []}, {"words": "c"}], [2.0, 0.0, 1.0]),
        ("heads", "double_n", [{"n": 3}, {"n": True}], [6.0, 2.0]),
        ("heads", "other_input", [{"x": 3.0}], [9.0]),
        ("tf2", "regress", [{"x": 3.0}, {"unknown": "feature"}], [4.0, 1.0]),  # whose method_name is predict
    ],
)
def test_regress_gives_numbers(server: Server, path: str, signature: str, examples: Any, results: Any) -> None:
    reply = post(server, f"{path}:regress", *examples, signature_name=signature)
    assert (reply.status, reply.json) == (200, {"results": results})


def test_the_context_completes_every_example(server: Server) -> None:
    context = {"x": 0.5, "word": "context", "words": ["a", "b"]}
    reply = post(server, "heads:classify", {"word": "own"}, {"x": 1.0}, context=context)
    assert reply.json == {"results": [[["own", 0.5], ["other", 0.5]], [["context", 1.0], ["other", 0.0]]]}
    reply = post(server, "heads:regress", {}, {"words": ["c"]}, context=context, signature_name="count")
    assert reply.json == {"results": [2.0, 1.0]}


def test_replies_that_are_not_strict_json_or_utf8(server: Server) -> None:
    def reply(signature: str) -> bytes:
        return bytes(post(server, "unfit:classify", {"x": -1.0}, {}, signature_name=signature).body)

    assert reply("not_finite") == b'{"results":[[["",-Infinity]],[["",NaN]]]}'
    assert reply("not_utf8") == b'{"results":[[["\xff",0.0]],[["\xff",0.0]]]}'
    assert reply("no_classes") == b'{"results":[[],[]]}'


def test_a_large_body(server: Server) -> None:
    examples = [{"x": float(i), "word": "w" * 50} for i in range(2000)]
    reply = post(server, "heads:regress", *examples, signature_name="regress")
    assert reply.json == {"results": [i / 2 + 2 for i in range(2000)]}


def test_the_body_comes_before_the_model(server: Server) -> None:
    reply = ask(server, "POST", "/v1/models/nobody:classify", {"examples": [1]})
    assert (reply.status, reply.error) == (400, "Example must be JSON object but got JSON Number")
    reply = post(server, "nobody:regress", {})
    assert (reply.status, reply.error) == (404, "Servable not found for request: Latest(nobody)")
    reply = post(server, "heads/labels/none:classify", {})
    assert (reply.status, reply.error) == (400, "Unrecognized servable version label: none")
    reply = post(server, "heads/versions/9:classify", {}, signature_name="none")
    assert (reply.status, reply.error) == (404, "Servable not found for request: Specific(heads, 9)")


def test_a_feature_of_another_kind_than_the_model_parses(server: Server) -> None:
    reply = post(server, "heads:regress", {"x": 20}, signature_name="regress")
    assert reply.status == 400
    assert "Key: x" in reply.error
    assert "Data types don't match. Data type: int64 but expected type: float" in reply.error


def test_rest_calls_end_with_the_timeout(tmp_path: Path) -> None:
    example_models.tf2(tmp_path / "1")
    with tfs_notebook.serve(str(tmp_path), rest_api_port=0, port=0, rest_api_timeout_in_ms=200) as server:
        started = time.monotonic()
        reply = post(server, "model:regress", {"x": 60.0}, signature_name="slow")
        assert (reply.status, reply.error) == (504, "Timed out waiting for notification")
        assert time.monotonic() - started < 30


# What a signature must be, and give

EXPECTED_ONE_OF = (
    'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: '
)
CLASSIFY_ERRORS = [
    ("none", "No signature was found with the name: none"),
    ("two_inputs", "Expected one input Tensor."),
    ("three_outputs", "Expected one or two output Tensors, found 3"),
    ("other_input_key", "No classification inputs found in SignatureDef: …"),
    ("other_output_key", EXPECTED_ONE_OF + "…"),
    ("wide", EXPECTED_ONE_OF + "…"),
    ("float_input", "Expects arg[0] to be float but string is provided"),
    ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ("flat_classes", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ("whole_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_INT64"),
    ("numbers_as_classes", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
    ("rows_of_scores", "Expected scores output batch size of 2. Got: 4"),
    ("rows_of_classes", "Expected classes output batch size of 2. Got: 4"),
    ("widths", "Tensors class and score should match in dim_size(1). Got 1 vs. 2"),
]
REGRESS_ERRORS = [
    ("none", "No signature was found with the name: none"),
    ("two_inputs", "Expected one input Tensor."),
    ("three_outputs", "Expected one output Tensor."),
    ("other_input_key_regress", "No regression inputs found in SignatureDef: …"),
    ("flat_scores", "No regression outputs found in SignatureDef: …"),
    ("float_input_regress", "Expects arg[0] to be float but string is provided"),
    ("wide", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
    ("scalar", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []"),
    ("sum", "Input batch size did not match output batch size: 2 vs. 1"),
    ("doubles", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
]
ERRORS = [("classify", *case) for case in CLASSIFY_ERRORS] + [("regress", *case) for case in REGRESS_ERRORS]


def complete(server: Server, signature: str, message: str) -> str:
    """The expected message, … being the signature as the model holds it."""
    with server.open(ModelSpec("unfit")) as call:
        return (
            message.replace("…", text_format.MessageToString(call.signature_def[signature]))
            if "…" in message
            else message
        )


@pytest.mark.parametrize(("method", "signature", "message"), ERRORS)
def test_signatures_that_do_not_fit_over_rest(server: Server, method: str, signature: str, message: str) -> None:
    reply = post(server, f"unfit:{method}", {"x": 1.0}, {"x": 2.0}, signature_name=signature)
    assert (reply.status, reply.error) == (400, complete(server, signature, message))


def test_a_signature_that_names_an_operation(server: Server) -> None:
    reply = post(server, "tf2:regress", {}, signature_name="__saved_model_init_op")
    assert (reply.status, reply.error) == (400, "Expected one input Tensor.")


def test_method_names_count_when_they_are_asked_for(server: Server) -> None:
    class Checked(Call):
        checks_method_names = True

    def message(version: Loaded, answer: Callable[..., Any], signature: str) -> str:
        assert version.try_pin()
        with (
            Checked(version, ModelSpec("m"), None, (), 0.0, Observers()) as call,
            pytest.raises(ServingError) as caught,
        ):
            answer(call, signature, example_tensor([]), timeout=None)
        return caught.value.message

    serving = server._core.manager.registry.serving
    heads, tf2 = serving["heads"][1], serving["tf2"][1]
    classify_only, regress_only = (f"signature method_name to be {name}. Was:" for name in (CLASSIFY, REGRESS))
    assert message(heads, classify, "regress") == f"Expected classification {classify_only} {REGRESS}"
    assert message(heads, regress, "classify") == f"Expected regression {regress_only} {CLASSIFY}"
    assert message(tf2, regress, "regress") == f"Expected regression {regress_only} tensorflow/serving/predict"
    assert message(heads, regress, "regress") == "Input is empty."


def test_one_more_output_than_classify_needs_is_not_run(server: Server) -> None:
    assert post(server, "unfit:classify", {"x": 1.0}, signature_name="with_more").json == {"results": [[["", 1.0]]]}


# gRPC


def example(**features: Any) -> Example:
    message = Example()
    for name, value in features.items():
        kind = {float: "float_list", int: "int64_list", bytes: "bytes_list"}[type(value)]
        getattr(message.features.feature[name], kind).value.append(value)
    return message


def spec(signature: str = "", name: str = "heads", **choice: Any) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=name, signature_name=signature, **choice)


def listed(*examples: Example) -> input_pb2.Input:
    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=examples))


def classification(asked: Any, given: Any) -> classification_pb2.ClassificationRequest:
    return classification_pb2.ClassificationRequest(model_spec=asked, input=given)


def regression(asked: Any, given: Any) -> regression_pb2.RegressionRequest:
    return regression_pb2.RegressionRequest(model_spec=asked, input=given)


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("choice", "version"), [({}, 2), ({"version": {"value": 1}}, 1), ({"version_label": "stable"}, 1)]
)
def test_grpc_classify(stub: Stub, choice: dict[str, Any], version: int) -> None:
    request = classification(spec(**choice), listed(example(x=0.25, word=b"cat"), example()))
    expected = f"""
        result {{
          classifications {{ classes {{ label: "cat" score: 0.25 }} classes {{ label: "other" score: 0.75 }} }}
          classifications {{ classes {{ }} classes {{ label: "other" score: 1 }} }}
        }}
        model_spec {{ name: "heads" version {{ value: {version} }} signature_name: "serving_default" }}
    """
    response = stub.Classify(request, timeout=PATIENCE)
    assert response == text_format.Parse(expected, classification_pb2.ClassificationResponse())


def test_grpc_regress(stub: Stub) -> None:
    request = regression(spec("regress"), listed(example(x=1.0), example(x=5.0)))
    expected = """
        result { regressions { value: 2.5 } regressions { value: 4.5 } }
        model_spec { name: "heads" version { value: 2 } signature_name: "regress" }
    """
    response = stub.Regress(request, timeout=PATIENCE)
    assert response == text_format.Parse(expected, regression_pb2.RegressionResponse())


def test_grpc_context(stub: Stub) -> None:
    given = input_pb2.Input()
    given.example_list_with_context.examples.extend([example(x=2.0), example(word=b"own")])
    assert values(stub.Regress(regression(spec("regress"), given))) == [3.0, 2.0]
    given.example_list_with_context.context.CopyFrom(example(x=4.0, word=b"context"))
    assert values(stub.Regress(regression(spec("regress"), given))) == [3.0, 4.0]
    response = stub.Classify(classification(spec("classes_only"), given))
    assert [row.classes[0].label for row in response.result.classifications] == ["context", "own"]


def values(response: Any) -> list[float]:
    return [regression.value for regression in response.result.regressions]


def test_labels_that_are_not_utf8_are_told_as_far_as_a_message_can(stub: Stub) -> None:
    response = stub.Classify(classification(spec("not_utf8", "unfit"), listed(example())))
    assert response.result.classifications[0].classes[0].label == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(("method", "signature", "message"), ERRORS)
def test_signatures_that_do_not_fit_over_grpc(
    server: Server, stub: Stub, method: str, signature: str, message: str
) -> None:
    given, asked = listed(example(x=1.0), example(x=2.0)), spec(signature, "unfit")
    code, text = refusal(
        lambda: (
            stub.Classify(classification(asked, given))
            if method == "classify"
            else stub.Regress(regression(asked, given))
        )
    )
    expected = complete(server, signature, message)
    assert (code, text.strip()) == (grpc.StatusCode.INVALID_ARGUMENT, expected.strip())


@pytest.mark.parametrize(
    ("asked", "given", "code", "text"),
    [
        (None, None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (spec(name=""), None, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (spec(name="nobody"), None, "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        # the signature is looked at before the input
        (spec("none"), None, "INVALID_ARGUMENT", "No signature was found with the name: none"),
        (spec("two_inputs", "unfit"), None, "INVALID_ARGUMENT", "Expected one input Tensor."),
        (spec(), None, "INVALID_ARGUMENT", "Input is empty."),
        (spec(), listed(), "INVALID_ARGUMENT", "Input is empty."),
        (spec(), input_pb2.Input(example_list_with_context={"context": example(x=1.0)}), "INVALID_ARGUMENT",
         "Input is empty."),
    ],
)  # fmt: skip
def test_what_grpc_classify_refuses(stub: Stub, asked: Any, given: Any, code: str, text: str) -> None:
    assert refusal(lambda: stub.Classify(classification(asked, given))) == (grpc.StatusCode[code], text)


def test_what_grpc_regress_refuses(stub: Stub) -> None:
    refused = grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(lambda: stub.Regress(regression(None, None))) == (refused, "Missing ModelSpec")
    assert refusal(lambda: stub.Regress(regression(spec("regress"), listed()))) == (refused, "Input is empty.")


def test_grpc_calls_end_with_their_deadline(server: Server, stub: Stub) -> None:
    request = regression(spec("slow", "tf2"), listed(example(x=30.0)))
    code, _ = refusal(lambda: stub.Regress(request, timeout=0.3))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    loaded = server._core.manager.registry.serving["tf2"][1]
    until(lambda: loaded._pins == 0, "the run goes on", timeout=PATIENCE)


# MultiInference


def inference(given: Any, *tasks: tuple[Any, str]) -> inference_pb2.MultiInferenceRequest:
    return inference_pb2.MultiInferenceRequest(
        tasks=[{"model_spec": asked, "method_name": method} for asked, method in tasks], input=given
    )


def test_several_signatures_at_once_in_the_order_of_the_tasks(stub: Stub) -> None:
    tasks = [(spec("regress", version={"value": 1}), REGRESS), (spec(), CLASSIFY), (spec("count"), REGRESS)]
    response = stub.MultiInference(inference(listed(example(x=1.0, word=b"cat", words=b"w")), *tasks), timeout=PATIENCE)
    expected = """
        results {
          model_spec { name: "heads" version { value: 1 } signature_name: "regress" }
          regression_result { regressions { value: 2.5 } }
        }
        results {
          model_spec { name: "heads" version { value: 1 } signature_name: "serving_default" }
          classification_result {
            classifications { classes { label: "cat" score: 1 } classes { label: "other" } }
          }
        }
        results {
          model_spec { name: "heads" version { value: 1 } signature_name: "count" }
          regression_result { regressions { value: 1 } }
        }
    """
    assert response == text_format.Parse(expected, inference_pb2.MultiInferenceResponse())


def test_they_are_one_run_of_the_model(stub: Stub) -> None:
    """What `calls` counts in the graph goes up by one, however many signatures want it."""

    def runs(*tasks: tuple[Any, str]) -> float:
        response = stub.MultiInference(inference(listed(example()), (spec("calls"), REGRESS), *tasks))
        return response.results[0].regression_result.regressions[0].value

    before = runs()
    assert runs((spec("regress"), REGRESS), (spec(), CLASSIFY), (spec("scores_only"), CLASSIFY)) == before + 1


def test_signatures_with_inputs_of_their_own_are_given_the_same_examples(stub: Stub) -> None:
    given = listed(example(x=1.0), example(x=2.0))
    response = stub.MultiInference(inference(given, (spec("other_input"), REGRESS), (spec("regress"), REGRESS)))
    assert [values_of(result) for result in response.results] == [[3.0, 6.0], [2.5, 3.0]]


def values_of(result: inference_pb2.InferenceResult) -> list[float]:
    return [regression.value for regression in result.regression_result.regressions]


def test_one_task_is_enough(stub: Stub) -> None:
    response = stub.MultiInference(inference(listed(example(x=1.0)), (spec("regress"), REGRESS)))
    assert [values_of(result) for result in response.results] == [[2.5]]


def test_the_calls_of_every_signature_are_counted(server: Server, stub: Stub) -> None:
    def counts(signature: str) -> tuple[int, int]:
        (version,) = [v for m in server.status().models if m.name == "heads" for v in m.versions if v.number == 2]
        return version.calls[signature].count, version.calls[signature].errors

    names = ("count", "regress")
    before = [counts(name) for name in names]
    tasks = [(spec(name), REGRESS) for name in names]
    stub.MultiInference(inference(listed(example()), *tasks))
    stub.Regress(regression(spec("count"), listed(example())))
    refusal(lambda: stub.MultiInference(inference(listed(example(words=1)), *tasks)))
    after = [counts(name) for name in names]
    assert [
        (new - old, errors - old_errors) for (new, errors), (old, old_errors) in zip(after, before, strict=True)
    ] == [
        (3, 1),
        (2, 1),
    ]


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([(None, REGRESS)], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([(spec(name=""), REGRESS)], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([(spec(name="nobody"), REGRESS)], "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        ([(spec(version={"value": 9}), CLASSIFY)], "NOT_FOUND", "Servable not found for request: Specific(heads, 9)"),
        ([(spec(), CLASSIFY), (None, REGRESS)], "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        ([(spec(), CLASSIFY), (spec("wide", "unfit"), REGRESS)], "INVALID_ARGUMENT",
         "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ([(spec(), CLASSIFY), (spec("serving_default"), REGRESS)], "INVALID_ARGUMENT",
         "Duplicate evaluation of signature: serving_default"),
        ([(spec("none"), CLASSIFY)], "INVALID_ARGUMENT", "Requested signature not found in model graph: none"),
        ([(spec(), "tensorflow/serving/predict")], "UNIMPLEMENTED",
         "Unsupported signature method_name: tensorflow/serving/predict"),
        ([(spec(), "")], "UNIMPLEMENTED", "Unsupported signature method_name: "),
        ([(spec("regress"), REGRESS), (spec(), REGRESS)], "INVALID_ARGUMENT", "Expected one output Tensor."),
        ([(spec("two_inputs", "unfit"), CLASSIFY)], "INVALID_ARGUMENT", "Expected one input Tensor."),
        ([(spec("wide", "unfit"), REGRESS)], "INVALID_ARGUMENT", "Input is empty."),
    ],
)  # fmt: skip
def test_what_multi_inference_refuses(stub: Stub, tasks: Any, code: str, text: str) -> None:
    assert refusal(lambda: stub.MultiInference(inference(None, *tasks))) == (grpc.StatusCode[code], text)


@pytest.mark.parametrize(("method", "signature", "message"), ERRORS)
def test_results_that_do_not_fit(server: Server, stub: Stub, method: str, signature: str, message: str) -> None:
    if "No signature" in message:
        message = f"Requested signature not found in model graph: {signature}"
    task = (spec(signature, "unfit"), CLASSIFY if method == "classify" else REGRESS)
    code, text = refusal(lambda: stub.MultiInference(inference(listed(example(), example()), task)))
    expected = complete(server, signature, message)
    assert (code, text.strip()) == (grpc.StatusCode.INVALID_ARGUMENT, expected.strip())
