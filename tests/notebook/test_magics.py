from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.notebook.conftest import ANY, Notebook
from tests.support.certificates import Authority, ssl_config
from tests.support.ports import free_port
from tests.support.saved_models import truncated_pb
from tests.support.serving import ask, config_text, label, serving_threads, until
from tfs_notebook.notebook.magic_help import GROUPS
from tfs_notebook.options import FLAGS

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tests.conftest import Models

WAYS = ("local", "rest", "grpc")
LIVE_OPTIONS = ["label", "version", "export_to", "variable"]


def table(value: Any) -> str:
    text: str = value._repr_mimebundle_()["text/plain"]
    return text


# Loading and unloading


def test_loading_is_quick_and_imports_nothing_heavy() -> None:
    script = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
started = time.process_time()
shell.run_line_magic("load_ext", "tfs_notebook")
print(time.process_time() - started)
heavy = {"tensorflow", "grpc", "oss2", "aiohttp", "ipywidgets", "google.protobuf", "matplotlib"}
print(*sorted(heavy & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, imported = run.stdout.splitlines()
    assert float(seconds) < 0.3
    assert imported == ""


def things_of_ours(shell: InteractiveShell) -> dict[str, int]:
    """How many there are of everything that loading adds to a shell."""
    magics = shell.magics_manager.magics
    return {
        "magics": sum(name.startswith("tfs_") for kind in magics.values() for name in kind),
        "registered": sum("tfs_notebook" in kind.__module__ for kind in map(type, shell.configurables)),
        "registry": len(
            {"ServingMagics", "InquiryMagics", "ConfigMagics", "ConsoleMagic"} & {*shell.magics_manager.registry}
        ),
        "matchers": len(shell.Completer.custom_matchers),
        "hooks": len(shell.events.callbacks["pre_run_cell"]) + len(shell.events.callbacks["post_run_cell"]),
    }


def test_reloading_keeps_one_of_each_thing_and_unloading_none(shell: InteractiveShell, models: Models) -> None:
    before, threads, interval = things_of_ours(shell), serving_threads(), sys.getswitchinterval()
    others = {kind: set(names) for kind, names in shell.magics_manager.magics.items()}
    shell.run_line_magic("load_ext", "tfs_notebook")
    loaded = things_of_ours(shell)
    assert loaded["registered"] == loaded["registry"] == 4
    for _ in range(3):
        line = f"{models.path('half_plus_two')} {ANY} --switch_interval_micros=500"
        server = shell.run_line_magic("tfs_serve", line)
        # It is back soon after a request, which a busy machine may not let this thread see
        until(
            lambda server=server: (
                ask(server, "POST", "/v1/models/model:predict", {"instances": [1.0]}).status == 200
                and sys.getswitchinterval() == pytest.approx(500e-6)
            )
        )
        shell.run_line_magic("reload_ext", "tfs_notebook")
        assert things_of_ours(shell) == loaded
        until(lambda: serving_threads() == threads)
    shell.run_line_magic("unload_ext", "tfs_notebook")
    assert things_of_ours(shell) == before
    assert {kind: set(names) for kind, names in shell.magics_manager.magics.items()} == others
    assert sys.getswitchinterval() == interval


def test_unloading_what_was_not_loaded_takes_nothing_away(shell: InteractiveShell) -> None:
    import tfs_notebook

    others = {kind: set(names) for kind, names in shell.magics_manager.magics.items()}
    tfs_notebook.unload_ipython_extension(shell)
    assert {kind: set(names) for kind, names in shell.magics_manager.magics.items()} == others


def test_help_shows_the_options(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run("%tfs_serve?")
    shown = capsys.readouterr().out
    assert "--model_config_file" in shown
    assert "Serve TensorFlow models from this kernel" in shown


def test_help_lists_every_option_by_what_it_is_for(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run("%tfs_serve?")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "%tfs_serve [VARIABLE ...|PATH] [--OPTION=VALUE ...]" in shown
    listed = dict(zip(*[iter(re.split(r"^([\w, -]+):\s*\n", shown, flags=re.MULTILINE)[1:])] * 2, strict=True))
    for title in ("Docstring", "positional arguments"):
        listed.pop(title)
    assert re.findall(r"^  --(\w+)", listed.pop("a model in a variable"), re.MULTILINE) == LIVE_OPTIONS
    assert {title: re.findall(r"^  --(\w+)", text, re.MULTILINE) for title, text in listed.items()} == {
        title: list(names) for title, names in GROUPS.items()
    }, "an option that was added belongs into a group of option_groups.py"
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(FLAGS)
    assert "  --rest_api_port=INT   TCP port of REST" in shown
    assert "(default: 8501)" in shown
    assert "  --enable_batching     Run the requests" in shown, "a switch stands by its name alone"
    assert "(default: true)" in shown


def test_help_leaves_out_what_has_no_effect(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run("%tfs_serve?")
    shown = capsys.readouterr().out
    assert "accepted without effect" in shown
    assert "enable_profiler" not in shown


# %tfs_serve


def test_a_command_line_of_tensorflow_serving_goes_on_working(
    notebook: Notebook, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    flags = f"{ANY} --enable_profiler --flush_filesystem_caches=false --mixed_precision=bfloat16 --num_tflite_pools=3"
    server = notebook.run(f"%tfs_serve {flags} --model_base_path={models.path('half_plus_two')} --model_name=half")
    assert ask(server, "POST", "/v1/models/half:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}
    told = [record.getMessage().partition(":")[0] for record in caplog.records if "no effect" in record.message]
    assert told == [
        "--flush_filesystem_caches=false is accepted and has no effect here",
        "--num_tflite_pools=3 is accepted and has no effect here",
        "--mixed_precision=bfloat16 is accepted and has no effect here",
    ]


def test_a_path_is_served_as_model(notebook: Notebook, models: Models) -> None:
    server = notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY}")
    assert "model  1        ● AVAILABLE" in table(server)
    assert ask(server, "POST", "/v1/models/model:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}
    assert notebook.run("%tfs_status") is server
    assert notebook.run("%tfs_stop") is None
    assert not server.running
    assert notebook.refuse("%tfs_status") == "Nothing is served: %tfs_serve PATH starts a server"


def test_paths_are_written_as_in_a_shell(
    notebook: Notebook, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_path = tmp_path / "my models" / "half"
    models.copy("half_plus_two", base_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    notebook["where"], notebook["name"] = str(base_path), "renamed"
    for path in (f"'{base_path}'", f'"{base_path}"', "'my models/half'", "'~/my models/half'", '"$where"', "'{where}'"):
        server = notebook.run(f"%tfs_serve {path} {ANY}")
        (model,) = server.status().models
        assert model.config.base_path == str(base_path)
    server = notebook.run(f"%tfs_serve --model_base_path='~/my models/half' {ANY} --model_name={{name}}")
    assert {model.name for model in server.status().models if model.config} == {"renamed"}


def test_a_comment_and_a_semicolon_are_no_arguments(notebook: Notebook, models: Models, tmp_path: Path) -> None:
    path = models.path("half_plus_two")
    assert notebook.run(f"%tfs_serve {path} {ANY}   # served as `model`, of course").running
    assert notebook.run(f"%tfs_serve {path} --port=0 --rest_api_port=0;") is None or notebook.server
    models.copy("half_plus_two", tmp_path / "#1 model")
    server = notebook.run(f"%tfs_serve '{tmp_path}/#1 model' {ANY}")
    assert server.status().models[0].config.base_path == f"{tmp_path}/#1 model"


def test_flags_with_and_without_equals_and_switches_alone(notebook: Notebook, models: Models) -> None:
    path = models.path("half_plus_two")
    line = f"--port 0 --rest_api_port=0 --allow_without_token {path} --model_name half --switch_interval_micros=0"
    server = notebook.run(f"%tfs_serve {line} --allow_version_labels_for_unavailable_models")
    assert server.options.allow_without_token is True
    assert server.options.allow_version_labels_for_unavailable_models is True
    assert server.options.model_name == "half"
    server = notebook.run(f"%tfs_serve --allow_without_token false {path} {ANY}")
    assert server.options.allow_without_token is False


def test_a_second_call_changes_the_running_server(notebook: Notebook, models: Models, tmp_path: Path) -> None:
    for version in (1, 2):
        models.copy("half_plus_two", tmp_path / "half", version)
    both = "model_version_policy { all {} }"

    def serve(line: str, stable: int) -> Any:
        text = config_text({"half": tmp_path / "half"}, {"half": both + label("stable", stable)})
        return notebook.run(f"%%tfs_serve {line}\n{text}")

    server = serve(ANY, 1)
    ports = server.rest_url, server.grpc_target
    assert "half   2        ● AVAILABLE" in table(server)
    assert serve(ANY, 2) is server
    assert (server.rest_url, server.grpc_target) == ports
    assert server.predict("half", [2.0], label="stable").version == 2
    moved = serve("--port=0 --rest_api_port=" + str(free_port()), 2)
    assert moved is server
    assert server.grpc_target == ports[1]
    assert server.rest_url != ports[0]
    assert ask(server, "GET", "/v1/models/half/labels/stable").status == 200
    refused = notebook.refuse(f"%tfs_serve {tmp_path / 'none'} {ANY}")
    assert f"{tmp_path} exists and holds" in refused
    assert server.predict("half", [2.0]).version == 2


def test_a_config_file_is_followed(notebook: Notebook, models: Models, tmp_path: Path) -> None:
    paths = {"half": models.path("half_plus_two"), "cnn": models.path("cnn")}
    file = tmp_path / "models.config"
    file.write_text(config_text({"half": paths["half"]}))
    line = f"--model_config_file={file} --model_config_file_poll_wait_seconds=1"
    server = notebook.run(f"%tfs_serve {line} {ANY}")
    assert [model.name for model in server.status().models] == ["half"]
    file.write_text(config_text(paths))
    until(lambda: "cnn    1        ● AVAILABLE" in table(server))


def test_a_mount_stands_for_a_directory(notebook: Notebook, models: Models) -> None:
    text = config_text({"half": Path("/models/half_plus_two")})
    models.path("half_plus_two")
    server = notebook.run(f"%%tfs_serve {models.root} --mount=/models {ANY}\n{text}")
    assert server.predict("half", [2.0]).array.tolist() == [3.0]


def test_a_broken_model_is_told_while_the_others_serve(notebook: Notebook, models: Models, tmp_path: Path) -> None:
    broken = models.copy("half_plus_two", tmp_path / "broken")
    truncated_pb(broken)
    (tmp_path / "half-copied" / "1").mkdir(parents=True)
    paths = {"broken": broken.parent, "copying": tmp_path / "half-copied", "half": models.path("half_plus_two")}
    server = notebook.run(f"%%tfs_serve {ANY} --max_num_load_retries=0\n{config_text(paths)}")
    shown = table(server)
    assert "half     1        ● AVAILABLE" in shown
    assert "broken   1        ✗ FAILED" in shown
    assert "copying  1        … WAITING" in shown
    assert str(broken) in shown
    assert "saved_model.pb is missing" in shown
    refused = notebook.refuse("%%tfs_predict broken\n[1.0]")
    assert "Versions of broken: 1 (FAILED)." in refused
    assert str(broken / "saved_model.pb") in refused


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", ["What is to be served?", "--model_config_file=FILE"]),
        ("/nowhere/at/all", ["/nowhere/at/all", "No such file or directory"]),
        ("PATH --mode_name=x", ["--mode_name", "did you mean --model_name?"]),
        ("PATH --prot=1", ["did you mean --port?"]),
        ("PATH --mod=x", ["unknown option --mod=x"]),
        ("PATH --xyzzy", ["unknown option --xyzzy", "%tfs_serve? lists the options"]),
        ("PATH --port=abc", ["--port is a whole number, not 'abc'"]),
        ("PATH --port", ["--port needs a value: --port=8500"]),
        ("--mount PATH --token --port=0", ["--token needs a value: --token=…"]),
        ("PATH --model_base_path=/another", ["are two models"]),
        ("--mount=/models --model_config_file=/f", ["--mount=/models needs the directory"]),
        ("PATH/1", ["is version 1 itself", "serve the directory that it is in"]),
        (
            "gs://bucket/models/modelA",
            ["gs://bucket/models/modelA", "Only directories and oss://BUCKET/PREFIX/ can be served"],
        ),
        ("PATH --port=99999", ["--port=99999 is not a TCP port"]),
        ("PATH --port=-5", ["--port=-5 is not a TCP port"]),
        ("PATH --num_tflite_pools=many", ["--num_tflite_pools is a whole number, not 'many'"]),
        ("PATH --enable_profiler=1", ["--enable_profiler is true or false, not '1'"]),
        ("PATH --mixed_precision --port=0", ["--mixed_precision needs a value"]),
        ("PATH --tensorflow_session_config_file=/none.pbtxt", ["/none.pbtxt", "No such file or directory"]),
        ("PATH --allow_without_token=maybe", ["--allow_without_token is true or false, not 'maybe'"]),
        ("PATH /another", ["/another: one path at a time", "--model_config_file=FILE"]),
        ("'/open", ["A quote is not closed in: '/open"]),
        ("--model_config_file=none.config", ["none.config", "No such file or directory"]),
    ],
)
def test_a_line_that_cannot_be_meant(
    notebook: Notebook, models: Models, line: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = notebook.refuse(f"%tfs_serve {line.replace('PATH', str(models.path('half_plus_two')))}")
    for text in said:
        assert text in refused
    assert notebook.server is None
    until(lambda: not serving_threads())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, ["holds nothing"]),
        ({"final/saved_model.pb": ""}, ["holds final/", "number (eg. '/1/')"]),
        ({"saved_model.pb": ""}, ["is itself a SavedModel", "directory named by a number"]),
    ],
)
def test_a_path_without_versions(notebook: Notebook, tmp_path: Path, files: dict[str, str], said: list[str]) -> None:
    base_path = tmp_path / "base"
    base_path.mkdir()
    for name, content in files.items():
        (base_path / name).parent.mkdir(exist_ok=True)
        (base_path / name).write_text(content)
    refused = notebook.refuse(f"%tfs_serve {base_path}")
    for text in [str(base_path), *said]:
        assert text in refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "model_config_list {\n  config { name: 'a' base_pat: '/x' }\n}",
            ["cell:2:22", 'no field named "base_pat"', "  config { name: 'a' base_pat: '/x' }\n                     ^"],
        ),
        ("model_config_list {", ['Expected "}"', "cell:1:19"]),
        (config_text({"a": Path("x/y")}), ["absolute path", "x/y", "model 'a'"]),
        ("model_config_list { config { name: 'a' base_path: '/x' } }", ["Add `model_platform: 'tensorflow'`"]),
    ],
)
def test_a_bad_config_names_its_place_and_the_running_one_stays(
    notebook: Notebook, models: Models, text: str, said: list[str]
) -> None:
    server = notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY}")
    refused = notebook.refuse(f"%%tfs_serve {ANY}\n{text}")
    for part in said:
        assert part in refused
    assert server.predict("model", [2.0]).array.tolist() == [3.0]


def test_a_config_that_lists_nothing_is_refused(notebook: Notebook) -> None:
    assert "The cell lists no model" in notebook.refuse(f"%%tfs_serve {ANY}\n# to be written")


def test_problems_are_told_even_when_the_table_is_not_shown(
    notebook: Notebook, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1").mkdir()
    text = config_text({"half": models.path("half_plus_two"), "empty": tmp_path})
    notebook.run(f"%%tfs_serve {ANY}\n{text}")
    assert capsys.readouterr().err == "1 of 2 models waiting for files of a version; details below (%tfs_status)\n"
    notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY}")
    assert capsys.readouterr().err == ""


def test_nothing_is_logged_into_cells(
    notebook: Notebook, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)  # as TensorFlow leaves it
    try:
        models.copy("half_plus_two", tmp_path)
        notebook.run(f"%tfs_serve {tmp_path} {ANY}")
        notebook.run("%tfs_stop")
    finally:
        logging.getLogger().handlers.clear()
    assert "tfs_notebook" not in capsys.readouterr().err
    notebook.shell.run_line_magic("unload_ext", "tfs_notebook")
    assert logging.getLogger("tfs_notebook").propagate
    notebook.shell.run_line_magic("load_ext", "tfs_notebook")


def test_a_path_beside_a_config_is_refused(notebook: Notebook, models: Models) -> None:
    text = config_text({"half": models.path("half_plus_two")})
    assert "With --mount=/models" in notebook.refuse(f"%%tfs_serve /somewhere {ANY}\n{text}")


def test_a_taken_port_is_never_another_one(notebook: Notebook, models: Models) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = models.path("half_plus_two")
        for flags in (f"--port={port} --rest_api_port=0", f"--rest_api_port={port} --port=0"):
            refused = notebook.refuse(f"%tfs_serve {path} {flags}")
            assert f"port={port}" in refused
            assert "=-1 pick a free one" in refused
            until(lambda: not serving_threads())
        server = notebook.run(f"%tfs_serve {path} {ANY}")
        assert f"port={port}" in notebook.refuse(f"%tfs_serve {path} --port={port}")
        assert server.predict("model", [2.0]).version == 1


def test_what_is_not_served_cannot_be_asked(notebook: Notebook) -> None:
    for cell in ("%tfs_status", "%tfs_stop", "%%tfs_predict model\n[1.0]"):
        assert notebook.refuse(cell) == "Nothing is served: %tfs_serve PATH starts a server"


def test_magics_without_arguments_take_none(asking: Notebook) -> None:
    assert "unexpected argument 'now'" in asking.refuse("%tfs_stop now")
    assert "unexpected argument 'all'" in asking.refuse("%tfs_status all")
    assert asking.server is not None
    assert asking.server.running


# %%tfs_predict


@pytest.mark.parametrize("via", WAYS)
@pytest.mark.parametrize(
    ("asked", "body", "outputs"),
    [
        ("half", '{"instances": [1.0, 2.0]}', {"y": [2.5, 3.0]}),
        ("half", '{"inputs": {"x": [1.0, 2.0]}}', {"y": [2.5, 3.0]}),
        ("half", "{'instances': np.arange(3)}", {"y": [2.0, 2.5, 3.0]}),
        ("half", "{'inputs': {'x': np.arange(3, dtype=np.float64)}}", {"y": [2.0, 2.5, 3.0]}),
        ("half", "{'x': np.arange(3)}", {"y": [2.0, 2.5, 3.0]}),
        ("half", '{"x": [1.0, 2.0]}', {"y": [2.5, 3.0]}),
        ("half", "[number, 2.0]", {"y": [2.5, 3.0]}),
        ("half", "{'instances': [float('nan'), float('inf'), -np.inf]}", {"y": [np.nan, np.inf, -np.inf]}),
        ("half", '{"instances": [NaN, 1e30]}', {"y": [np.nan, 5e29]}),
        ("half --version 1", "[2.0]", {"y": [3.0]}),
        ("half --version=1", "[2.0]", {"y": [3.0]}),
        ("half --label stable", "[2.0]", {"y": [3.0]}),
        ("multi", "{'a': [[1, 2], [3, 4]], 'b': np.int64([5, 6])}", {"doubled": [10, 12], "total": [3.0, 7.0]}),
        ("multi", '{"instances": [{"a": [1, 2], "b": 5}]}', {"doubled": [10], "total": [3.0]}),
        ("multi --signature_name one_output", "{'a': [[1, 2]], 'b': [5]}", {"total": [3.0]}),
        ("multi", '{"signature_name": "one_output", "instances": [{"a": [1, 2], "b": 5}]}', {"total": [3.0]}),
        ("multi", "{'signature_name': 'one_output', 'inputs': {'a': [[1, 2]], 'b': [5]}}", {"total": [3.0]}),
        ("words", "['the', b'fox', 'né']", {"ids": [0, 3, 4], "words_bytes": [b"the", b"fox", "né".encode()]}),
        ("bytes", r"{'instances': [b'\xff\x00', 'text']}", {"length": [2, 4], "echo_bytes": [b"\xff\x00", b"text"]}),
        ("bytes", r"[b'\xff\x00', b'']", {"length": [2, 0], "echo_bytes": [b"\xff\x00", b""]}),
        ("bytes", '{"instances": [{"b64": "/wA="}]}', {"length": [2], "echo_bytes": [b"\xff\x00"]}),
        ("scalar", "[1.0, 3.0]", {"doubled": [2.0, 6.0], "mean": 2.0}),
        ("dtypes --signature_name bool", "{'instances': [True, False]}", {"y": [False, True]}),
        ("dtypes --signature_name uint64", "[2**64 - 2]", {"y": [2**64 - 1]}),
        ("dtypes --signature_name bfloat16", "[1.5]", {"y": [2.5]}),
        ("'team/cnn 100%' --version 1", "np.zeros((1, 28, 28, 1)).tolist()", {"output_0": [[0.1] * 10]}),
    ],
)
def test_every_way_gives_the_same_outputs(
    asking: Notebook, via: str, asked: str, body: str, outputs: dict[str, Any]
) -> None:
    asking["np"], asking["number"] = np, 1.0
    answer = asking.run(f"%%tfs_predict {asked} --via {via} --out got\n{body}")
    assert list(answer.outputs) == sorted(outputs)
    for alias, array in answer.outputs.items():
        np.testing.assert_allclose(array, outputs[alias], rtol=1e-6) if array.dtype != object else None
        assert array.dtype != object or array.tolist() == outputs[alias]
    got = asking["got"]
    if len(outputs) == 1:
        got = {next(iter(outputs)): got}
    for alias, array in answer.outputs.items():
        np.testing.assert_array_equal(got[alias], array)


def test_a_signature_without_inputs(asking: Notebook) -> None:
    for via in ("local", "grpc"):
        answer = asking.run(f"%%tfs_predict 'no input' --signature_name constant --via {via}\n{{}}")
        assert answer.value.tolist() == [1.0, 2.0, 3.0]
    refused = asking.refuse("%%tfs_predict 'no input' --signature_name constant --via rest\n{}")
    assert "Failed to get input map for signature: constant" in refused  # REST cannot ask it, as in TensorFlow Serving
    assert "constant takes nothing" in refused


def test_the_answer_tells_where_it_came_from(asking: Notebook) -> None:
    answer = asking.run("%%tfs_predict half --via grpc\n[1.0, 2.0]")
    first, second, third = repr(answer).splitlines()
    assert re.fullmatch(r"half · version 1 · [\d.]+ ms · grpc · [\d:]+", first)
    assert (second, third) == ("y: float32[2]", "[2.5 3. ]")
    assert asking.run("%%tfs_predict half --via rest\n[1.0]").version is None
    assert asking.run("%%tfs_predict half --via rest --version 1\n[1.0]").version == 1


def test_names_and_numbers_that_exist_are_offered(asking: Notebook) -> None:
    assert "There is no model 'hafl'. Did you mean 'half'?" in asking.refuse("%%tfs_predict hafl\n[1.0]")
    assert "which model? There are: 'bytes'," in asking.refuse("%%tfs_predict\n[1.0]")
    assert "Versions of half: 1 (AVAILABLE)." in asking.refuse("%%tfs_predict half --version 7\n[1.0]")
    assert "Did you mean 'stable'?" in asking.refuse("%%tfs_predict half --label stabel\n[1.0]")
    told = "multi has no labels; add version_labels { key: 'x' value: 1 } to its config, or %tfs_label multi x=1"
    assert told in asking.refuse("%%tfs_predict multi --label x\n[1.0]")
    assert "Did you mean 'serving_default'?" in asking.refuse("%%tfs_predict half --signature_name serving\n[1.0]")
    assert "did you mean --via?" in asking.refuse("%%tfs_predict half --vai=rest\n[1.0]")
    assert "invalid choice: 'http'" in asking.refuse("%%tfs_predict half --via http\n[1.0]")
    assert "invalid int value: 'one'" in asking.refuse("%%tfs_predict half --version one\n[1.0]")
    assert "name two versions" in asking.refuse("%%tfs_predict half --version 1 --label stable\n[1.0]")
    for name in ("3x", "class", "a.b"):
        assert f"--out={name} is not a variable's name" in asking.refuse(f"%%tfs_predict half --out {name}\n[1.0]")
    for name in ("print", "get_ipython", "In"):
        assert "choose another" in asking.refuse(f"%%tfs_predict half --out {name}\n[1.0]")


@pytest.mark.parametrize("via", WAYS)
@pytest.mark.parametrize(
    ("asked", "body", "said"),
    [
        ("half", '{"instances": [1.0, 2.0, "3"]}', ['"3"', "at instances[2]", "takes x: float[?]"]),
        ("half", "{'instances': [1.0, [2.0]]}", ["at instances[1]", "shape [] but got: [1]"]),
        ("multi", '{"instances": [{"a": [1, 2], "b": "x"}]}', ['"x"', "at instances[0].b", "b: int32[?]"]),
        ("multi", '{"inputs": {"a": [[1, "y"]], "b": [1]}}', ['"y"', "at inputs.a[0][1]"]),
        ("multi", '{"inputs": {"a": [[1, 2]], "c": [1]}}', ["There is no input 'c'. There are: 'a', 'b'."]),
        ("multi", "{'a': [[1, 2]], 'bb': [1]}", ["There is no input 'bb'. Did you mean 'b'?"]),
        ("multi", "{'a': [[1, 2]], 'b': [1, 2.5]}", ["b takes int32[?]", "b[1] is 2.5"]),
        ("multi", "[1.0]", ["has the inputs a, b: pass a mapping by name"]),
        ("half", "{'x': [1, None]}", ["x takes float[?]", "x[1] is None"]),
        ("half", "[[1.0, 2.0], [3.0]]", ["x is ragged", "x[0] has shape [2], x[1] has [1]"]),
        ("half", "'a'", ["x is 'a'"]),
        ("bytes", "[b'a', 3]", ["at image_bytes[1]", "image_bytes[1] is 3"]),
        ("half", '{"instance": [1.0]}', ["There is no input 'instance'. Did you mean 'instances'?"]),
        ("half", '{"instances": []}', ["No values in 'instances' array", "at instances"]),
        ("raising", "[-1.0]", ["x must not be negative", "takes x: float[?]"]),
        ("'team/cnn 100%'", "[[1.0, 2.0]]", ["keras_tensor: float[?, 28, 28, 1]", "4-dimensional", "[1,2]"]),
    ],
)
def test_a_refusal_names_the_value_and_its_place(
    asking: Notebook, via: str, asked: str, body: str, said: list[str]
) -> None:
    refused = asking.refuse(f"%%tfs_predict {asked} --via {via}\n{body}")
    assert "INVALID_ARGUMENT" in refused
    for text in said:
        assert text in refused


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"instances": [1.0,}', ["neither JSON (JSON Parse error", "at offset: 19", "at line 1, column 20"]),
        ('{"instances": [1.0]} more words', ["'more words' follows the JSON value", "line 1"]),
        ('{"instances": [1.0]} {"instances": [2.0]}', ["follows the JSON value"]),
        ("a = 1\n[a]", ["nor a Python expression", "statements go into a cell of their own"]),
        ('{"instances": [true, ]}', ["neither JSON", "name 'true' is not defined"]),
        ("x = [1.0]", ["nor a Python expression (invalid syntax; statements go into a cell of their own)"]),
        ("{'instances': [object]}", ["cannot be written as JSON", "type has no JSON form"]),
        ("{'instances': " + "[" * 5000 + "]" * 5000 + "}", ["too many nested parentheses"]),
        ('{"instances": ' + "[" * 100000 + "]" * 100000 + "}", ["tensor parsing error", "takes x: float[?]"]),
    ],
)
def test_a_body_that_cannot_be_read(asking: Notebook, body: str, said: list[str]) -> None:
    refused = asking.refuse(f"%%tfs_predict half\n{body}")
    for text in said:
        assert text in refused


def test_rows_of_a_table(asking: Notebook) -> None:
    """What pandas' tables and columns have in common."""

    class Column:
        def to_numpy(self) -> np.ndarray:
            return np.array([1.0, 2.0])

    asking["column"] = Column()
    assert asking.run("%%tfs_predict half\n{'instances': column}").value.tolist() == [2.5, 3.0]


def test_a_mistake_in_the_expression_is_the_users_own(asking: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NameError, match="nowhere"):
        asking.run("%%tfs_predict half\nnowhere")
    shown = capsys.readouterr()
    for ours in ("magics.py", "question.py"):
        assert ours not in shown.out + shown.err


def test_a_semicolon_keeps_the_answer_from_being_shown(asking: Notebook) -> None:
    for body in ("[2.0];", '{"instances": [2.0]};', "[2.0] ; \n"):
        asking.run(f"%%tfs_predict half --out got\n{body}")
        assert asking["got"].tolist() == [3.0]


def test_a_shape_that_does_not_fit_is_told(asking: Notebook) -> None:
    refused = asking.refuse("%%tfs_predict 'team/cnn 100%'\n[[[0.5]] * 28]")
    assert "takes keras_tensor: float[?, 28, 28, 1]" in refused
    assert refused.endswith("keras_tensor has the shape [1, 28, 1]")
    asking["np"] = np
    for shape, remedy in (
        ("2, 28, 28", ": add the channel axis: x[..., None]"),
        ("28, 28", ": add the batch and the channel axis: x[None, ..., None]"),
        ("2, 1, 28, 28", ": the channels stand first: np.moveaxis(x, 1, -1)"),
        ("2, 784", ": x.reshape(-1, 28, 28, 1)"),
    ):
        refused = asking.refuse(f"%tfs_predict 'team/cnn 100%' np.zeros(({shape}))")
        assert refused.endswith(f"keras_tensor has the shape [{shape}]{remedy}")
    assert "x takes float[?], not text" in asking.refuse("%tfs_predict half ['a']")
    missing = asking.refuse("%%tfs_predict 'team/cnn 100%'\n[[[0.5]] * 28] * 28")
    assert (
        "keras_tensor has the shape [28, 28, 1]; the batch dimension is missing: wrap it in [ ], or write x[None]"
        in missing
    )


def test_a_token_is_sent_by_every_way(notebook: Notebook, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the own ports are not asked through a proxy
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:9")
    server = notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY} --token=secret")
    assert ask(server, "POST", "/v1/models/model:predict", {"instances": [2.0]}).status == 401
    for via in WAYS:
        assert notebook.run(f"%%tfs_predict model --via {via}\n[2.0]").value.tolist() == [3.0]


def test_tls_is_spoken_with_the_own_port(notebook: Notebook, models: Models, tmp_path: Path) -> None:
    authority = Authority()
    key, certificate = authority.issue("server")
    file = ssl_config(tmp_path / "ssl", server_key=key, server_cert=certificate)
    path = models.path("half_plus_two")
    notebook.run(f"%tfs_serve {path} {ANY} --ssl_config_file={file}")
    assert notebook.run("%%tfs_predict model --via grpc\n[2.0]").value.tolist() == [3.0]
    ssl_config(
        tmp_path / "ssl",
        server_key=key,
        server_cert=certificate,
        custom_ca=authority.certificate,
        client_verify=True,
    )
    notebook.run(f"%tfs_serve {path}")
    refused = notebook.refuse("%%tfs_predict model --via grpc\n[2.0]")
    assert "gRPC demands a certificate of its clients (client_verify)" in refused


def test_a_server_without_network_answers_locally(notebook: Notebook, models: Models) -> None:
    import tfs_notebook

    with tfs_notebook.serve(str(models.path("half_plus_two")), port=0, rest_api_port=0) as server:
        magics = notebook.shell.magics_manager.registry["ServingMagics"]
        magics.server = server
        server._runtime.call(server._endpoints.close(1.0))
        assert notebook.run("%%tfs_predict model\n[2.0]").value.tolist() == [3.0]
        assert "REST is off" in notebook.refuse("%%tfs_predict model --via rest\n[2.0]")
        assert "gRPC is off" in notebook.refuse("%%tfs_predict model --via grpc\n[2.0]")
        magics.server = None


def test_a_slow_local_call_does_not_run_on_the_main_thread(asking: Notebook) -> None:
    assert asking.server is not None
    names: list[str] = []
    predict = asking.server.predict
    asking.server.predict = lambda *a, **k: (names.append(threading.current_thread().name), predict(*a, **k))[1]  # type: ignore[method-assign]
    try:
        asking.run("%%tfs_predict slow\n0.01")
    finally:
        asking.server.predict = predict  # type: ignore[method-assign]
    assert names == ["tfs-ask"]


# Recorded requests


def test_a_cell_has_requests_recorded_however_they_are_asked(
    notebook: Notebook, models: Models, tmp_path: Path
) -> None:
    text = config_text(
        {"half": models.path("half_plus_two")},
        {
            "half": f"logging_config {{ log_collector_config {{ filename_prefix: '{tmp_path}/logs/' }} "
            "sampling_config { sampling_rate: 1 } }"
        },
    )
    notebook.run(f"%%tfs_serve {ANY}\n{text}")
    for way in WAYS:
        notebook.run(f"%%tfs_predict half --via {way}\n[1.0, 2.0]")
    notebook.run("%tfs_stop")
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    (path,) = map(str, (tmp_path / "logs").iterdir())
    logs = [PredictionLog.FromString(record.numpy()).predict_log for record in tf.data.TFRecordDataset(path)]
    assert [tf.make_ndarray(log.request.inputs["x"]).tolist() for log in logs] == [[1, 2]] * 3
    assert [tf.make_ndarray(log.response.outputs["y"]).tolist() for log in logs] == [[2.5, 3]] * 3


def test_a_place_for_records_that_cannot_be_is_told_in_the_table(
    notebook: Notebook, models: Models, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    logging = f"logging_config {{ log_collector_config {{ filename_prefix: '{tmp_path}/file/' }} "
    text = config_text(
        {"half": models.path("half_plus_two")}, {"half": logging + "sampling_config { sampling_rate: 1 } }"}
    )
    server = notebook.run(f"%%tfs_serve {ANY}\n{text}")
    until(lambda: "The requests to model half are not logged" in table(server))
