from __future__ import annotations

import numpy as np
import pytest

from tok1d_codec.image.geometry import crop, pad_to_grid

SIZES = [(1, 1), (1, 70), (5, 7), (31, 33), (32, 32), (64, 96), (65, 3)]


def mirrored(length: int, size: int) -> list[int]:
    """Where each of `length` samples comes from: 0 1 2 2 1 0 0 1 2 ... for a picture of size 3."""
    there_and_back = [*range(size), *reversed(range(size))]
    return [there_and_back[i % (2 * size)] for i in range(length)]


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("multiple", [1, 8, 32, 256])
def test_padding_is_the_mirror_image_to_right_and_bottom(height, width, multiple):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    padded = pad_to_grid(pixels, multiple)
    assert padded.shape == (-(-height // multiple) * multiple, -(-width // multiple) * multiple, 3)
    assert padded.dtype == np.uint8
    expected = pixels[mirrored(padded.shape[0], height)][:, mirrored(padded.shape[1], width)]
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(crop(padded, height, width), pixels)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3)), *(np.zeros(shape, np.uint8) for shape in ((4, 4), (4, 4, 4), (0, 4, 3)))],
    ids=["float", "grey", "four channels", "empty"],
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match="expected uint8"):
        pad_to_grid(pixels, 32)


def test_impossible_numbers_are_refused():
    pixels = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="at least 1"):
        pad_to_grid(pixels, 0)
    for height, width in ((5, 4), (4, 5), (0, 4)):
        with pytest.raises(ValueError, match="cannot crop"):
            crop(pixels, height, width)
