"""How sessions are made, from the flags and a ConfigProto in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support.serving import ask
from tfs_notebook import ServingError
from tfs_notebook.options import Options
from tfs_notebook.settings.session import session_options

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "session.pbtxt"


def config(file: Path | None = None, **flags: Any) -> Any:
    """The ConfigProto that a command line leads to."""
    path = str(file) if file is not None else ""
    return session_options(Options(tensorflow_session_config_file=path, **flags)).config()


@pytest.mark.parametrize(
    ("flags", "intra", "inter"),
    [
        ({}, 0, 0),
        ({"session": 3}, 3, 3),
        ({"intra_op": 2}, 2, 0),
        ({"intra_op": 2, "inter_op": 4}, 2, 4),
        ({"session": 3, "inter_op": 4}, 0, 4),
    ],
)
def test_threads(flags: dict[str, int], intra: int, inter: int) -> None:
    made = config(**{f"tensorflow_{name}_parallelism": count for name, count in flags.items()})
    assert (made.intra_op_parallelism_threads, made.inter_op_parallelism_threads) == (intra, inter)


def test_a_share_of_the_gpus_memory() -> None:
    assert config(per_process_gpu_memory_fraction=0.25).gpu_options.per_process_gpu_memory_fraction == 0.25
    assert config().gpu_options.per_process_gpu_memory_fraction == 0
    assert config().gpu_options.allow_growth


def test_the_file_is_the_base_of_every_session(file: Path) -> None:
    file.write_text(
        "allow_soft_placement: false  # strict\ngpu_options { visible_device_list: '0' allow_growth: false }"
    )
    made = config(file)
    assert not made.allow_soft_placement
    assert made.gpu_options.visible_device_list == "0"
    assert not made.gpu_options.allow_growth


def test_the_flags_overwrite_the_file_and_that_is_told(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text(
        "intra_op_parallelism_threads: 3 inter_op_parallelism_threads: 5 "
        "gpu_options { per_process_gpu_memory_fraction: 0.5 }"
    )
    made = config(file, tensorflow_inter_op_parallelism=5)
    assert (made.intra_op_parallelism_threads, made.inter_op_parallelism_threads) == (0, 5)
    assert made.gpu_options.per_process_gpu_memory_fraction == 0
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: 3 is overwritten by --tensorflow_intra_op_parallelism=0, as in TensorFlow Serving",
        f"{file}: 0.5 is overwritten by --per_process_gpu_memory_fraction=0, as in TensorFlow Serving",
    ]


def test_the_file_is_looked_up_below_a_mount(file: Path) -> None:
    file.write_text("log_device_placement: true")
    options = Options(
        tensorflow_session_config_file=f"/models/{file.name}", mount="/models", model_root=str(file.parent)
    )
    assert session_options(options).config().log_device_placement


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, "NOT_FOUND", "{file}; No such file or directory"),
        (b"\xff", "NOT_FOUND", "{file}; it is not UTF-8 text"),
        (b"threads: 1", "INVALID_ARGUMENT", "Error parsing text-format tensorflow.ConfigProto: 1:1: Message type "),
    ],
)
def test_a_file_that_is_none(file: Path, content: bytes | None, code: str, message: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServingError) as caught:
        config(file)
    assert caught.value.code.name == code
    assert caught.value.message.startswith(message.format(file=file))


def test_a_server_with_a_file_and_a_change_that_is_refused(file: Path, models: Models) -> None:
    from tfs_notebook.server import start

    file.write_text("allow_soft_placement: true")
    ports = {"port": 0, "rest_api_port": 0}
    half, cnn = str(models.path("half_plus_two")), str(models.path("cnn"))
    with tfs_notebook.serve(half, tensorflow_session_config_file=str(file), **ports) as server:
        wrong = {"tensorflow_session_config_file": f"{file}.none"}
        with pytest.raises(ServingError, match=r"session\.pbtxt\.none; No such file or directory"):
            start.change(server, cnn, "", wrong)
        reply = ask(server, "POST", "/v1/models/model:predict", {"instances": [2.0]})
        assert reply.json == {"predictions": [3.0]}
