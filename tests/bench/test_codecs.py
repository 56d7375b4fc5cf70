"""Every codec through the one interface."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from bench import CODECS, codecs, plots
from bench.codecs import RATES_BPP, PillowCodec, Setting, T1dCodec, open_codec
from bench.showcase import webp_files
from tok1d_codec.errors import BadPicture


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return data.chelsea()[100:197, 150:283]


@pytest.mark.parametrize("name", CODECS[1:])
def test_points_are_whole_files_at_every_scale(name, photo):
    codec = open_codec(name)
    points = list(codec.points(photo))
    assert [p.setting for p in points] == list(codec.settings)
    assert {s.scale for s in codec.settings} == {1, 2, 4, 8}
    for point in points:
        assert point.reconstruction.shape == photo.shape and point.reconstruction.dtype == np.uint8
        assert point.rate_bpp == 8 * len(point.data) / (97 * 133)
        assert point.encode_seconds > 0 < point.decode_seconds
        error = np.abs(point.reconstruction.astype(int) - photo).mean()
        assert error < 40, point.setting


@pytest.mark.parametrize("name", CODECS[1:])
def test_higher_quality_takes_more_bytes_and_a_smaller_scale_fewer(name, photo):
    codec = open_codec(name)
    sizes = {p.setting: len(p.data) for p in codec.points(photo)}
    qualities = sorted({s.quality for s in codec.settings})
    full = [sizes[Setting(quality, 1)] for quality in qualities]
    assert full == sorted(set(full))
    assert sizes[Setting(qualities[-1], 1)] > sizes[Setting(qualities[-1], 4)]


@pytest.mark.parametrize("name", CODECS[1:])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_tiny_pictures_keep_a_side_of_one(name, shape):
    pixels = np.full((*shape, 3), 90, np.uint8)
    for point in PillowCodec(name, (50,)).points(pixels):
        assert point.reconstruction.shape == pixels.shape


def test_one_list_of_names():
    assert CODECS == ("t1d", *codecs._FORMATS) == ("t1d", *codecs._QUALITIES)
    assert set(plots.COLOURS) == set(CODECS)


def test_formats_are_what_they_say(photo):
    starts = {"jpeg": (0, b"\xff\xd8\xff"), "webp": (8, b"WEBP"), "avif": (4, b"ftypavif")}
    for name, (offset, magic) in starts.items():
        assert open_codec(name).encode(photo, Setting(20)).startswith(magic, offset)
        assert next(iter(open_codec(name).meta().values()))


def test_t1d_at_each_rate(photo, tiny_model):
    codec, pixels = T1dCodec(tiny_model), np.tile(photo, (3, 3, 1))
    points = list(codec.points(pixels))
    assert [p.setting.quality for p in points] == list(RATES_BPP)
    assert all(p.rate_bpp <= p.setting.quality for p in points)
    assert all(a.rate_bpp <= b.rate_bpp for a, b in zip(points, points[1:]))
    for point in points:
        assert point.reconstruction.shape == pixels.shape and point.reconstruction.dtype == np.uint8
    tiny = codec.encode(photo[:8, :8], Setting(0.003))
    assert len(tiny) < len(codec.encode(photo, Setting(0.1)))
    card = tiny_model.card
    assert codec.meta() == {"model": card.name, "model_sha256": card.sha256, "device": "cpu", "effort": 0}


def test_sides_that_a_format_does_not_have():
    pixels = np.zeros((1, 16384, 3), np.uint8)
    with pytest.raises(BadPicture, match="WebP has at most 16383 pixels a side, not 16384"):
        open_codec("webp").encode(pixels, Setting(20))
    assert [file.scale for file in webp_files(pixels, 10**6)] == [2, 4, 8]
    assert open_codec("jpeg").encode(pixels, Setting(20))
