"""Guesses for tokens that a cut file lacks, from the same counts that the range coder uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitstream.counts import CountsModel, Group
from bitstream.masks import alive_after

CHUNK = 1024  # rows of counts at once


def fill(
    levels: Sequence[np.ndarray], level: int, prior: CountsModel, rng: np.random.Generator | None = None,
    present: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Tokens -> the same with the -1 of one level replaced, where it may have tokens; the levels before it should be known.

    Args:
        levels: int32 (rows, cols) each, -1 where there is no token.
        level: which of them is completed.
        rng: draws each token with the probability that the prior gives it; None takes the likeliest one.
        present: which of its cells have a token, bool (rows, cols); None is all that the level before lets have one.
    """
    filled = [tokens.copy() for tokens in levels]
    shapes = [tokens.shape for tokens in levels]
    tokens = filled[level].reshape(-1)
    if present is None:
        present = alive_after(filled[level - 1] if level else None, shapes[level])
    wanted = present.reshape(-1) & (tokens < 0)
    for group in prior.groups(shapes):
        missing = group.positions[wanted[group.positions]] if group.level == level else []
        for start in range(0, len(missing), CHUNK):
            part = Group(level, missing[start : start + CHUNK])
            counts = np.atleast_2d(prior.counts(filled, part))
            if rng is None:
                guess = counts.argmax(1)
            else:
                points = rng.random((len(part.positions), 1)) * counts.sum(1, keepdims=True)
                guess = (counts.cumsum(1) <= points).sum(1).clip(max=counts.shape[1] - 1)
            tokens[part.positions] = guess
    return filled
