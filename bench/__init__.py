"""The benchmark: t1d beside JPEG, WebP and AVIF on known pictures."""

from __future__ import annotations

from pathlib import Path

LPIPS_ALEX = Path(__file__).parent / "weights" / "lpips_alex.safetensors"
"""AlexNet features (torchvision, BSD-3-Clause) and LPIPS v0.1 heads (BSD-2-Clause), float32."""
