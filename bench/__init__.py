"""The benchmark: t1d beside JPEG, WebP and AVIF on known pictures."""

from __future__ import annotations

from pathlib import Path

CODECS = ("t1d", "jpeg", "webp", "avif")

LPIPS_ALEX = Path(__file__).parent / "weights" / "lpips_alex.safetensors"
"""AlexNet features (torchvision, BSD-3-Clause) and LPIPS v0.1 heads (BSD-2-Clause), float32."""


def results_folder() -> Path:
    """-> where results go by default: bench/results in a checkout, t1d-bench elsewhere."""
    return Path("bench/results") if Path("bench").is_dir() else Path("t1d-bench")
