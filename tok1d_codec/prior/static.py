"""Static tables: how often each code of each level occurred in the training pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitstream.counts import Group, Shape, raster_groups, total


class StaticTables:
    """A `bitstream.coder.CountsModel` that gives one table a level, whatever is already known.

    Args:
        tables: int64 (n,) for each level, every entry >= 0, sum 2^24 - n.
    """

    def __init__(self, tables: Sequence[np.ndarray]) -> None:
        self._tables = [np.asarray(t, np.int64) for t in tables]
        self.codebook_sizes = tuple(len(t) for t in self._tables)

    def groups(self, shapes: Sequence[Shape]) -> list[Group]:
        """Shapes (rows, cols) of the coded levels -> one group a level, in raster order."""
        return raster_groups(shapes)

    def counts(self, known: Sequence[np.ndarray], group: Group) -> np.ndarray:
        """-> int64 (n,), shared by the whole group."""
        return self._tables[group.level]


def table_from_hits(hits: np.ndarray) -> np.ndarray:
    """Occurrences int64 (n,) -> counts int64 (n,) that sum to 2^24 - n, each code at least half a hit."""
    weights = hits.astype(np.float64) + 0.5
    budget = total(len(hits))
    counts = np.floor(weights / weights.sum() * budget).astype(np.int64)
    counts[np.argmax(counts)] += budget - counts.sum()
    return counts
