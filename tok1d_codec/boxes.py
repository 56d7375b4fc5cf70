"""Boxes of pixels, for what finds places in pictures and what favours them."""

from __future__ import annotations

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, as Pillow has it: right and bottom are the first column and row outside."""


def cells(box: Box, side: int) -> tuple[slice, slice]:
    """-> rows and columns of the cells of `side` pixels that a box reaches."""
    left, top, right, bottom = box
    return slice(top // side, -(-bottom // side)), slice(left // side, -(-right // side))


def middle(box: Box) -> tuple[int, int]:
    """-> (y, x)."""
    left, top, right, bottom = box
    return (top + bottom) // 2, (left + right) // 2


def smaller(box: Box, scale: int) -> Box:
    """-> the same in a picture of sides of 1 / 2**scale, rounded to the outside."""
    left, top, right, bottom = box
    return left >> scale, top >> scale, -(-right >> scale), -(-bottom >> scale)
