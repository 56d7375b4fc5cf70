"""Lines of text are found, whatever their size and place, and get more of the bytes."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import skimage.filters
import torch
from PIL import Image, ImageDraw, ImageFont

from bitstream.container import unpack
from tok1d_codec import codec
from tok1d_codec.nn import text
from tok1d_codec.nn.text import find_text
from tok1d_codec.tensors import to_image

WORDS = "White water 1984"


def written(words: str, size: int, place: tuple[int, int], angle: float = 0) -> tuple[Image.Image, np.ndarray]:
    """-> scikit-image's cat with words in white, and the box around them, if they do not slant."""
    cat = Image.fromarray(skimage.data.chelsea())
    ink = Image.new("L", cat.size)
    ImageDraw.Draw(ink).text(place, words, 255, ImageFont.load_default(size))
    ink = ink.rotate(angle)
    cat.paste((240, 240, 230), mask=ink)
    return cat, np.array(ink.getbbox())


def around(boxes: list) -> np.ndarray:
    return np.concatenate([np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]])


def covered(boxes: list, width: int, height: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("size, place", [(14, (20, 20)), (24, (180, 250)), (40, (60, 120))])
def test_a_line_is_found_where_it_is(size, place):
    picture, box = written(WORDS, size, place)
    found = find_text(to_image(picture))
    assert np.abs(around(found) - box).max() <= 0.6 * size
    left, top, right, bottom = box
    assert covered(found, *picture.size)[top:bottom, left:right].mean() > 0.9


def test_boxes_follow_a_line_that_slants():
    picture, box = written(WORDS, 28, (110, 130), angle=25)
    found = find_text(to_image(picture))
    left, top, right, bottom = around(found)
    assert np.abs(np.array([left, top, right, bottom]) - box).max() <= 20
    assert 0.2 < covered(found, *picture.size)[top:bottom, left:right].mean() < 0.7


def test_a_large_picture_is_searched_when_smaller():
    picture, box = written(WORDS, 14, (180, 250))
    picture = picture.resize((451 * 4, 300 * 4))
    assert 451 * 4 * 300 * 4 > text.AREA
    assert np.abs(around(find_text(to_image(picture))) / 4 - box).max() <= 10


def test_lines_of_a_page_are_found():
    page = skimage.data.page()
    found = find_text(to_image(np.repeat(page[..., None], 3, axis=2)))
    ink = page < skimage.filters.threshold_local(page, 51, offset=20)
    mask = covered(found, 384, 191)
    assert ink[mask].sum() > 0.8 * ink.sum() and mask.mean() < 0.8


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_other_things_are_no_text(name):
    assert find_text(to_image(getattr(skimage.data, name)())) == []


def test_letters_as_high_as_the_picture_are_left_alone(monkeypatch):
    picture = to_image(written("Wh", 180, (60, 40))[0])
    assert find_text(picture) == []
    monkeypatch.setattr(text, "TALL", 1)
    monkeypatch.setattr(text, "LEGIBLE", 1000)
    assert find_text(picture)


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (40, 31), (1, 40_000), (3000, 33), (1601, 1541)])
def test_boxes_stay_in_pictures_of_any_size(size, monkeypatch):
    assert find_text(torch.full((1, 3, *size), 0.5)) == []
    monkeypatch.setattr(text, "TALL", 10)
    monkeypatch.setattr(text, "LEGIBLE", 1e6)
    monkeypatch.setattr(text, "SMALLEST", 1)
    monkeypatch.setattr(text, "_network", lambda: lambda image: torch.ones(1, *image.shape[-2:]))
    boxes = find_text(torch.zeros(1, 3, *size))
    assert around(boxes).tolist() == [0, 0, size[1], size[0]] and covered(boxes, size[1], size[0]).all()
    assert all(left < right and top < bottom for left, top, right, bottom in boxes)


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
    assert there > less and abs(everywhere - still) <= 0.1 * still
