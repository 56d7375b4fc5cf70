"""The bundled models: what they have written once must mean the same for ever."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from bitstream.container import unpack
from bitstream.counts import CountsModel, Group
from tok1d_codec import codec
from tok1d_codec.models.cards import CARDS, card_by_id, card_by_name
from tok1d_codec.models.store import load_model, load_prior, read_weights, weight_path
from tok1d_codec.train.model_files import lean

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.t1d"))


class Watched:
    """A prior whose counts are hashed as they are given, as little-endian 32-bit integers."""

    def __init__(self, prior: CountsModel) -> None:
        self.prior, self.codebook_sizes, self.groups = prior, prior.codebook_sizes, prior.groups
        self.digest = hashlib.sha256()

    def counts(self, known: list[np.ndarray], group: Group) -> np.ndarray:
        counts = self.prior.counts(known, group)
        self.digest.update(counts.astype("<i4").tobytes())
        return counts


def _facts(file: Path) -> dict:
    return json.loads(file.with_suffix(".json").read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_golden_file_holds_the_tokens_it_always_held(file):
    container = unpack(file.read_bytes())
    card = card_by_id(container.header.model_id)
    tokens = codec.read_tokens(container, card).levels
    raw = b"".join(level.astype("<u2").tobytes() for level in tokens)
    assert hashlib.sha256(raw).hexdigest() == _facts(file)["tokens_sha256"]
    facts = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(card).items()}
    assert _facts(file)["card"].items() <= facts.items()  # what a row of the table says is never changed


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_golden_file_decodes_to_the_picture_it_always_gave(file):
    pixels = codec.decode(file.read_bytes())
    means = pixels.reshape(4, pixels.shape[0] // 4, 4, pixels.shape[1] // 4, 3).mean((1, 3)).round(2)
    assert np.abs(means - _facts(file)["means_4x4"]).max() < 0.5


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_the_counts_behind_a_golden_file_are_the_ones_they_always_were(file):
    container = unpack(file.read_bytes())
    card = card_by_id(container.header.model_id)
    watched = Watched(load_prior(card))
    codec.read_tokens(container, card, watched)
    assert watched.digest.hexdigest() == _facts(file)["counts_sha256"]


def test_every_model_has_a_golden_file_and_real_weights():
    assert {unpack(f.read_bytes()).header.model_id for f in FILES} == {card.id for card in CARDS}
    for card in CARDS:
        assert load_prior(card).codebook_sizes == card.codebook_sizes
        assert weight_path(card).stat().st_size < 40e6
        assert weight_path(card).with_suffix(".md").is_file()


def test_a_file_may_leave_to_another_model_what_they_have_alike(tmp_path):
    whole, out = weight_path(card_by_name("t1d-4")), tmp_path / "lean.safetensors"
    lean(whole, "t1d-2", out)
    assert out.stat().st_size < 0.5 * whole.stat().st_size
    (_, expected), (metadata, tensors) = read_weights(whole, "pt"), read_weights(out, "pt")
    assert metadata["base"] == "t1d-2" and tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_the_model_fits_its_card():
    model = load_model("t1d", "cpu")
    assert (model.tokenizer.config.cell, model.tokenizer.strides) == (model.card.patch, model.card.strides)
    assert model.tokenizer.codebook_sizes == model.prior.codebook_sizes == model.card.codebook_sizes


def test_it_beats_webp_of_the_same_size(photo):
    """On scikit-image's astronaut, which it was not trained on: LPIPS far below WebP's at these bytes."""
    from skimage.data import astronaut

    from bench.metrics import Reference
    from bench.showcase import best_webp

    model, pixels = load_model("t1d", "cpu"), np.ascontiguousarray(astronaut())
    data = codec.encode(pixels, model, levels=3)
    reference = Reference(pixels)
    ours = reference.compare(codec.decode(data, model))
    webp = best_webp(pixels, len(data))
    assert len(webp.data) <= len(data)
    assert ours["lpips-alex"] < 0.75 * reference.compare(webp.pixels)["lpips-alex"]
    assert ours["border-ratio"] < 1.15


def test_a_model_that_was_loaded_without_gradients_refines_all_the_same(photo):
    with torch.inference_mode():
        model = load_model("t1d", "cpu")
        assert codec.encode(photo, model, bpp=0.1, effort=1) == codec.encode(photo, load_model("t1d", "cpu"), bpp=0.1, effort=1)
    assert codec.encode(photo, model, bpp=0.1, effort=1) == codec.encode(photo, load_model("t1d", "cpu"), bpp=0.1, effort=1)


def test_threads_change_pixels_by_rounding_only():
    data, threads = FILES[-1].read_bytes(), torch.get_num_threads()
    model = load_model(card_by_id(unpack(data).header.model_id).name, "cpu")
    try:
        pictures = []
        for count in (1, 2):
            torch.set_num_threads(count)
            pictures.append(codec.decode(data, model).astype(int))
    finally:
        torch.set_num_threads(threads)
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_the_name_of_a_family_is_its_newest_model():
    assert card_by_name("t1d") is CARDS[-1]
