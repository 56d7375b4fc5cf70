"""What a model of the tokens gives the coder: groups of positions, and integer counts for each token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bitstream.symbols import PRECISION

Levels = list[np.ndarray]  # one integer array (rows, cols) a level, coarse to fine; -1 where there is no token
Shape = tuple[int, int]

MAX_CODEBOOK = 2**16


@dataclass(frozen=True)
class Group:
    """Tokens that are coded in one go, each knowing only what was known before the group.

    Args:
        level: which level they belong to.
        positions: int64 (m,), where they are in that level, as flat row-major indices, in coding order.
    """

    level: int
    positions: np.ndarray


class CountsModel(Protocol):
    """Known tokens -> integer counts of the next ones. Encoder and decoder must get the very same integers.

    `groups` gives every position of every level exactly once, level after level. `counts` gets a group, or
    a part of one so that memory stays bounded and absent cells are left out: a row depends on `known` and
    on its own position, never on the other rows.
    """

    codebook_sizes: Sequence[int]

    def groups(self, shapes: Sequence[Shape]) -> Iterable[Group]:
        """Shape of each level -> the groups in coding order."""

    def counts(self, known: Levels, group: Group) -> np.ndarray:
        """Levels as int32 (rows, cols), -1 where not known or absent -> int64 (n,), shared, or (m, n).

        Every row is >= 0 and has the sum `total(n)`, n being the size of the level's codebook.
        """


def total(codebook_size: int) -> int:
    """Size n of a codebook -> the sum that counts over it must have: 2**24 - n.

    The coder adds one to each count, so that no token is impossible, and then has the 2**24 that it needs.
    """
    return 2**PRECISION - codebook_size


def sizes(model: CountsModel, num_levels: int) -> list[int]:
    """The model -> the sizes of the first codebooks, as Python integers."""
    found = [int(size) for size in model.codebook_sizes[:num_levels]]
    if len(found) < num_levels:
        raise ValueError(f"{num_levels} levels, the model has {len(found)}")
    if any(not 1 <= size <= MAX_CODEBOOK for size in found):
        raise ValueError(f"codebooks of {found} codes, each must have 1 to {MAX_CODEBOOK}")
    return found


def raster_groups(shapes: Sequence[Shape]) -> list[Group]:
    """Shape of each level -> one group a level, row by row."""
    return [Group(level, np.arange(rows * cols)) for level, (rows, cols) in enumerate(shapes)]


def information(counts: np.ndarray, symbols: np.ndarray) -> float:
    """Counts (n,), shared, or (m, n), symbols (m,) -> the bits that they take, the coder adding one to each count."""
    own = counts[symbols] if counts.ndim == 1 else counts[np.arange(len(symbols)), symbols]
    return float((PRECISION - np.log2(own + 1.0)).sum())


def checked_counts(counts: np.ndarray, num_rows: int, size: int) -> np.ndarray:
    """Any array -> the same, integers (size,) or (num_rows, size) >= 0 with the right sum, or ValueError."""
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu":
        raise ValueError(f"counts have dtype {counts.dtype}, must be integers")
    if counts.shape not in ((size,), (num_rows, size)):
        raise ValueError(f"counts have shape {counts.shape}, must be {(size,)} or {(num_rows, size)}")
    expected = total(size)
    if counts.min() < 0 or counts.max() > expected:  # also keeps the sums below from wrapping round
        raise ValueError(f"counts are {counts.min()} to {counts.max()}, must be 0 to {expected}")
    if (counts.sum(axis=-1, dtype=np.int64) != expected).any():
        raise ValueError(f"counts over {size} codes must have the sum {expected}")
    return counts
