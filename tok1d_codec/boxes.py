"""Boxes of pixels, for what finds places in pictures and what favours them."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, as Pillow has it: right and bottom are the first column and row outside."""

Area = tuple[slice, slice]
"""Rows and columns of a grid of cells."""


def cells(box: Box, side: int) -> Area:
    """-> rows and columns of the cells of `side` pixels that a box reaches."""
    left, top, right, bottom = box
    return slice(top // side, -(-bottom // side)), slice(left // side, -(-right // side))


def reached(boxes: Sequence[Box], side: int, area: Area) -> Area | None:
    """-> the least rows and columns within an area of cells that hold all that boxes reach there; None for nothing."""
    rows, cols = area
    parts = [
        (max(y.start, rows.start), min(y.stop, rows.stop), max(x.start, cols.start), min(x.stop, cols.stop))
        for y, x in (cells(box, side) for box in boxes)
    ]
    parts = [part for part in parts if part[0] < part[1] and part[2] < part[3]]
    if not parts:
        return None
    tops, bottoms, lefts, rights = zip(*parts)
    return slice(min(tops), max(bottoms)), slice(min(lefts), max(rights))


def grown(area: Area, by: int, shape: tuple[int, int]) -> Area:
    """Cells of a grid of `shape` -> so many more on all sides, where there are."""
    rows, cols = (slice(max(part.start - by, 0), min(part.stop + by, most)) for part, most in zip(area, shape))
    return rows, cols


def middle(box: Box) -> tuple[int, int]:
    """-> (y, x)."""
    left, top, right, bottom = box
    return (top + bottom) // 2, (left + right) // 2


def smaller(box: Box, scale: int) -> Box:
    """-> the same in a picture of sides of 1 / 2**scale, rounded to the outside."""
    left, top, right, bottom = box
    return left >> scale, top >> scale, -(-right >> scale), -(-bottom >> scale)
