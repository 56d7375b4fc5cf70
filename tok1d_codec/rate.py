"""What a user asks of the size or the quality of a file -> which tokens it gets."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bitstream.checks import ABSENT
from bitstream.header import MAX_SCALE

from .errors import TargetTooSmall

DEFAULT_QUALITY = 50
SMALL_QUALITY = 10
EVALUATIONS = 10  # files written at most in search of a size


@dataclass(frozen=True)
class Target:
    """One of four ways to say how large a file should be; all None is `quality=DEFAULT_QUALITY`.

    Args:
        levels: every patch keeps so many levels, at full resolution; 1 to those of the model.
        quality: 0 to 100. 0 is the smallest file at full resolution; equal values look about equally good.
        bpp: at most so many bits per pixel, whole file.
        size: at most so many bytes, whole file.
    Raises: ValueError for several at once or values out of range.
    """

    levels: int | None = None
    quality: float | None = None
    bpp: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in vars(self).items() if v is not None}
        if len(given) > 1:
            raise ValueError(f"both {' and '.join(given)} are given; give one of them")
        for name, value in given.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}, must be a finite number")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise ValueError(f"quality is {self.quality}, must be 0 to 100")
        for name in given.keys() & {"bpp", "size"}:
            if not given[name] > 0:
                raise ValueError(f"{name} is {given[name]}, must be above 0")

    def most_bytes(self, height: int, width: int) -> int | None:
        """Size of the picture in pixels -> the limit in bytes; None if there is none."""
        if self.bpp is not None:
            return int(min(self.bpp * height * width / 8 + 1e-9, sys.maxsize))
        return self.size


def wanted(quality: float, urgency: list[np.ndarray], urgency_range: tuple[float, float]) -> int:
    """Quality, urgencies of the tokens after the first level -> how many of them are kept.

    Those above a threshold are, which falls geometrically along `urgency_range` from quality 0 to 100; below
    SMALL_QUALITY only a share of them.
    """
    first, last = urgency_range
    threshold = first * (last / first) ** (quality / 100)
    above = sum(int((ranks > threshold).sum()) for ranks in urgency)
    return int(above * min(quality / SMALL_QUALITY, 1))  # the second level comes in bit by bit


def keep_most_urgent(tokens: list[np.ndarray], urgency: list[np.ndarray], kept: int) -> list[np.ndarray]:
    """All tokens of a picture -> the first level and the `kept` most urgent others; the rest is ABSENT.

    Args:
        tokens: per level int (rows, cols), or as `Tokenizer.rank` has them.
        urgency: of each level after the first (rows, cols), never growing with the level.
    """
    ranks = np.concatenate([level.reshape(-1) for level in urgency])
    order = np.argsort(-ranks, kind="stable")  # ties: lower levels first
    chosen = np.zeros(ranks.size, bool)
    chosen[order[:kept]] = True
    ends = np.cumsum([level.size for level in urgency])
    masks = [part.reshape(level.shape) for part, level in zip(np.split(chosen, ends[:-1]), urgency)]
    masks = [mask for mask in masks if mask.any()]
    return kept_tokens(tokens, [np.ones(tokens[0].shape[-2:], bool), *masks])


def at_depth(tokens: list[np.ndarray], levels: int) -> list[np.ndarray]:
    """All tokens of a picture -> those of places that keep the first `levels` levels, (rows, cols) each."""
    return kept_tokens(tokens, [np.ones(level.shape[-2:], bool) for level in tokens[:levels]])


def kept_tokens(tokens: list[np.ndarray], masks: list[np.ndarray]) -> list[np.ndarray]:
    """All tokens of a picture, or of several, which of them are kept, by level -> these, ABSENT elsewhere.

    Tokens are (rows, cols) for a level, or as `Tokenizer.rank` has them; of several pictures with one more axis before.
    """
    found, axes = [], masks[0].ndim
    for group in depth_groups([level.shape[-3] if level.ndim > axes else None for level in tokens]):
        kept = [(tokens[i], masks[i]) for i in group if i < len(masks)]
        depth = sum(1 if level.ndim == axes else mask.astype(int) for level, mask in kept)
        for level, mask in kept:
            if level.ndim > axes:
                place = np.expand_dims(np.maximum(depth, 1) - 1, -3)
                level = np.take_along_axis(level, place, -3).squeeze(-3)
            found.append(np.where(mask, level, ABSENT))
    return found


def depth_groups(depths: Sequence[int | None]) -> list[range]:
    """Depths that tokens of each level are given for, or None -> the levels whose tokens depend on each other.

    Those before the first that depends on a depth are of its group: the depths count them.
    """
    found, start = [], 0
    while start < len(depths):
        end = start + next((n for n in depths[start:] if n), len(depths) - start)
        found.append(range(start, end))
        start = end
    return found


def fit(size_at: Callable[[int, int], int], most: Callable[[int], int], limit_bytes: int) -> tuple[int, int]:
    """-> scale and number of tokens after the first level of the best file of at most `limit_bytes`.

    Args:
        size_at: (scale, how many of these tokens are kept) -> bytes of the file; what was asked once costs nothing.
        most: scale -> how many there are at most.
    Raises:
        TargetTooSmall: even the smallest file is larger.
    """
    for scale in range(MAX_SCALE + 1):
        if size_at(scale, 0) <= limit_bytes:
            return scale, largest(lambda kept: size_at(scale, kept), most(scale), limit_bytes)
    least = min(size_at(scale, 0) for scale in range(MAX_SCALE + 1))  # of pictures of a single token, not always the last
    raise TargetTooSmall(limit_bytes, least)


def largest(size_at: Callable[[int], int], most: int, limit_bytes: int, too_many: int | None = None) -> int:
    """The most tokens, at most `most`, whose file fits, or so many that it lacks at most a thousandth of `limit_bytes`, or a byte.

    After EVALUATIONS files the best of them counts. The search goes where the straight line between the last two files says.

    Args:
        size_at: how many tokens are kept -> bytes of the file; that with none fits. What was asked once costs nothing.
        too_many: a number of tokens whose file does not fit.
    """
    low, high = 0, most + 1  # `low` fits, `high` does not
    count, size, slope = 0, size_at(0), 5 / 4  # bytes a token, ten bits before any is measured
    best = size
    if too_many:
        slope = (size_at(too_many) - size) / too_many
        high, count, size = too_many, too_many, size_at(too_many)
    for _ in range(EVALUATIONS):
        if high - low <= 1 or limit_bytes - best <= max(1, limit_bytes // 1000):
            break
        guess = count + math.floor((limit_bytes - size) / slope)
        guess = min(max(guess, low + 1), high - 1)
        found = size_at(guess)
        if found != size:  # `guess` is never `count`
            slope = min(max((found - size) / (guess - count), 1 / 8), 8)
        count, size = guess, found
        if size <= limit_bytes:
            low, best = count, size
        else:
            high = count
    return low
