"""The benchmark: t1d beside JPEG, WebP and AVIF on known pictures."""

from __future__ import annotations

import json
from pathlib import Path

CODECS = ("t1d", "jpeg", "webp", "avif")


def results_folder() -> Path:
    """-> where results go by default: bench/results in a checkout, t1d-bench elsewhere."""
    return Path("bench/results") if Path("bench/kodak.sha256").is_file() else Path("t1d-bench")


def report(figures: dict, place: str) -> Path:
    """Print figures and write them as JSON to `place` in `results_folder` -> that file."""
    text, path = json.dumps(figures, indent=1), results_folder() / place
    print(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path
