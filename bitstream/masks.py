"""Which cells of a level have a token: one bit a cell, with counts that adapt as the cells go by.

A cell that has no token on one level has none on the levels after it, nor have smaller cells in its place.
The cells come in an order that scatters them, in runs that grow; the counts of a run are those of the runs
before it on the same level.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitstream.checks import ABSENT

TOTAL = 2**24 - 2  # sum of the counts over {absent, present}
FIRST_RUN = 8  # cells


def runs(alive: np.ndarray) -> Iterator[np.ndarray]:
    """bool (rows, cols), may have a token -> flat indices of those cells, in runs of 8, 12, 18, 27, ..."""
    cells = np.flatnonzero(alive)
    cells = cells[np.argsort(cells.astype(np.uint64) * 2654435761 % 2**32)]  # Knuth's multiplicative hash
    start, length = 0, FIRST_RUN
    while start < len(cells):
        yield cells[start : start + length]
        start, length = start + length, length * 3 // 2


def mask_counts(absent: int, present: int) -> np.ndarray:
    """How many cells of the runs before had no token and had one -> counts of the two, int64 (2,)."""
    share = TOTAL * (2 * present + 1) // (2 * (absent + present) + 2)
    return np.array([TOTAL - share, share])


def alive_after(before: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """Tokens of the level before, if any -> which cells may have a token now, bool `shape`."""
    if before is None:
        return np.ones(shape, bool)
    rows, cols = (np.arange(cells) // -(-cells // coarse) for cells, coarse in zip(shape, before.shape))
    return before[rows[:, None], cols] != ABSENT
