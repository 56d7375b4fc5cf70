"""Which cells of a level have a token: one bit a cell, with counts that adapt to the picture.

A cell that has no token on one level has none on the levels after it. Cells of even row + column go first
and look at their neighbours on the level before; the others look at those even neighbours on the level
itself. How often such a cell had a token is counted as the levels go by, level by level the older half as
much, in integers alone.
"""

from __future__ import annotations

import numpy as np

from bitstream.checks import ABSENT

TOTAL = 2**24 - 2  # sum of the counts over {absent, present}
CONTEXTS = 9


class MaskModel:
    """Counts for the presence of tokens, the same in encoder and decoder."""

    def __init__(self) -> None:
        self._seen = np.zeros((2, CONTEXTS, 2), np.int64)  # parity, context, absent or present

    def next_level(self) -> None:
        """What was seen on the levels before counts half."""
        self._seen //= 2

    def counts(self, alive: np.ndarray, mask: np.ndarray, parity: int, cells: np.ndarray) -> np.ndarray:
        """Counts of absent and present for some cells, int64 (m, 2).

        Args:
            alive: bool (rows, cols), has a token on the level before.
            mask: int8 (rows, cols), 1 where a token of this level is known to be; all even cells are known.
            parity: 0 or 1, (row + column) % 2 of all of the cells.
            cells: flat row-major indices (m,).
        """
        absent, present = self._seen[parity, self._contexts(alive, mask, parity, cells)].T
        share = TOTAL * (2 * present + 1) // (2 * (absent + present) + 2)
        return np.stack([TOTAL - share, share], axis=1)

    def learn(self, alive: np.ndarray, mask: np.ndarray, parity: int, cells: np.ndarray) -> None:
        """The cells are known now; arguments as for `counts`."""
        contexts = self._contexts(alive, mask, parity, cells)
        np.add.at(self._seen, (parity, contexts, mask.ravel()[cells]), 1)

    def _contexts(self, alive: np.ndarray, mask: np.ndarray, parity: int, cells: np.ndarray) -> np.ndarray:
        """-> how many neighbours have a token: of 8 on the level before, or of 4 on this level."""
        known = np.pad(alive if parity == 0 else mask, 1).astype(np.int64)
        rows, cols = mask.shape
        near = ((0, 1), (1, 0), (1, 2), (2, 1)) + (((0, 0), (0, 2), (2, 0), (2, 2)) if parity == 0 else ())
        return sum(known[y : y + rows, x : x + cols] for y, x in near).ravel()[cells]


def alive_cells(alive: np.ndarray, parity: int) -> np.ndarray:
    """bool (rows, cols) -> flat indices of the cells of this parity that have a token, row by row."""
    rows, cols = np.nonzero(alive)
    return np.flatnonzero(alive)[(rows + cols) % 2 == parity]


def alive_after(before: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """Tokens of the level before, if any -> which cells may have a token now, bool `shape`."""
    if before is None or before.shape != shape:
        return np.ones(shape, bool)
    return before != ABSENT
