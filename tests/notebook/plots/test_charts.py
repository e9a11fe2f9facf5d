from __future__ import annotations

import numpy as np

from tfs_notebook.notebook.plots.choose import html
from tfs_notebook.notebook.plots.pictures import classes_of, overlaid
from tfs_notebook.notebook.plots.shown import Shown


def test_a_number_stands_at_its_place_among_all() -> None:
    values = np.array([0.0, 10.0, 5.0])
    page = html(Shown("m", {"a": np.arange(3.0), "b": np.arange(3)}, {"price": values[:, None]}))
    assert "<b>price</b>: 3 values from 0 to 10, mean 5" in page
    assert [page.count(f'cx="{place}"') for place in ("3.0", "157.0", "80.0")] == [1, 1, 1]
    assert "a 2, b 2" in page
    assert "how often" in html(Shown("m", {"x": np.zeros((50, 3))}, {"y": np.arange(50.0)}))
    assert "2 not finite" in html(Shown("m", {"x": np.zeros(4)}, {"y": np.array([np.nan, 1, np.inf, 2])}))


def test_with_truth_there_is_a_scatter_plot_and_the_error() -> None:
    values = np.arange(40.0)
    page = html(Shown("m", {"x": np.zeros((40, 3))}, {"y": values}, truth=values + 1))
    assert "mean absolute error 1 · R² 0.992" in page
    assert page.count('r="2.5"') == 40


def test_series_are_lines() -> None:
    asked, answered = np.random.default_rng(0).random((20, 50, 2)), np.zeros((20, 12))
    page = html(Shown("m", {"x": asked}, {"y": answered}, truth=answered))
    assert page.count("<polyline") == 3 * 12
    assert "dashed: what is true" in page
    assert "and 8 more" in page
    assert "<polyline" in html(Shown("m", {"x": np.zeros((2, 3))}, {"y": answered[:2]}, plot="lines"))


def test_texts_stand_beside_their_scores_and_long_ones_are_clipped() -> None:
    texts = np.array([b"short", "né ".encode() * 200], dtype=object)
    page = html(Shown("m", {"text": texts}, {"y": np.array([[0.9, 0.1], [0.2, 0.8]])}, ("bad", "good")))
    assert ">short<" in page
    assert "né né" in page
    assert "…" in page
    assert "0.900&nbsp; bad" in page


def test_masks_lie_over_the_image_and_other_images_beside_it() -> None:
    images = np.zeros((3, 16, 16, 1), np.float32)
    mask = np.zeros((3, 16, 16, 1), np.float32)
    mask[:, 4:8] = 0.97
    for answered in (mask, mask > 0.5, (mask[..., 0] > 0.5).astype(np.int32), np.concatenate([1 - mask, mask], axis=3)):
        page = html(Shown("m", {"x": images}, {"y": answered}))
        assert page.count("<img") == 6
    classes = classes_of(mask)
    assert classes is not None
    assert overlaid(np.full((16, 16, 1), 100, np.uint8), classes[0])[[0, 5], 0].tolist() == [[100] * 3, [77, 116, 180]]
    grey = np.linspace(0, 1, 3 * 256).reshape(3, 16, 16, 1)
    assert classes_of(grey) is None
    assert html(Shown("m", {"x": images}, {"y": grey})).count("<img") == 6


def test_what_does_not_suit_is_said_and_a_table_shown() -> None:
    page = html(
        Shown("m", {"x": np.zeros((2, 3))}, {"y": np.zeros((2, 5)), "z": np.array([b"a", b"\xff"])}, plot="lines")
    )
    assert "--plot lines does not suit this signature" in page
    assert "float64[2, 5]" in page
    assert "1 bytes" in page
