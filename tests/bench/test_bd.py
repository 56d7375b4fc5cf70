"""BD-rate on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.bd import bd_rate
from bench.records import Record


def curve(name: str, bpp: list[float], quality: list[float]) -> Record:
    """LPIPS is 1 - quality, PSNR 10 x quality."""
    results = {"bpp": bpp, "psnr-rgb": [10 * q for q in quality], "lpips-alex": [1 - q for q in quality]}
    return Record(name, "", {}, results)


RATES = [0.01, 0.02, 0.04, 0.08]
LINE = [0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize("metric", ["psnr-rgb", "lpips-alex"])
def test_half_the_bits_at_every_quality_is_minus_50_percent(metric):
    found = bd_rate(curve("a", RATES, LINE), curve("b", [r / 2 for r in RATES], LINE), metric)
    assert found.percent == pytest.approx(-50) and "100%" in found.reason


def test_only_the_common_range_counts():
    """Quality 0.3 to 0.5 is common: there b takes three times a's bits, whatever it takes elsewhere."""
    test = curve("b", [r * 3 for r in (0.02, 0.04, 0.08, 5)], [0.3, 0.4, 0.5, 0.6])
    found = bd_rate(curve("a", RATES, LINE), test, "psnr-rgb")
    assert found.percent == pytest.approx(200, rel=0.15) and "67%" in found.reason


def test_curves_of_other_lengths_and_order_are_fine():
    dense = np.linspace(-2, np.log10(0.08), 30)
    anchor = curve("a", (10**dense).tolist()[::-1], (0.2 + 0.3 * (dense + 2) / np.log10(8)).tolist()[::-1])
    assert bd_rate(anchor, curve("b", RATES, LINE), "psnr-rgb").percent == pytest.approx(0, abs=0.5)


def test_points_no_better_than_a_smaller_file_are_left_out():
    test = curve("b", [0.01, 0.015, 0.02, 0.04, 0.08], [0.2, 0.1, 0.3, 0.4, 0.5])
    assert bd_rate(curve("a", RATES, LINE), test, "psnr-rgb").percent == pytest.approx(0, abs=1e-9)


def test_no_figure_without_overlap():
    found = bd_rate(curve("a", RATES, LINE), curve("b", RATES, [0.6, 0.7, 0.8, 0.9]), "lpips-alex")
    assert found.percent is None
    assert found.reason == "the quality ranges do not overlap: b 0.4 to 0.1, a 0.8 to 0.5"


def test_no_figure_for_a_sliver_or_a_single_point():
    anchor = curve("a", RATES, LINE)
    assert "overlap in 3%" in bd_rate(anchor, curve("b", RATES, [.49, .6, .7, .8]), "psnr-rgb").reason
    assert "fewer than two" in bd_rate(anchor, curve("b", [0.01], [0.3]), "psnr-rgb").reason
