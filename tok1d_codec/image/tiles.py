"""Picture size -> the square tiles that cover it. Whole numbers only: model cards count tokens with it."""

from __future__ import annotations

TILE = 256  # pixels a side
OVERLAP = 32  # pixels that neighbours share at least; the decoder fades from one to the next over so many


def tile_starts(side: int) -> list[int]:
    """Side of a picture in pixels -> where its tiles start, ascending from 0.

    As few tiles as leave an overlap of OVERLAP, spread evenly: the last one ends where the picture ends. A
    side below TILE has one tile that reaches beyond it.
    """
    if side <= TILE:
        return [0]
    gaps = -(-(side - TILE) // (TILE - OVERLAP))
    return [i * (side - TILE) // gaps for i in range(gaps + 1)]


def tile_corners(height: int, width: int) -> list[tuple[int, int]]:
    """Picture size in pixels -> (top, left) of each tile, row by row."""
    return [(top, left) for top in tile_starts(height) for left in tile_starts(width)]


def tile_count(height: int, width: int) -> int:
    """Picture size in pixels -> number of tiles."""
    return len(tile_starts(height)) * len(tile_starts(width))
