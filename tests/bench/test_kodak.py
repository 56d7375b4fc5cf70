"""Kodak: baselines as measured once by other code, and t1d as recorded with its results."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench import codecs
from bench.codecs import PillowCodec, open_codec
from bench.datasets import open_dataset
from bench.metrics import Reference
from bench.prior import measure
from bench.records import load
from bench.run import evaluate
from tok1d_codec import codec
from tok1d_codec.image.io import read_picture
from tok1d_codec.models.store import load_model

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not os.environ.get("T1D_DATA_DIR"), reason="T1D_DATA_DIR names no folder")]


@pytest.mark.parametrize(("name", "quality", "scale", "bpp", "psnr", "lpips"), [
    ("jpeg", 1, 1, .0880, 21.48, .580),
    ("webp", 0, 2, .0311, 23.32, .640),
    ("avif", 10, 4, .0154, 22.02, .767),
])
def test_mean_over_the_24_pictures(name, quality, scale, bpp, psnr, lpips, monkeypatch):
    """Pillow 13.0, AVIF at its usual speed; another version of a codec's library may differ in the last digit."""
    monkeypatch.setitem(codecs._FORMATS["avif"].options, "speed", 6)
    curve, = evaluate(PillowCodec(name, (quality,), (scale,)), open_dataset("kodak"), {})
    assert curve.results["bpp"][0] == pytest.approx(bpp, abs=1e-4)
    assert curve.results["psnr-rgb"][0] == pytest.approx(psnr, abs=0.01)
    assert curve.results["lpips-alex"][0] == pytest.approx(lpips, abs=0.001)


def test_the_bundled_model_gives_the_recorded_figures_again():
    recorded = load(Path(__file__).parents[2] / "bench" / "results" / "kodak" / "t1d.json")
    curve, = evaluate(open_codec("t1d"), open_dataset("kodak").first(3), {})
    tolerances = {"bpp": 1e-9, "psnr-rgb": 0.02, "lpips-alex": 0.002, "border-ratio": 0.02, "repeat-share": 0.005}
    for key, tolerance in tolerances.items():
        expected = [of_setting[:3] for of_setting in recorded.pictures[key]]
        assert np.allclose(curve.pictures[key], expected, atol=tolerance), key


def test_more_quality_is_larger_and_looks_better():
    model, files = load_model("t1d", "cpu"), open_dataset("kodak").first(8).files
    sizes, distances = [], []
    for quality in range(0, 101, 10):
        figures = []
        for file in files:
            pixels = read_picture(file).pixels
            data = codec.encode(pixels, model, quality=quality)
            figures.append((len(data), Reference(pixels).lpips_alex(codec.decode(data, model))))
        size, distance = np.mean(figures, axis=0)
        sizes.append(size)
        distances.append(distance)
    assert all(a < b for a, b in zip(sizes, sizes[1:]))
    assert all(a > b for a, b in zip(distances, distances[1:]))


def test_the_prior_saves_what_was_asked_of_it():
    figures = measure(count=8)["levels"]
    assert figures["2"]["saved_percent"] >= 18 and figures["5"]["saved_percent"] >= 10
    assert all(row["off_bytes"] <= 2 for row in figures.values())
