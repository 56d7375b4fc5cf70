"""Pictures and labels -> one picture that shows them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN = 12  # pixels
FONT_SIZE = 18  # pixels
LINE = 24  # pixels
INK, PAPER = "black", "white"


_font = cache(partial(ImageFont.load_default, FONT_SIZE))


@dataclass(frozen=True)
class Cell:
    """Lines of text over a picture uint8 (H, W, 3), or text alone."""

    lines: tuple[str, ...]
    pixels: np.ndarray | None = None


def contact_sheet(rows: Sequence[Sequence[Cell]]) -> np.ndarray:
    """Rows of cells -> uint8 (H, W, 3). Pictures keep their size; a column is as wide as its widest cell."""
    widths, heights = _grid(rows)
    sheet = Image.new("RGB", sheet_size(rows), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        left = MARGIN
        for cell, width in zip(row, widths, strict=False):
            for number, line in enumerate(cell.lines):
                draw.text((left, top + number * LINE), line, fill=INK, font=_font())
            if cell.pixels is not None:
                sheet.paste(Image.fromarray(cell.pixels), (left, top + len(cell.lines) * LINE))
            left += width + MARGIN
        top += height + MARGIN
    return np.array(sheet)


def sheet_size(rows: Sequence[Sequence[Cell]], most: int | None = None) -> tuple[int, int]:
    """Rows of cells -> width, height of their sheet in pixels, or of what `shrunk` makes of it for a width of `most`."""
    width, height = (MARGIN + sum(side + MARGIN for side in sides) for sides in _grid(rows))
    return _fitted(width, height, most)


def shrunk(sheet: np.ndarray, width: int | None) -> np.ndarray:
    """Sheet uint8 (H, W, 3) -> the same at most `width` pixels wide."""
    height, before = sheet.shape[:2]
    size = _fitted(before, height, width)
    return sheet if size == (before, height) else np.array(Image.fromarray(sheet).resize(size, Image.Resampling.LANCZOS))


def _fitted(width: int, height: int, most: int | None) -> tuple[int, int]:
    """Size of a picture -> the size of the same at most `most` pixels wide."""
    return (width, height) if most is None or most >= width else (most, max(1, round(height * most / width)))


def _grid(rows: Sequence[Sequence[Cell]]) -> tuple[list[int], list[int]]:
    """-> widths of the columns and heights of the rows, in pixels."""
    extents = [[_extent(cell) for cell in row] for row in rows]
    columns = range(max(map(len, rows)))
    widths = [max(row[i][0] for row in extents if i < len(row)) for i in columns]
    return widths, [max(height for _, height in row) for row in extents]


def _extent(cell: Cell) -> tuple[int, int]:
    """A cell -> its (width, height) in pixels."""
    height, width = (0, 0) if cell.pixels is None else cell.pixels.shape[:2]
    text = max((int(np.ceil(_font().getlength(line))) for line in cell.lines), default=0)
    return max(width, text), height + len(cell.lines) * LINE
