"""Checks over tokens: CRC-32 that grows level by level."""

from __future__ import annotations

import zlib

import numpy as np

MAX_CHECK_BITS = 8
ALL_CHECK_BITS = 48  # of all levels of a file together
ABSENT = -1  # a token that is not there


def check_bits(levels: int) -> int:
    """Number of levels in a file -> bits of the check after each, 3 to 8."""
    return min(MAX_CHECK_BITS, ALL_CHECK_BITS // levels)


def token_crc(tokens: np.ndarray, crc: int) -> int:
    """One level, integers -1..65535, and the CRC-32 so far -> the CRC-32 that covers the level too.

    Tokens count as little-endian 16-bit integers in raster order, absent ones as 65535.

    Raises: ValueError for other tokens.
    """
    tokens = np.asarray(tokens)
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens have dtype {tokens.dtype}, must be integers")
    if tokens.size and not ABSENT <= tokens.min() <= tokens.max() <= 0xFFFF:
        raise ValueError(f"tokens are {tokens.min()} to {tokens.max()}, must be {ABSENT} to 65535")
    return zlib.crc32((tokens & 0xFFFF).astype("<u2").tobytes(), crc)
