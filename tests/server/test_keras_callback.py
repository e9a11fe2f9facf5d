"""A model that is served while it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

import tfs_notebook
from tfs_notebook import Serve, ServingError
from tfs_notebook.engine.events import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]


def line() -> Any:
    """A model that learns y = 3 x."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    net.compile("sgd", "mse")
    return net


@pytest.fixture
def server() -> Iterator[Server]:
    with tfs_notebook.serve({"line": line()}, **ANY) as server:
        yield server


def served(server: Server) -> int:
    model = next(model for model in server.status().models if model.name == "line")
    return max(version.number for version in model.versions if version.state is State.AVAILABLE)


def test_the_last_epoch_is_served_when_fit_returns(server: Server) -> None:
    net = line()
    net.fit(X, 3 * X, epochs=6, verbose=0, callbacks=[Serve("line")])
    assert 2 <= served(server) <= 7
    np.testing.assert_allclose(server.predict("line", X).outputs["output_0"], net.predict(X, verbose=0), rtol=1e-5)


def test_training_is_as_without_it(server: Server) -> None:
    with_it = line().fit(X, 3 * X, epochs=4, verbose=0, callbacks=[Serve("line", server=server)])
    assert with_it.history["loss"] == line().fit(X, 3 * X, epochs=4, verbose=0).history["loss"]


def test_every_so_many_epochs_and_a_label(server: Server) -> None:
    net = line()
    net.fit(X, 3 * X, epochs=5, verbose=0, callbacks=[Serve("line", every=4, label="training")])
    assert served(server) == 3, "after the fourth epoch, and at the end"
    answer = server.predict("line", X, label="training")
    np.testing.assert_allclose(answer.outputs["output_0"], net.predict(X, verbose=0), rtol=1e-5)


def test_what_cannot_be_served_does_not_end_the_training(server: Server) -> None:
    net = line()
    callback = Serve("line")
    server.stop()
    with pytest.warns(UserWarning, match="An epoch of line is not served"):
        history = net.fit(X, 3 * X, epochs=2, verbose=0, callbacks=[callback])
    assert len(history.history["loss"]) == 2


def test_a_number_that_makes_no_sense(server: Server) -> None:
    with pytest.raises(ServingError, match="every=0"):
        Serve("line", every=0, server=server)
