"""Makes the README's pictures in a real browser: `make pictures`.

The console under load while a canary is tried, and what a model answers to handwritten digits.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from playwright.sync_api import sync_playwright
from sklearn.datasets import load_digits

import tfs_notebook
from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.notebook.predict.answer import View
from tfs_notebook.notebook.predict.client import ask
from tfs_notebook.notebook.predict.request import Question

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tfs_notebook import Server

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
SECONDS = 40
"""How long requests run before the console is taken: its sparklines show a minute."""
TRAINED = 1200


def trained(epochs: int) -> Any:
    """A classifier of scikit-learn's digits, float[?, 8, 8, 1] → ten probabilities."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy")
    images, digits = data()
    net.fit(images[:TRAINED], digits[:TRAINED], epochs=epochs, verbose=0)
    return net


def data() -> tuple[np.ndarray, np.ndarray]:
    """float32[1797, 8, 8, 1] from 0 to 1, and the digits."""
    digits = load_digits()
    return (digits.images / 16).astype(np.float32)[..., np.newaxis], digits.target


def ask_on(server: Server, stop: threading.Event) -> None:
    """Ask the stable version, and the canary every third time."""
    body = json.dumps({"instances": data()[0][:1].tolist()}).encode()
    number = 0
    while not stop.wait(0.01 + 0.008 * np.sin(number / 60)):
        number += 1
        label = "canary" if number % 3 == 0 else "stable"
        url = f"{server.rest_url}/v1/models/digits/labels/{label}:predict"
        urllib.request.urlopen(urllib.request.Request(url, body)).read()  # noqa: S310 - our own address


def take_console(server: Server, browser: Browser) -> None:
    """The models of the console, with one opened."""
    page = browser.new_page(viewport={"width": 860, "height": 330}, device_scale_factor=1)
    page.goto(str(server.console_url))
    page.get_by_text("digits", exact=True).first.wait_for()
    time.sleep(SECONDS)
    page.screenshot(path=HERE / "console.png", clip={"x": 10, "y": 10, "width": 840, "height": 215})


def take_predictions(server: Server, browser: Browser) -> None:
    """Twelve answers, the wrong and the least sure first."""
    images, digits = data()
    question = Question(ModelSpec("digits", None, "canary"), DEFAULT_SIGNATURE, None, images[TRAINED:])
    answer = replace(ask(question, server, "local"), view=View((), digits[TRAINED:], "auto"))
    page = browser.new_page(viewport={"width": 830, "height": 308})
    page.set_content(f"<body style='font:13px system-ui;margin:12px'>{answer._repr_mimebundle_()['text/html']}")
    page.screenshot(path=HERE / "predictions.png")


def main() -> None:
    """Serve, ask, and take both."""
    options: dict[str, Any] = {"rest_api_port": 0, "port": 0, "console_port": -1}
    with tfs_notebook.serve({"digits": trained(3), "baseline": trained(1)}, **options) as server:
        server.serve_models({"digits": trained(12)}, label="canary")
        server.edit(lambda config: config.model_config_list.config[0].version_labels.update({"stable": 1}))
        stop = threading.Event()
        asking = threading.Thread(target=ask_on, args=(server, stop))
        asking.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
                take_console(server, browser)
                take_predictions(server, browser)
                browser.close()
        finally:
            stop.set()
            asking.join()


if __name__ == "__main__":
    main()
