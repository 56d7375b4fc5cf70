"""The recorded figures of t1d on Kodak: whole, consistent, and of the model that is bundled."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.codecs import RATES_BPP
from bench.datasets import kodak_sums
from bench.metrics import METRICS
from bench.records import Record, load
from tok1d_codec.models.cards import card_by_name

FIGURES = ("bpp", *METRICS, "encoding_time", "decoding_time")
FOLDER = Path(__file__).parents[2] / "bench" / "results" / "kodak"
TARGETS = {0.005: (0.50, 19.3), 0.01: (0.42, 20.3), 0.02: (0.36, 21.2), 0.04: (0.30, 22.2), 0.08: (0.25, 23.2)}  # LPIPS, dB


OTHERS = ("prior", "quality", "reading-kodak", "reading-val", "regions", "regions-effort1", "sizes", "speed", "vgg-skimage",
          "kodak/t1d-effort4", "skimage/t1d", "skimage/t1d-effort1", "skimage/t1d-effort4")  # fmt: skip


@pytest.fixture(scope="module", params=["t1d", "t1d-effort1"])
def recorded(request) -> Record:
    return load(FOLDER / f"{request.param}.json")


def test_they_are_of_the_bundled_model_at_every_rate(recorded):
    card = card_by_name("t1d")
    assert (recorded.meta["model"], recorded.meta["model_sha256"]) == (card.name, card.sha256)
    assert recorded.meta["settings"] == list(RATES_BPP)
    assert all(rate <= asked for rate, asked in zip(recorded.results["bpp"], RATES_BPP, strict=True))


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_figures_are_of_the_bundled_model_too(name):
    record = json.loads((FOLDER.parent / f"{name}.json").read_text())
    card, meta = card_by_name("t1d"), record.get("meta", record)
    assert (meta["model"], meta["model_sha256"]) == (card.name, card.sha256)


def test_they_are_of_the_24_pictures(recorded):
    assert (recorded.meta["data"], recorded.meta["pictures"]) == ("kodak", 24)
    assert recorded.pictures["names"] == list(kodak_sums())


@pytest.mark.parametrize("figure", FIGURES)
def test_means_are_those_of_the_pictures(recorded, figure):
    """Both are written with six significant digits; a picture without a figure is left out of its mean."""
    assert len(recorded.results[figure]) == len(recorded.pictures[figure]) == len(recorded.meta["settings"])
    for mean, values in zip(recorded.results[figure], recorded.pictures[figure], strict=True):
        defined = [value for value in values if not math.isnan(value)]
        assert len(values) == 24 and defined
        assert mean == pytest.approx(sum(defined) / len(defined), rel=1e-5)


def test_more_bits_look_better(recorded):
    rates, distances = recorded.results["bpp"], recorded.results["lpips-alex"]
    assert all(low < high for low, high in zip(rates, rates[1:], strict=False))
    assert all(high < low for low, high in zip(distances, distances[1:], strict=False))


@pytest.mark.parametrize("name, rates", [("t1d", (0.005, 0.01, 0.02)), ("t1d-effort1", TARGETS), ("t1d-effort4", TARGETS)])
def test_what_must_be_reached_is_reached(name, rates):
    curve = load(FOLDER / f"{name}.json")
    assert curve.meta["model_sha256"] == card_by_name("t1d").sha256
    for rate in rates:
        n = curve.meta["settings"].index(rate)
        most, least = TARGETS[rate]
        assert curve.results["lpips-alex"][n] <= most and curve.results["psnr-rgb"][n] >= least
        assert curve.results["bpp"][n] <= rate and curve.results["border-ratio"][n] <= 1.05
        assert rate < 0.02 or curve.results["colour-error"][n] <= 4
        assert rate > 0.02 or curve.results["repeat-share"][n] <= 0.06  # 0.047 in the originals
