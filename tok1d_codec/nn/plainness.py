"""Where a picture shows an error: its plain parts. Busy surroundings mask one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import box_mean, enlarged, steps

HALF = 1e-3  # squared difference of neighbouring pixels in [-1, 1] at which a place counts as half plain
CELL = 8  # pixels


@torch.no_grad()
def plainness(images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] -> (B, 1, H, W), 1 on a wall, near 0 in a bush.

    HALF / (HALF + g), with g the mean squared difference of neighbouring pixels within 3 x 3 cells.
    """
    squares = sum(steps(images, dim).square().mean(1, keepdim=True) for dim in (2, 3))
    energy = box_mean(F.avg_pool2d(squares, CELL, ceil_mode=True), 1)
    return enlarged(HALF / (HALF + energy), CELL)[..., : images.shape[2], : images.shape[3]]
