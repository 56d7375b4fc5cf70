"""Lines of text are found, whatever their size and place, and get more of the bytes."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageDraw, ImageFont

from bitstream.container import unpack
from tok1d_codec import codec
from tok1d_codec.nn import text
from tok1d_codec.nn.text import find_text

WORDS = "White water 1984"


def as_image(pixels: np.ndarray | Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


def written(words: str, size: int, place: tuple[int, int], angle: float = 0) -> tuple[Image.Image, np.ndarray]:
    """-> scikit-image's cat with words in white, and the box around them, if they do not slant."""
    cat = Image.fromarray(skimage.data.chelsea())
    ink = Image.new("L", cat.size)
    ImageDraw.Draw(ink).text(place, words, 255, ImageFont.load_default(size))
    ink = ink.rotate(angle)
    cat.paste((240, 240, 230), mask=ink)
    return cat, np.array(ink.getbbox())


def inside(point: tuple[float, float], boxes: list) -> bool:
    return any(left <= point[0] < right and top <= point[1] < bottom for left, top, right, bottom in boxes)


@pytest.mark.parametrize("size, place", [(14, (20, 20)), (24, (180, 250)), (40, (60, 120))])
def test_a_line_is_found_where_it_is(size, place):
    picture, box = written(WORDS, size, place)
    found = find_text(as_image(picture))
    left, top, right, bottom = np.concatenate([np.min(found, 0)[:2], np.max(found, 0)[2:]])
    assert np.abs(np.array([left, top, right, bottom]) - box).max() <= 0.6 * size
    assert inside(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), found)


def test_a_line_that_slants_is_found():
    picture, _ = written(WORDS, 28, (110, 130), angle=25)
    (found,) = find_text(as_image(picture))
    assert inside((225, 150), [found]) and found[2] - found[0] > 150 and found[3] - found[1] > 60


def test_a_large_picture_is_searched_when_smaller():
    picture, box = written(WORDS, 24, (180, 250))
    picture = picture.resize((451 * 4, 300 * 4))
    assert 451 * 4 * 300 * 4 > text.AREA
    (found,) = find_text(as_image(picture))
    assert np.abs(np.array(found) / 4 - box).max() <= 15


def test_lines_of_a_page_lie_apart():
    page = np.repeat(skimage.data.page()[..., None], 3, axis=2)
    found = find_text(as_image(page))
    assert len(found) == 7
    assert all(0 <= left < right <= 384 and 0 <= top < bottom <= 191 for left, top, right, bottom in found)


@pytest.mark.parametrize("name", ["chelsea", "coffee", "cat"])
def test_other_things_are_no_text(name):
    pixels = skimage.data.chelsea()[::-1] if name == "cat" else getattr(skimage.data, name)()
    assert find_text(as_image(pixels)) == []


def test_letters_as_high_as_the_picture_are_left_alone():
    assert find_text(as_image(written("Wh", 180, (60, 40))[0])) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (40, 31), (1, 40_000), (3000, 33), (1600, 1540)])
def test_pictures_of_any_size_are_searched(size):
    assert find_text(torch.full((1, 3, *size), 0.5)) == []


def test_text_gets_more_of_the_same_bytes(tiny_model):
    picture, (left, top, right, bottom) = written(WORDS, 24, (180, 250))
    pixels = np.array(picture)
    line = (slice(top // 32, -(-bottom // 32)), slice(left // 32, -(-right // 32)))  # in patches

    def kept(**options) -> tuple[int, int]:
        """-> tokens after the first level, in all and where the line is."""
        data = codec.encode(pixels, tiny_model, size=200, **options)
        levels = codec.read_tokens(unpack(data), tiny_model.card, tiny_model.prior).levels[1:]
        return sum((t >= 0).sum() for t in levels), sum((t[line] >= 0).sum() for t in levels)

    (everywhere, there), (still, less) = kept(), kept(text=False)
    assert there > less and abs(everywhere - still) <= 4
