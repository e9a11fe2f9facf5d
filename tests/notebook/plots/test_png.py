from __future__ import annotations

import io

import numpy as np
import pytest

from tfs_notebook.notebook.plots.png import as_bytes, encode, encode_within, shrunk


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_holds_the_pixels(channels: int) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    read = np.asarray(Image.open(io.BytesIO(encode(pixels))))
    assert read.reshape(5, 7, channels).tolist() == pixels.tolist()


def test_large_pictures_become_coarser_until_they_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 300, 3), dtype=np.uint8)
    assert len(encode_within(noise, 4_000)) <= 4_000
    assert shrunk(noise, 96).shape == (83, 50, 3)
    assert abs(int(shrunk(noise, 16).mean()) - 127) < 3
    small = noise[:28, :28]
    assert encode_within(small, 100_000) == encode(small)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0.0, 1.0], [0, 255]),
        ([0.0, 0.5], [0, 127]),
        ([-1.0, 0.0], [0, 127]),
        ([0.0, 204.0], [0, 204]),
        ([0.0, 16.0], [0, 255]),
        ([-3.0, 5.0], [0, 255]),
        ([2.0, 2.0], [0, 0]),
        ([np.nan, 1.0], [0, 255]),
    ],
)
def test_brightness_follows_the_range_that_images_usually_have(values: list[float], drawn: list[int]) -> None:
    assert as_bytes(np.array(values)).tolist() == drawn
    assert as_bytes(np.array([3, 200], np.uint8)).tolist() == [3, 200]
