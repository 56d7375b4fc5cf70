"""Pictures -> batches of square crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .shards import Pictures
from .subjects import Subjects


def random_crops(
    pictures: Pictures, batch: int, side: int, rng: np.random.Generator, subjects: Sequence[Subjects] = ()
) -> Tensor:
    """-> float32 (batch, 3, side, side) in [-1, 1]: random pictures, places and left-right flips.

    Of the `subjects`, whose shares add up to 1 at most, each is in its share of the crops, within the
    middle two thirds where the picture allows it.
    """
    out = np.empty((batch, side, side, 3), np.uint8)
    for i, number in enumerate(rng.integers(len(pictures), size=batch)):
        aimed = _aim(subjects, rng) if subjects else None
        if aimed:
            number, middle = aimed
            starts = [m - side // 2 + rng.integers(-(side // 3), side // 3 + 1) for m in middle]
            sizes = pictures[number].shape[:2]
            top, left = (min(max(start, 0), size - side) for start, size in zip(starts, sizes, strict=True))
        else:
            top, left = (rng.integers(size - side + 1) for size in pictures[number].shape[:2])
        crop = pictures[number][top : top + side, left : left + side]
        out[i] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return to_signed(torch.from_numpy(out))


def _aim(subjects: Sequence[Subjects], rng: np.random.Generator) -> tuple[int, tuple[int, int]] | None:
    """-> number of a picture and the point (y, x) that its crop shall show, or None where any crop will do."""
    rest = rng.random()
    for subject in subjects:
        if rest < subject.share:
            return subject.draw(rng)
        rest -= subject.share
    return None


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
