"""Pictures -> batches of square crops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .shards import Pictures


def random_crops(pictures: Pictures, batch: int, side: int, rng: np.random.Generator) -> Tensor:
    """-> float32 (batch, 3, side, side) in [-1, 1]: random pictures, places and left-right flips."""
    out = np.empty((batch, side, side, 3), np.uint8)
    for i, number in enumerate(rng.integers(len(pictures), size=batch)):
        pixels = pictures[number]
        top = rng.integers(pixels.shape[0] - side + 1)
        left = rng.integers(pixels.shape[1] - side + 1)
        crop = pixels[top : top + side, left : left + side]
        out[i] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return to_signed(torch.from_numpy(out))


def centre_crops(pictures: Pictures, count: int, side: int) -> Tensor:
    """-> uint8 (count, side, side, 3): the middle of the first `count` pictures (of all, if fewer)."""
    crops = []
    for i in range(min(count, len(pictures))):
        top, left = ((s - side) // 2 for s in pictures[i].shape[:2])
        crops.append(pictures[i][top : top + side, left : left + side])
    return torch.from_numpy(np.stack(crops))


def to_signed(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
