"""The benchmark: t1d beside JPEG, WebP and AVIF on known pictures."""

from __future__ import annotations

from pathlib import Path

from tok1d_codec.effort import ALEX_WEIGHTS as LPIPS_ALEX  # noqa: F401

CODECS = ("t1d", "jpeg", "webp", "avif")


def results_folder() -> Path:
    """-> where results go by default: bench/results in a checkout, t1d-bench elsewhere."""
    return Path("bench/results") if Path("bench").is_dir() else Path("t1d-bench")
