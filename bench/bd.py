"""Two curves -> BD-rate: by how much one needs fewer bits than the other for the same quality."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.records import QUALITY, Record

MIN_OVERLAP = 0.1  # of the tested curve's quality range; with less, a mean says nothing about that curve


@dataclass(frozen=True)
class BDRate:
    """`percent`: mean difference in bits at equal quality, negative where the tested curve needs fewer."""

    percent: float | None  # None where there is no figure
    reason: str  # what share of the range the figure covers, or why there is none


def bd_rate(anchor: Record, test: Record, metric: str) -> BDRate:
    """Two curves -> how many percent more bits `test` takes than `anchor` for the same `metric`.

    Monotone cubic interpolation (pchip) of log rate over quality, over the range of quality that both reach.
    A point that is no better than a smaller file of its own curve is left out. LPIPS is negated.

    Source: Bjontegaard 2001, VCEG-M33; computed by the package `bjontegaard`.
    """
    from bjontegaard import bd_rate as bjontegaard_rate

    curves = [_frontier(record, metric) for record in (anchor, test)]
    for record, (rates, _) in zip((anchor, test), curves, strict=True):
        if len(rates) < 2:
            return BDRate(None, f"{record.name} has fewer than two usable points")
    (anchor_rates, anchor_quality), (test_rates, test_quality) = curves
    low, high = max(anchor_quality[0], test_quality[0]), min(anchor_quality[-1], test_quality[-1])
    share = (high - low) / (test_quality[-1] - test_quality[0])
    ranges = f"{test.name} {_range(test_quality)}, {anchor.name} {_range(anchor_quality)}"
    if share <= 0:
        return BDRate(None, f"the quality ranges do not overlap: {ranges}")
    if share < MIN_OVERLAP:
        return BDRate(None, f"the quality ranges overlap in {share:.0%} of {test.name}'s only: {ranges}")
    percent = bjontegaard_rate(anchor_rates, anchor_quality, test_rates, test_quality, "pchip",
                               require_matching_points=False, min_overlap=0)
    return BDRate(float(percent), f"over {share:.0%} of {test.name}'s range")


def _frontier(record: Record, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """-> rates (bpp) and qualities (higher is better), both strictly increasing."""
    points = sorted(zip(record.results["bpp"], record.results[metric], strict=True))
    rates, qualities = [], []
    for rate, value in points:
        quality = QUALITY[metric] * value
        if math.isfinite(quality) and (not qualities or rate > rates[-1] and quality > qualities[-1]):
            rates.append(rate)
            qualities.append(quality)
    return np.array(rates), np.array(qualities)


def _range(quality: np.ndarray) -> str:
    return " to ".join(f"{abs(value):.4g}" for value in (quality[0], quality[-1]))
