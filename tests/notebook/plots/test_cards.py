from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from tfs_notebook.notebook.plots.choose import html, text
from tfs_notebook.notebook.plots.shown import Shown

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>&'


def scores(rows: int, classes: int = 10) -> np.ndarray:
    """float[rows, classes]: row i is for class i % classes, and surer the higher i."""
    sure = np.linspace(0.4, 0.95, rows)
    values = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    values[np.arange(rows), np.arange(rows) % classes] = sure
    return values.astype(np.float32)


def shown(rows: int, **changes: object) -> Shown:
    images = np.random.default_rng(0).random((rows, 28, 28, 1), dtype=np.float32)
    given: dict[str, object] = {"inputs": {"x": images}, "outputs": {"y": scores(rows)}}
    return Shown("m · version 1", **(given | changes))  # type: ignore[arg-type]


def order(page: str) -> list[int]:
    return [int(number) for number in re.findall(r">#(\d+)", page)]


def test_a_batch_shows_the_least_sure_first_and_says_how_many_more() -> None:
    page = html(shown(360))
    assert order(page) == list(range(24))
    assert "360 examples, least sure first" in page
    assert "and 336 more" in page
    assert page.count("data:image/png;base64,") == 24


def test_a_few_stay_in_their_order() -> None:
    turned = scores(3)[::-1]
    page = html(shown(3, outputs={"y": turned}, classes=tuple("abcdefghij")))
    assert order(page) == [0, 1, 2]
    assert "more" not in page
    assert re.findall(r"<b>(\d\.\d+)&nbsp; (.)</b>", page) == [("0.950", "c"), ("0.675", "b"), ("0.400", "a")]


def test_with_truth_what_is_wrong_comes_first_in_a_frame() -> None:
    truth = np.arange(30) % 10
    truth[[7, 20]] = 1
    page = html(shown(30, truth=truth))
    assert order(page)[:3] == [7, 20, 0]
    assert page.count("✗ is 1") == page.count("2px solid #e5484d") == 2
    assert "accuracy 0.933 · 28 of 30 right" in page
    assert "taken for another: 1 → 0 (1), 1 → 7 (1)" in page
    assert "rows: what is true" in page
    assert "accuracy 0.933" in text(shown(30, truth=truth))


@pytest.mark.parametrize(
    ("outputs", "best"),
    [
        (np.array([[9.0, 1.0, -3.0]] * 2, np.float32), "1.000"),
        (np.array([[0.9, 0.8, 0.1]] * 2, np.float32), "0.900"),
        (np.array([[0.25], [0.25]], np.float32), "0.750"),
    ],
)
def test_logits_several_classes_and_one_probability_are_scores(outputs: np.ndarray, best: str) -> None:
    page = html(shown(2, outputs={"y": outputs}))
    assert f"<b>{best}&nbsp; 0</b>" in page
    assert ("softmax of the outputs" in page) == (outputs[0, 0] == 9)


def test_images_are_known_by_their_shape() -> None:
    values = scores(2)
    for shape in ((2, 28, 28, 1), (2, 3, 32, 32), (2, 8, 8), (2, 64), (2, 784), (2, 300, 200, 3)):
        assert html(shown(2, inputs={"x": np.zeros(shape)}, outputs={"y": values})).count("<img") == 2
    for shape in ((2, 10), (2, 30, 3), (2, 100)):
        assert "<img" not in html(shown(2, inputs={"x": np.zeros(shape)}, outputs={"y": values}))
    jpeg = np.array([b"\xff\xd8\xff" + bytes(50)] * 2, dtype=object)
    assert html(shown(2, inputs={"x": jpeg}, outputs={"y": values})).count("<img") == 2


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("plot", ["auto", "table"])
def test_hostile_names_and_texts_are_text(plot: str) -> None:
    words = np.array([HOSTILE.encode()] * 12, dtype=object)
    for inputs in ({HOSTILE: words}, {HOSTILE: np.zeros((12, 3))}, {"x": np.zeros((12, 8, 8))}):
        answer = Shown(HOSTILE, inputs, {HOSTILE: scores(12)}, (HOSTILE,) * 10, (np.arange(12) + 1) % 10, plot=plot)
        found = Tags(html(answer))
        assert found.tags <= {"div", "span", "b", "br", "img", "table", "tr", "td", "th", "svg", "polyline"}
        assert not [name for name in found.attributes if name.startswith("on")]


def test_drawing_is_quick_and_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 224, 224, 3), dtype=np.uint8)
    large = Shown("m", {"x": noise}, {"y": scores(40, 1000)}, truth=np.zeros(40, np.int64))
    digits = shown(360, truth=np.arange(360) % 10)
    html(digits)
    spent = []
    for _ in range(5):
        started = time.thread_time()
        html(digits)
        spent.append(time.thread_time() - started)
    assert min(spent) < 0.1, spent
    for page in (html(large), html(digits)):
        assert len(page.encode()) < 200_000
        assert "<style" not in page
        assert "<script" not in page
