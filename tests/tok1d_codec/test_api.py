"""The Python API and the Pillow plugin, on a tiny random model."""

from __future__ import annotations

import importlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tok1d_codec
from bitstream.container import unpack
from bitstream.errors import LimitExceeded, Truncated
from tok1d_codec import api, codec
from tok1d_codec.errors import BadPicture, PartialPictureWarning
from tok1d_codec.models import cards, store


@pytest.fixture
def installed(tiny_model, monkeypatch):
    """The tiny model under the name t1d, the only one there is."""
    monkeypatch.setattr(cards, "CARDS", (tiny_model.card,))
    monkeypatch.setattr(api, "shared_model", lambda name, device="auto": tiny_model)
    return tiny_model


@pytest.fixture
def plugin(monkeypatch):
    """Pillow with the plugin, and without it again afterwards: other tests ask Pillow what is a picture."""
    Image.init()  # else the formats that Pillow has not yet met were forgotten with it
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    importlib.reload(importlib.import_module("tok1d_codec.pillow"))


def kinds(photo: np.ndarray) -> dict:
    chw = torch.from_numpy(photo).permute(2, 0, 1)
    return {"numpy": photo, "Pillow": Image.fromarray(photo), "uint8": chw, "float": chw / 255}


@pytest.mark.parametrize("kind", ["numpy", "Pillow", "uint8", "float"])
def test_every_kind_of_picture_gives_the_same_file(installed, photo, kind):
    data = tok1d_codec.encode(kinds(photo)[kind], installed, size=50)
    assert data == codec.encode(photo, installed, size=50, effort=1)
    picture = tok1d_codec.decode(data)
    assert picture.shape == photo.shape and np.array_equal(picture, codec.decode(data, installed))


@pytest.mark.parametrize("batch", [
    lambda p: [p, p[:50]], lambda p: np.stack([p, p[::-1]]),
    lambda p: torch.from_numpy(np.stack([p, p[::-1]])).permute(0, 3, 1, 2),
])  # fmt: skip
def test_batches_are_lists(installed, photo, batch):
    files = tok1d_codec.encode(batch(photo), installed, levels=2)
    assert len(files) == 2 and files[0] == codec.encode(photo, installed, 2, effort=1) != files[1]
    assert [p.ndim for p in tok1d_codec.decode(files)] == [3, 3]
    assert len(tok1d_codec.tokenize(batch(photo), installed)) == 2


def test_small_pictures_get_effort(installed, photo, monkeypatch):
    monkeypatch.setattr(codec, "STEPS", (0, 8))  # a network of random weights needs more than one
    plain, once = (codec.encode(photo, installed, size=50, effort=effort) for effort in (0, 1))
    assert tok1d_codec.encode(photo, installed, size=50) == once != plain
    assert tok1d_codec.encode(photo, installed, size=50, effort=0) == plain
    monkeypatch.setattr("tok1d_codec.effort.QUICK_SIDE", 159)
    assert tok1d_codec.encode(photo, installed, size=50) == plain


def test_tokens_are_those_of_the_file(installed, photo):
    for levels in (2, 3):
        tokens = codec.tokenize(photo, installed, levels)
        container = unpack(tok1d_codec.encode(photo, installed, levels=levels, effort=0))
        assert [t.dtype for t in tokens] == [np.int64] * levels
        held = codec.read_tokens(container, installed.card, installed.prior).levels
        assert all(np.array_equal(a, b) for a, b in zip(tokens, held, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(tokens, tok1d_codec.tokenize(photo, installed), strict=True))


def test_a_pillow_image_is_treated_as_a_file_is(installed, photo):
    clear = Image.fromarray(photo).convert("RGBA")
    clear.putalpha(0)
    white = tok1d_codec.encode(np.full_like(photo, 255), installed, levels=3)
    assert tok1d_codec.encode(clear, installed, levels=3) == white
    turned = Image.fromarray(photo)
    turned.getexif()[0x0112] = 6
    assert tok1d_codec.decode(tok1d_codec.encode(turned, installed)).shape == (160, 96, 3)
    assert turned.size == (160, 96)  # the caller's image is left alone


def test_tokens_become_the_picture_of_their_file(installed, photo):
    for levels in (1, 2, 3):
        tokens = tok1d_codec.tokenize(photo, installed, levels=levels)
        picture = tok1d_codec.detokenize(tokens, 96, 160, installed)
        assert np.array_equal(picture, tok1d_codec.decode(tok1d_codec.encode(photo, installed, levels=levels, effort=0)))
    absent = [tokens[0], np.where(np.arange(tokens[1].size).reshape(tokens[1].shape) % 2, -1, tokens[1])]
    assert not np.array_equal(tok1d_codec.detokenize(absent, 96, 160, installed), picture)
    for levels in (0, 4):
        with pytest.raises(ValueError, match="has 1 to 3"):
            tok1d_codec.tokenize(photo, installed, levels=levels)


@pytest.mark.parametrize("wrong, said", [
    (lambda t: t[1:], "shapes"), (lambda t: [], "shapes"), (lambda t: [*t, t[-1]], "shapes"),
    (lambda t: [t[0] + 99, *t[1:]], "up to 15"), (lambda t: [t[0] - 99, *t[1:]], "up to 15"),
    (lambda t: [t[0].astype(float), *t[1:]], "float64"),
])  # fmt: skip
def test_what_are_no_tokens_is_refused(installed, photo, wrong, said):
    tokens = tok1d_codec.tokenize(photo, installed)
    with pytest.raises(ValueError, match=said):
        tok1d_codec.detokenize(wrong(tokens), 96, 160, installed)


def test_decode_takes_names_limits_and_the_beginning_of_a_file(installed, photo):
    data = tok1d_codec.encode(photo, installed, levels=3)
    assert np.array_equal(tok1d_codec.decode(data, "t1d"), tok1d_codec.decode(memoryview(data), installed))
    with pytest.raises(LimitExceeded):
        tok1d_codec.decode(data, max_pixels=96 * 160 - 1)
    with pytest.raises(Truncated):
        tok1d_codec.decode(data[:-2])
    with pytest.warns(PartialPictureWarning, match="2 of 3 levels are whole"):
        parts = tok1d_codec.decode([data[:-2], data], partial=True)
    with pytest.warns(PartialPictureWarning):
        tok1d_codec.decode(data[:-1] + bytes([data[-1] ^ 1]), partial=True)
    assert np.array_equal(parts[0], codec.decode_partial(data[:-2], installed)[0])
    assert np.array_equal(parts[1], tok1d_codec.decode(data))
    for wrong in ("out.t1d", Path("out.t1d"), None, 5):
        with pytest.raises(TypeError, match="takes the bytes of a file"):
            tok1d_codec.decode(wrong)
    assert issubclass(Truncated, tok1d_codec.T1DError)


def test_a_model_is_loaded_once_whatever_it_is_called(tiny_model, photo, monkeypatch):
    monkeypatch.setattr(cards, "CARDS", (replace(tiny_model.card, name="t1d-9"),))
    loaded = []
    monkeypatch.setattr(store, "load_model", lambda name, device: loaded.append((name, device)) or tiny_model)
    store._load_once.cache_clear()
    try:
        for name, device in (("t1d", "auto"), ("t1d-9", "cpu"), ("t1d", "cpu")):
            assert store.shared_model(name, device) is tiny_model
    finally:
        store._load_once.cache_clear()
    assert loaded[0][0] == "t1d-9" and len(loaded) == len({device for _, device in loaded})


@pytest.mark.parametrize("scale, offset", [(2.0, -1.0), (255.0, 0.0), (1.0, float("nan"))])
def test_floats_of_another_range_are_refused(installed, photo, scale, offset):
    picture = kinds(photo)["float"] * scale + offset
    with pytest.raises(BadPicture, match="give one in"):
        tok1d_codec.encode(picture, installed)


def test_a_damaged_image_is_a_bad_picture_whatever_pillow_raises(installed, photo, monkeypatch):
    def broken(self):
        raise KeyError("tile")

    image = Image.fromarray(photo)
    monkeypatch.setattr(Image.Image, "load", broken)
    with pytest.raises(BadPicture, match="damaged"):
        tok1d_codec.encode(image, installed)


@pytest.mark.parametrize("wrong", [
    "cat.png", None, np.zeros((4, 4)), np.zeros(5), torch.zeros(4, 4), [[np.zeros((4, 4, 3), np.uint8)]],
])  # fmt: skip
def test_other_things_are_refused(installed, wrong):
    with pytest.raises(BadPicture):
        tok1d_codec.encode(wrong, installed)


def test_pillow_writes_and_reads_t1d(plugin, installed, photo, tmp_path):
    path = tmp_path / "photo.t1d"
    Image.fromarray(photo).save(path, size=60)
    assert path.read_bytes() == codec.encode(photo, installed, size=60, effort=1)
    with Image.open(path) as image:
        file = image.fp
        assert (image.format, image.size, image.mode) == ("T1D", (160, 96), "RGB")
        assert np.array_equal(np.asarray(image), codec.decode(path.read_bytes(), installed))
        assert file.closed
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "T1D", levels=1)
    assert np.asarray(Image.open(buffer)).shape == photo.shape


def test_pillow_refuses_what_is_no_t1d_file(plugin, installed, photo):
    for data in (b"\xd1\xd2", b"\xd1\xd9" + bytes(30), b"\xd1\xd2\x00" + bytes(30)):
        with pytest.raises(OSError):
            Image.open(io.BytesIO(data))
