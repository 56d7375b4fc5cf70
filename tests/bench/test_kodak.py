"""The baselines on Kodak: figures that were measured once, by other code."""

from __future__ import annotations

import os

import pytest

from bench.codecs import PillowCodec
from bench.datasets import open_dataset
from bench.run import evaluate

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not os.environ.get("T1D_DATA_DIR"), reason="T1D_DATA_DIR names no folder")]


@pytest.mark.parametrize(("name", "quality", "scale", "bpp", "psnr", "lpips"), [
    ("jpeg", 1, 1, .0880, 21.48, .580),
    ("webp", 0, 2, .0311, 23.32, .640),
    ("avif", 10, 4, .0154, 22.02, .767),
])
def test_mean_over_the_24_pictures(name, quality, scale, bpp, psnr, lpips):
    """Pillow 13.0; another version of a codec's library may differ in the last digit."""
    curve, = evaluate(PillowCodec(name, (quality,), (scale,)), open_dataset("kodak"), {})
    assert curve.results["bpp"][0] == pytest.approx(bpp, abs=1e-4)
    assert curve.results["psnr-rgb"][0] == pytest.approx(psnr, abs=0.01)
    assert curve.results["lpips-alex"][0] == pytest.approx(lpips, abs=0.001)
