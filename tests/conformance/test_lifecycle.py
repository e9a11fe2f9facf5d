"""Section 4: the states of versions, as GetModelStatus tells them, and which of them answer."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

import tfs_notebook
from tests.conformance.calls import ANY, hold, let_load, predict_request, refusal
from tests.support import saved_models
from tests.support.serving import ALL, PATIENCE, ask, config_text, label, until
from tfs_notebook.api.calls.model_spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ATTEMPTS = "/tensorflow/cc/saved_model/load_attempt_count"
AVAILABLE, ENDED = ("AVAILABLE", "OK", ""), ("END", "OK", "")
LOADING, UNLOADING = ("LOADING", "OK", ""), ("UNLOADING", "OK", "")


class Client:
    """Asks a server over gRPC."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self.server = server
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def reload(self, text: str, *metric_names: str) -> list[int]:
        """Serve what the configuration `text` says; by how much the metrics grew meanwhile."""
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        request = model_management_pb2.ReloadConfigRequest(config=config, metric_names=metric_names)
        reply = self._models.HandleReloadConfigRequest(request, timeout=PATIENCE)
        return [metric.int64_value_increase for metric in reply.metric]

    def states(self, model: str = "m") -> dict[int, tuple[str, str, str]]:
        """State, error code and error message of the versions of a model, in the order of the reply."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": model})
        return {
            entry.version: (
                get_model_status_pb2.ModelVersionStatus.State.Name(entry.state),
                grpc_code(entry.status.error_code),
                entry.status.error_message,
            )
            for entry in self._models.GetModelStatus(request).model_version_status
        }

    def becomes(self, *expected: tuple[int, tuple[str, str, str]], model: str = "m") -> None:
        """Wait until these are the states of a model's versions."""
        until(lambda: list(self.states(model).items()) == list(expected), f"{self.states(model)} is not {expected}")

    def asked(self, model: str = "m", **spec: Any) -> tuple[int, float]:
        """Which version answers, and what."""
        reply = self._predictions.Predict(predict_request(model, {"x": [0.0]}, **spec))
        return reply.model_spec.version.value, reply.outputs["y"].float_val[0]

    def refused(self, model: str = "m", **spec: Any) -> tuple[str, str]:
        return refusal(lambda: self.asked(model, **spec))


def grpc_code(number: int) -> str:
    return next(code.name for code in grpc.StatusCode if code.value[0] == number)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 to 3, of which n gives n for whatever it is asked."""
    root = tmp_path_factory.mktemp("stock")
    for version in (1, 2, 3):
        saved_models.half_plus_two(root / str(version), scale=0, offset=version)
    return root


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "m"
    path.mkdir()
    return path


def put(stock: Path, base: Path, *versions: int, broken: bool = False, held: bool = False) -> None:
    """Put versions into a base path in one step: good ones, or ones that cannot be loaded, or whose load waits until
    somebody `let_load`s it.
    """
    for version in versions:
        copying = base / f".{version}"
        shutil.copytree(stock / str(version), copying)
        if broken:
            saved_models.truncated_pb(copying)
        if held:
            hold(copying)
        copying.rename(base / str(version))


@contextmanager
def serving(text: str, **options: Any) -> Iterator[Client]:
    given: dict[str, Any] = {"max_num_load_retries": 0, **ANY, **options}
    with tfs_notebook.serve(config=text, **given) as server, grpc.insecure_channel(server.grpc_target) as channel:
        yield Client(server, channel)


def model(base: Path, fields: str = "") -> str:
    return config_text({"m": base}, {"m": fields})


NOTHING = "model_config_list {}"


# 4.2 Transitions: availability is preserved


def test_a_new_version_loads_beside_the_old_one_which_then_goes(stock: Path, base: Path) -> None:
    put(stock, base, 1)
    with serving(model(base)) as client:
        client.becomes((1, AVAILABLE))
        put(stock, base, 2, held=True)
        client.becomes((2, LOADING), (1, AVAILABLE))
        assert client.asked() == (1, 1.0)
        assert client.refused(version=2) == ("NOT_FOUND", "Servable not found for request: Specific(m, 2)")
        let_load(base / "2")
        client.becomes((2, AVAILABLE), (1, ENDED))
        assert client.asked() == (2, 2.0)
        assert client.refused(version=1) == ("NOT_FOUND", "Servable not found for request: Specific(m, 1)")


def test_a_broken_new_version_leaves_the_old_one(stock: Path, base: Path) -> None:
    put(stock, base, 1)
    with serving(model(base)) as client:
        put(stock, base, 2, broken=True)
        until(lambda: client.states().get(2, LOADING)[0] == "END")
        assert client.states()[1] == AVAILABLE
        assert client.asked() == (1, 1.0)


def test_of_two_old_versions_a_broken_new_one_leaves_the_higher(stock: Path, base: Path) -> None:
    put(stock, base, 1, 2)
    with serving(model(base, ALL)) as client:
        client.becomes((2, AVAILABLE), (1, AVAILABLE))
        put(stock, base, 3, broken=True)
        until(lambda: client.states().get(3, LOADING)[0] == "END")
        client.reload(model(base))  # the latest alone, which does not serve
        until(lambda: client.states()[1] == ENDED)
        assert client.states()[2] == AVAILABLE
        assert client.asked() == (2, 2.0)


def test_what_nobody_wants_goes_though_nothing_takes_its_place(stock: Path, base: Path) -> None:
    put(stock, base, 1, 2)
    with serving(model(base, ALL)) as client:
        client.becomes((2, AVAILABLE), (1, AVAILABLE))
        client.reload(NOTHING)
        client.becomes((2, ENDED), (1, ENDED))


def test_a_version_that_vanishes_is_replaced_by_the_next_lower_before_it_goes(stock: Path, base: Path) -> None:
    put(stock, base, 1, held=True)
    put(stock, base, 2)
    with serving(model(base)) as client:
        client.becomes((2, AVAILABLE))
        (base / "2").rename(base / "2.denied")
        client.becomes((2, AVAILABLE), (1, LOADING))
        assert client.asked() == (2, 2.0)
        let_load(base / "1")
        client.becomes((2, ENDED), (1, AVAILABLE))


# 4.3 States


def test_a_version_is_unloaded_once_the_requests_to_it_are_over(stock: Path, base: Path) -> None:
    put(stock, base, 1)
    with serving(model(base)) as client:
        with client.server.open(ModelSpec("m")):  # as a request under way does
            client.reload(NOTHING)
            client.becomes((1, UNLOADING))
            assert client.refused() == ("NOT_FOUND", "Servable not found for request: Latest(m)")
        client.becomes((1, ENDED))


def test_history_is_kept_of_versions_and_of_models(stock: Path, base: Path) -> None:
    put(stock, base, 1, 3)
    put(stock, base, 2, broken=True)
    with serving(model(base, ALL)) as client:
        until(lambda: [state for state, _, _ in client.states().values()] == ["AVAILABLE", "END", "AVAILABLE"])
        client.reload(NOTHING)
        until(lambda: {state for state, _, _ in client.states().values()} == {"END"})
        assert list(client.states()) == [3, 2, 1]
        assert [code for _, code, _ in client.states().values()] == ["OK", client.states()[2][1], "OK"]
        assert client.states()[2][1] != "OK"
        assert client.states()[2][2]
        client.reload(model(base, "model_version_policy { specific { versions: 1 } }"))
        until(lambda: client.states()[1] == AVAILABLE)
        assert client.states()[3] == ENDED
        assert refusal(lambda: client.states("other")) == (
            "NOT_FOUND", "Could not find any versions of model other",
        )  # fmt: skip


def test_what_has_failed_is_not_tried_again_by_the_same_configuration_but_when_it_was_dropped(
    stock: Path, base: Path
) -> None:
    put(stock, base, 1, broken=True)
    with serving(model(base)) as client:
        failed = client.states()[1]
        assert failed[0] == "END"
        assert client.reload(model(base), ATTEMPTS) == [0]
        assert client.states() == {1: failed}
        client.reload(NOTHING)
        assert client.states() == {1: failed}
        saved = (stock / "1" / "saved_model.pb").read_bytes()
        (base / "1" / "saved_model.pb").write_bytes(saved)
        client.reload(model(base))
        client.becomes((1, AVAILABLE))


# 4.4 Loads


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_load_that_fails_is_tried_again_so_often(stock: Path, base: Path, tmp_path: Path, retries: int) -> None:
    put(stock, base, 1, broken=True)
    file = tmp_path / "monitoring"
    file.write_text("prometheus_config { enable: true }")
    options = {"max_num_load_retries": retries, "load_retry_interval_micros": -1, "monitoring_config_file": str(file)}
    with serving(NOTHING, **options) as client:
        refused = refusal(lambda: client.reload(model(base)))
        (state, code, message) = client.states()[1]
        assert state == "END"
        assert refused == (
            "UNKNOWN",
            f"1 model(s) did not become available: {{{{{{name: m version: 1}} due to error: {code}: {message}}}, }}",
        )
        page = ask(client.server, "GET", "/monitoring/prometheus/metrics").body.decode()
        failed = f'load_attempt_count{{model_path="{base / "1"}",status="fail"}}'
        assert f"{failed} {retries + 1}\n" in page


def test_while_it_is_tried_again_a_version_is_loading(stock: Path, base: Path) -> None:
    put(stock, base, 1)
    hour = 3_600_000_000
    with serving(model(base), max_num_load_retries=5, load_retry_interval_micros=hour) as client:
        put(stock, base, 2, broken=True)
        client.becomes((2, LOADING), (1, AVAILABLE))
        put(stock, base, 3)  # waits for nothing, unlike in TensorFlow Serving
        until(lambda: client.states().get(3) == AVAILABLE)
        assert client.asked() == (3, 3.0)
        until(lambda: client.states()[2][0] == "END")  # unwanted now: not tried again
        assert client.states()[2][1] != "OK"
        client.becomes((3, AVAILABLE), (2, client.states()[2]), (1, ENDED))


def test_a_version_that_is_dropped_while_it_loads_is_cancelled(stock: Path, base: Path) -> None:
    put(stock, base, 1)
    with serving(model(base)) as client:
        put(stock, base, 2, held=True)
        client.becomes((2, LOADING), (1, AVAILABLE))
        client.reload(model(base, "model_version_policy { specific { versions: 1 } }"))
        let_load(base / "2")
        client.becomes((2, ("END", "CANCELLED", "Loading of servable cancelled")), (1, AVAILABLE))


def test_a_tag_set_that_the_version_lacks(stock: Path, base: Path) -> None:
    put(stock, base, 1)
    with serving(model(base), saved_model_tags="serve,gpu") as client:
        (state, code, message) = client.states()[1]
        assert (state, code) == ("END", "NOT_FOUND")
        assert message == (
            "Could not find meta graph def matching supplied tags: { serve gpu }. To inspect available tag-sets in the "
            "SavedModel, please use the SavedModel CLI: `saved_model_cli`"
        )


def test_an_operation_that_tensorflow_lacks(models: Models, base: Path, tmp_path: Path) -> None:
    version = models.copy("half_plus_two_tf1", tmp_path)
    graph = version / "saved_model.pb"
    saved = SavedModel.FromString(graph.read_bytes())
    next(node for node in saved.meta_graphs[0].graph_def.node if node.op == "Mul").op = "NoSuchOperation"
    graph.write_bytes(saved.SerializeToString())
    version.rename(base / "1")
    with serving(model(base)) as client:
        (state, code, message) = client.states()[1]
        assert (state, code) == ("END", "NOT_FOUND")
        assert message.startswith("Op type not registered 'NoSuchOperation' in binary running on ")


# 4.5 Threads: unlike in TensorFlow Serving, no load ever waits for another


def test_a_load_that_hangs_holds_up_nobody(stock: Path, tmp_path: Path) -> None:
    bases = {name: tmp_path / name for name in ("m", "n")}
    for path in bases.values():
        path.mkdir()
        put(stock, path, 1)
    with serving(config_text(bases)) as client:
        put(stock, bases["m"], 2, held=True)
        client.becomes((2, LOADING), (1, AVAILABLE))
        put(stock, bases["n"], 2)
        client.becomes((2, AVAILABLE), (1, ENDED), model="n")
        put(stock, bases["m"], 3)
        until(lambda: client.states().get(3) == AVAILABLE)
        assert client.asked() == (3, 3.0)
        let_load(bases["m"] / "2")
        until(lambda: client.states()[2][0] == "END")


# 4.6 What is waited for


def test_a_broken_newest_version_is_a_failure_though_an_older_one_is_there(stock: Path, base: Path) -> None:
    put(stock, base, 2, broken=True)
    put(stock, base, 1)
    with serving(NOTHING) as client:
        code, message = refusal(lambda: client.reload(model(base)))
        assert code == "UNKNOWN"
        assert message.startswith("1 model(s) did not become available: {{{name: m version: 2} due to error: ")
        assert list(client.states()) == [2]
        assert client.refused() == ("NOT_FOUND", "Servable not found for request: Latest(m)")


def test_one_version_is_enough(stock: Path, base: Path) -> None:
    put(stock, base, 1, held=True)
    put(stock, base, 2)
    with serving(NOTHING) as client:
        client.reload(model(base, ALL))
        client.becomes((2, AVAILABLE), (1, LOADING))
        let_load(base / "1")
        client.becomes((2, AVAILABLE), (1, AVAILABLE))


# 4.7 Lookup


def test_which_version_answers(stock: Path, base: Path) -> None:
    put(stock, base, 1, 2)
    with serving(model(base, ALL + label("stable", 1))) as client:
        client.becomes((2, AVAILABLE), (1, AVAILABLE))
        put(stock, base, 3, held=True)
        client.becomes((3, LOADING), (2, AVAILABLE), (1, AVAILABLE))
        assert [client.asked(), client.asked(version=1), client.asked(label="stable")] == [(2, 2.0), (1, 1.0), (1, 1.0)]
        for spec, refused in (
            ({"version": 3}, ("NOT_FOUND", "Servable not found for request: Specific(m, 3)")),
            ({"version": 9}, ("NOT_FOUND", "Servable not found for request: Specific(m, 9)")),
            ({"label": "canary"}, ("INVALID_ARGUMENT", "Unrecognized servable version label: canary")),
            ({"model": "other"}, ("NOT_FOUND", "Servable not found for request: Latest(other)")),
            (
                {"model": "other", "label": "stable"},
                ("INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
            ),
            ({"model": ""}, ("INVALID_ARGUMENT", "ModelSpec has no name specified.")),
        ):
            assert client.refused(**spec) == refused
        let_load(base / "3")
        client.becomes((3, AVAILABLE), (2, AVAILABLE), (1, AVAILABLE))
        assert client.asked() == (3, 3.0)
