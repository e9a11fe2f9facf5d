"""`assets.extra/saved_model_config.pb`: what a SavedModel says of its own session, seen in the graph that runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.client.pywrap_tf_session import (
    TF_GetBuffer,
    TF_NewBuffer,
    TF_NewBufferFromString,
    TF_SessionRun_wrapper,
)

from tfs_notebook.engine.saved_model.loader import SessionOptions, load_saved_model
from tfs_notebook.engine.saved_model.session_overrides import OVERRIDES, saved_model_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models

OFF = "graph_options { rewrite_options { disable_meta_optimizer: true } }"


@pytest.fixture
def version(models: Models, tmp_path: Path) -> Path:
    """x/2 + 2, in a function that the optimizer puts into the graph."""
    return models.copy("half_plus_two", tmp_path)


def write(version: Path, content: bytes) -> Path:
    path = version / OVERRIDES
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def overrides(**fields: Any) -> bytes:
    return bytes(saved_model_config()(session_overrides=fields).SerializeToString())


def is_optimized(version: Path, base_config: str = "") -> bool:
    """Whether what runs of the loaded version is not the graph as it was written."""
    model = load_saved_model(version, SessionOptions(base_config=base_config))
    try:
        signature = model.signatures["serving_default"]
        assert model.run(signature, {"x": np.float32([1.0])}, None, None)["y"] == [2.5]
        x, y = (model._runner.tensor(side.name) for side in (signature.inputs["x"], signature.outputs["y"]))
        options = TF_NewBufferFromString(tf.compat.v1.RunOptions(output_partition_graphs=True).SerializeToString())
        written = TF_NewBuffer()
        TF_SessionRun_wrapper(model._runner._session._session, options, {x: np.float32([1.0])}, [y], [], written)
        metadata = tf.compat.v1.RunMetadata.FromString(TF_GetBuffer(written))
        return "AddV2" in {node.op for graph in metadata.partition_graphs for node in graph.node}
    finally:
        model.close()


def test_a_version_can_switch_the_optimizer_off(version: Path) -> None:
    assert is_optimized(version)
    write(version, overrides(disable_meta_optimizer=True))
    assert not is_optimized(version)


def test_its_word_counts_more_than_the_session_config_file(version: Path) -> None:
    assert not is_optimized(version, OFF)
    write(version, overrides(disable_meta_optimizer=False))
    assert is_optimized(version, OFF)


@pytest.mark.parametrize("content", [b"", b"\x18\x01"], ids=["empty", "critical"])
def test_without_overrides_nothing_changes(version: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    write(version, content)
    assert is_optimized(version)
    assert not is_optimized(version, OFF)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_rewriters_that_tensorflow_lacks_are_told(version: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(version, overrides(batch_op_rewriter_config=b"\x0a\x00", disable_meta_optimizer=True))
    assert not is_optimized(version)
    assert f"{path}: batch_op_rewriter_config has no effect: TensorFlow has no such rewriter" in caplog.messages


def test_a_file_that_cannot_be_used_is_told_and_the_version_loads(
    version: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(version, b"no message")
    assert is_optimized(version)
    path.unlink()
    path.mkdir()
    assert is_optimized(version)
    told = [message for message in caplog.messages if str(path) in message]
    assert told == [f"{path} is not used: it is no SavedModelConfig", f"{path} is not used: Is a directory"]
