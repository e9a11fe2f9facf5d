"""What TensorFlow's C++ writes while others' requests are refused stays out of the cells."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tfs_notebook.tensorflow_log import ERRORS, ErrorsOnly, find_level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models

WARNINGS = 1

PROGRAM = """
import sys
import numpy, tensorflow as tf
import tfs_notebook

def refuse():
    try:
        tf.gather(tf.constant([1.0, 2.0]), [5])
    except tf.errors.InvalidArgumentError:
        print("refused", file=sys.stderr, flush=True)

with tfs_notebook.serve(sys.argv[1], port=0, rest_api_port=0):
    print("serving", file=sys.stderr, flush=True)
    refuse()
print("stopped", file=sys.stderr, flush=True)
refuse()
"""


@pytest.fixture
def level() -> Iterator[list[int]]:
    """TensorFlow's log level as it was, put back after the test."""
    found = find_level()
    assert found is not None, "this TensorFlow has no function that sets the level: warnings appear in cells"
    before = found.get()
    yield [before]
    found.set(before)


@pytest.mark.usefixtures("level")
def test_the_level_is_put_back_when_the_last_one_ends() -> None:
    found, errors_only = find_level(), ErrorsOnly()
    assert found is not None
    found.set(WARNINGS)
    first, second = errors_only.begin(), errors_only.begin()
    assert found.get() == ERRORS
    first()
    first()
    assert found.get() == ERRORS
    second()
    assert found.get() == WARNINGS


@pytest.mark.usefixtures("level")
def test_a_level_that_is_quieter_stays() -> None:
    found, errors_only = find_level(), ErrorsOnly()
    assert found is not None
    found.set(ERRORS + 1)
    errors_only.begin()()
    assert found.get() == ERRORS + 1


def test_tensorflow_warns_again_once_the_server_has_stopped(models: Models) -> None:
    command = ["env", "TF_CPP_MIN_LOG_LEVEL=0", sys.executable, "-c", PROGRAM, str(models.path("half_plus_two"))]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    while_serving, after = written.partition("serving\n")[2].split("stopped\n")
    assert while_serving == "refused\n"
    assert "is not in [0, 2)" in after
