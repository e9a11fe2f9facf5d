"""The programs are run as they are written, against a real server, and what they print is compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from tests.support.certificates import Authority, ssl_config
from tests.support.serving import ask, config_text, label
from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.call_information.information import CallInformation, call_information
from tfs_notebook.notebook.call_information.programs import TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

TOKEN = 'it\'s "secret" $HOME'
SHORT = "team/cnn 100%"
SERVED = {
    "half": "half_plus_two", SHORT: "cnn", "multi": "multi", "bytes": "bytes_image", "words": "vocabulary",
    "scalar": "scalar_output", "sized": "sized", "no input": "no_input", "dtypes": "dtypes", "tf1": "half_plus_two_tf1",
}  # fmt: skip
CASES = {
    "a vector": ("half", ""),
    "an image, whose name has to be escaped": (SHORT, ""),
    "two named inputs": ("multi", ""),
    "bytes": ("bytes", ""),
    "strings": ("words", ""),
    "an output without rows": ("scalar", ""),
    "a scalar": ("sized", ""),
    "nothing": ("no input", "constant"),
    "integers of a signature that is named": ("dtypes", "int64"),
    "a half float": ("dtypes", "half"),
    "a bool": ("dtypes", "bool"),
    "ragged": ("ragged", ""),
    "classify": ("tf1", "classify_x_to_y"),
}
REST = ("curl", "urllib", "requests", "JavaScript")


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x, ragged, and s, sparse: float → y: float[?], the sum of each row of x plus the sum of s."""

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None]), tf.SparseTensorSpec([None, 3], tf.float32)])
    def serve(x: tf.RaggedTensor, s: tf.SparseTensor) -> dict[str, tf.Tensor]:
        return {"y": tf.reduce_sum(x, 1) + tf.sparse.reduce_sum(s)}

    base_path, module = tmp_path_factory.mktemp("ragged"), tf.Module()
    module.serve = serve  # where its argument is typed, by which the row splits are known
    tf.saved_model.save(module, str(base_path / "1"), signatures={"serving_default": serve})
    return base_path


@pytest.fixture(scope="module", params=["", TOKEN], ids=["without token", "with token"])
def server(request: pytest.FixtureRequest, models: Models, ragged: Path) -> Iterator[Server]:
    import tfs_notebook

    paths = {name: models.path(exporter) for name, exporter in SERVED.items()}
    text = config_text({**paths, "ragged": ragged}, {"half": label("stable", 1)})
    with tfs_notebook.serve(config=text, port=0, rest_api_port=0, token=request.param) as server:
        yield server


def run(command: list[str], program: str, token: str = "") -> str:
    """What `program`, given to `command` on its standard input, prints."""
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    environment |= {TOKEN_VARIABLE: token} if token else {}
    done = subprocess.run(command, input=program, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


COMMANDS = {"curl": ["sh"], "JavaScript": ["node", "-"], "urllib": [sys.executable], "requests": [sys.executable]}


def printed(name: str, program: str, token: str = "") -> Any:
    """The JSON that a REST program prints; Python's prints the same as a dict."""
    output = run(COMMANDS[name], program, token)
    return json.loads(output) if name in {"curl", "JavaScript"} else eval(output, {"nan": np.nan})


def about(server: Server, model: str, signature: str = "", **options: Any) -> CallInformation:
    return call_information(server, ModelSpec(model), signature, **options)


@pytest.mark.parametrize("case", CASES)
def test_every_rest_program_prints_what_the_body_is_answered(server: Server, case: str) -> None:
    information = about(server, *CASES[case])
    if case == "nothing":
        assert list(information.programs) == ["gRPC"]
        assert "REST cannot call a signature without inputs" in repr(information)
        return
    assert information.url
    path = information.url.removeprefix(server.rest_url or "?")
    reply = ask(server, "POST", path, information.body.encode(), {"authorization": server.token})
    assert reply.status == 200, reply.body
    for name in REST:
        answer = printed(name, information.programs[name], server.token)
        if case == "a scalar":  # it sums up random numbers
            assert 0 <= answer["outputs"] <= 1
        else:
            assert answer == reply.json


def test_every_grpc_program_prints_the_outputs(server: Server) -> None:
    """One after the other in one process, for the sake of TensorFlow's import."""
    found = {case: about(server, *called) for case, called in CASES.items()}
    together = f"import sys\nfor program in {[each.programs['gRPC'] for each in found.values()]!r}:\n"
    together += "    exec(program, {})\n    print('-----')\n"
    answers = run([sys.executable, "-"], together, server.token).split("-----\n")
    answered = dict(zip(found, answers, strict=False))
    assert answered["a vector"] == "y [2.5]\n"
    assert answered["two named inputs"] in {"total [2.0]\ndoubled [2]\n", "doubled [2]\ntotal [2.0]\n"}
    assert answered["ragged"] == "y [2.0]\n"
    assert answered["nothing"] == "values [1.0, 2.0, 3.0]\n"
    assert answered["integers of a signature that is named"] == "y [2]\n"
    assert answered["a half float"] == "y [2.0]\n"
    assert answered["a bool"] == "y [False]\n"
    assert "length [69]" in answered["bytes"], "a picture that can be decoded"
    assert "words_bytes [b'text']" in answered["strings"]
    assert "score: 2.75" in answered["classify"]
    (scores,) = re.fullmatch(r"output_0 (.*)\n", answered["an image, whose name has to be escaped"]).groups()
    image = np.ones((1, 28, 28, 1), np.float32)
    np.testing.assert_allclose(eval(scores), server.predict(SHORT, image)["output_0"], atol=1e-5)


def test_the_token_is_hidden_until_it_is_asked_for(server: Server) -> None:
    for hidden in (about(server, "half"), about(server, SHORT)):
        shown = str(hidden._repr_mimebundle_())
        assert "secret" not in shown
        assert (TOKEN_VARIABLE in shown) == bool(server.token)
    shown = about(server, "half", show_token=True)
    for name in REST:
        assert printed(name, shown.programs[name]) == {"predictions": [2.5]}
    if not server.token:
        assert "none is needed" in repr(shown)


def test_rows_only_where_everything_has_them(server: Server) -> None:
    bodies = {model: about(server, model).body for model in ("half", "multi", "scalar", "sized", "words")}
    assert bodies == {
        "half": '{"instances": [1.0]}',
        "multi": '{"instances": [{"a": [1.0, 1.0], "b": 1}]}',
        "scalar": '{"inputs": [1.0]}',
        "sized": '{"inputs": 1}',
        "words": '{"instances": ["text"]}',
    }
    assert about(server, "dtypes", "int8").body == '{"signature_name": "int8", "instances": [1]}'
    assert about(server, "bytes").body.startswith('{"instances": [{"b64": "iVBOR')


def test_a_version_or_label_stands_in_the_address(server: Server) -> None:
    labelled = call_information(server, ModelSpec("half", None, "stable"))
    assert labelled.url == f"{server.rest_url}/v1/models/half/labels/stable:predict"
    assert 'request.model_spec.version_label = "stable"' in labelled.programs["gRPC"]
    numbered = call_information(server, ModelSpec("half", 1, None))
    assert numbered.url == f"{server.rest_url}/v1/models/half/versions/1:predict"
    assert "request.model_spec.version.value = 1" in numbered.programs["gRPC"]
    assert numbered.eas_url.endswith("/api/predict/<service>/v1/models/half/versions/1:predict")


@pytest.mark.parametrize(
    ("spec", "signature", "remedy"),
    [
        (ModelSpec("halv"), "", "Did you mean 'half'?"),
        (ModelSpec("half", 7), "", "half serves version 1."),
        (ModelSpec("half", None, "stabel"), "", "Did you mean 'stable'?"),
        (ModelSpec("multi", None, "x"), "", "multi has no labels: version_labels in its config gives them."),
        (ModelSpec("multi"), "one_outpt", "Did you mean 'one_output'? --signature_name chooses one."),
        (ModelSpec("dtypes"), "", "There are: 'bfloat16', 'bool', "),
    ],
)
def test_what_does_not_serve_gives_the_nearest_name(
    server: Server, spec: ModelSpec, signature: str, remedy: str
) -> None:
    with pytest.raises(ServingError) as refused:
        call_information(server, spec, signature)
    assert refused.value.hint.startswith(remedy)


def test_the_page_needs_neither_script_nor_style_sheet(server: Server) -> None:
    page = about(server, SHORT)._repr_mimebundle_()["text/html"]
    assert "<script" not in page
    assert "<style" not in page
    assert re.findall(r"<summary>(\w+)</summary><pre", page) == [*REST, "gRPC"]
    assert "team%2Fcnn%20100%25:predict" in page


def test_tls_is_trusted_by_the_certificate_in_the_program(models: Models, tmp_path: Path) -> None:
    import tfs_notebook

    key, certificate = Authority().issue("localhost")
    config = ssl_config(tmp_path / "ssl", server_key=key, server_cert=certificate)
    path = models.path("half_plus_two")
    with tfs_notebook.serve(path, port=0, rest_api_port=0, ssl_config_file=config) as server:
        assert run([sys.executable, "-"], about(server, "model").programs["gRPC"]) == "y [2.5]\n"
