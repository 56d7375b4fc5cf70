"""Models of a few lines for the coder: they give counts that depend on what is known, in integers only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest

from bitstream import Group, total
from bitstream.symbols import RangeWriter
from bitstream.walk import Frame, Walk


def spread(weights: np.ndarray) -> np.ndarray:
    """Positive integers (..., n) -> counts in about these proportions, with the exact sum."""
    budget = total(weights.shape[-1])
    counts = weights.astype(np.int64) * budget // weights.sum(-1, keepdims=True)
    counts[..., 0] += budget - counts.sum(-1)
    return counts


@dataclass
class ToyModel:
    """Two groups a level, even positions then odd ones. Counts (n,), or (m, n) from the left neighbour."""

    codebook_sizes: tuple[int, ...]
    shared: bool = False

    def groups(self, shapes):
        for level, (rows, cols) in enumerate(shapes):
            for first in (0, 1):
                yield Group(level, np.arange(first, rows * cols, 2))

    def counts(self, known, group):
        code = np.arange(self.codebook_sizes[group.level])
        if self.shared:
            return spread(code * 7 % 101 + 1 + group.level)
        left = np.where(group.positions > 0, known[group.level].ravel()[group.positions - 1], 0)
        peak = (group.positions + left)[:, None] % len(code)  # (m, 1)
        return spread(2**16 // (1 + (code - peak) ** 2) + 1)


@dataclass
class Fixed:
    """One level, the same counts for every token, all tokens in one group."""

    frequencies: tuple[int, ...]

    @property
    def codebook_sizes(self):
        return (len(self.frequencies),)

    def groups(self, shapes):
        return [Group(level, np.arange(rows * cols)) for level, (rows, cols) in enumerate(shapes)]

    def counts(self, known, group):
        return np.array(self.frequencies) - 1


@pytest.fixture
def toy():
    return ToyModel


@pytest.fixture
def fixed():
    return Fixed


@pytest.fixture
def seed() -> bytes:
    return hashlib.sha256(b"").digest()


@pytest.fixture
def draw():
    """(shapes, sizes) -> tokens near 0 that any model can code, always the same ones."""

    def draw(shapes, sizes):
        rng = np.random.default_rng(7)
        pairs = zip(shapes, sizes, strict=True)
        return [rng.integers(0, size, shape) // rng.integers(1, 4, shape) for shape, size in pairs]

    return draw


@pytest.fixture
def written():
    """Tokens, model, writer -> payload by this writer, be it the shorter one or not."""

    def written(levels, model, writer=RangeWriter) -> bytes:
        writer = writer()
        Walk(model, Frame(), writer, [level.shape for level in levels], levels).run()
        return writer.payload()

    return written
