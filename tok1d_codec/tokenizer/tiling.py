"""Pictures -> square tiles -> pictures, for networks that see one size only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.tiles import OVERLAP, TILE, tile_corners, tile_starts

BATCH, GPU_BATCH = 4, 32  # tiles that go through a network at once: bounds its memory, whatever the picture


def batch_size(device: torch.device) -> int:
    """-> how many tiles go through a network at once there."""
    return BATCH if device.type == "cpu" else GPU_BATCH


def cut(images: Tensor) -> Iterator[Tensor]:
    """(B, 3, H, W) -> batches of its tiles (n, 3, TILE, TILE), picture by picture, row by row.

    A side below TILE is padded at its right or bottom by repeating the edge.
    """
    height, width = images.shape[-2:]
    batch, corners = batch_size(images.device), tile_corners(height, width)
    images = F.pad(images, (0, max(TILE - width, 0), 0, max(TILE - height, 0)), mode="replicate")
    places = [(image, top, left) for image in images for top, left in corners]
    for start in range(0, len(places), batch):
        part = places[start : start + batch]
        yield torch.stack([image[:, top : top + TILE, left : left + TILE] for image, top, left in part])


def blend(batches: Iterable[Tensor], pictures: int, height: int, width: int) -> Tensor:
    """Batches of tiles, in the order of `cut` -> (pictures, 3, height, width).

    Neighbours fade into each other over OVERLAP pixels around the middle of what they share. The weights
    of a pixel add up to 1, so tiles that agree leave no seam.
    """
    tiles = (tile for batch in batches for tile in batch)
    corners, weights, out = tile_corners(height, width), _weights(height, width), None
    for picture in range(pictures):
        for (top, left), (rows, cols) in zip(corners, weights, strict=True):
            tile = next(tiles).float()
            if out is None:
                out = tile.new_zeros(pictures, 3, max(height, TILE), max(width, TILE))
            weight = (rows[:, None] * cols).to(tile.device)
            out[picture, :, top : top + TILE, left : left + TILE].addcmul_(tile, weight)
    return out[:, :, :height, :width]


def _weights(height: int, width: int) -> list[tuple[Tensor, Tensor]]:
    """Picture size -> weights (TILE,) of the rows and of the columns of each tile, in tile order."""
    rows, cols = _fades(tile_starts(height)), _fades(tile_starts(width))
    return [(row, col) for row in rows for col in cols]


def _fades(starts: list[int]) -> list[Tensor]:
    """Starts of the tiles along a side -> the weight of every pixel of each, float32 (TILE,).

    A tile has what the fade into it has let in and the fade out of it has not yet taken away; tiles start
    at least TILE / 3 apart where there are three, so that two fades never meet.
    """
    middles = [(a + b + TILE) / 2 for a, b in zip(starts, starts[1:])]
    weights = []
    for i, start in enumerate(starts):
        x = torch.arange(TILE) + (start + 0.5)
        came = _smooth_step(x - middles[i - 1]) if i else torch.ones(TILE)
        left = _smooth_step(x - middles[i]) if i < len(middles) else torch.zeros(TILE)
        weights.append(came - left)
    return weights


def _smooth_step(distance: Tensor) -> Tensor:
    """Signed distance from the middle of a fade, in pixels -> 0 before it, 1 after it, smooth between."""
    t = (distance / OVERLAP + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)
