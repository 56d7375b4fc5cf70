"""Tokens + integer counts <-> payload, level by level, so that a prefix of it is a coarser picture.

Range coding, or plain bits where that is not longer. SPEC.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from bitstream.checks import ABSENT
from bitstream.counts import CountsModel, Levels, Shape, sizes
from bitstream.errors import FormatError, Truncated
from bitstream.header import Coding
from bitstream.masks import alive_after
from bitstream.symbols import BitReader, BitWriter, RangeReader, RangeWriter
from bitstream.walk import Frame, Walk


@dataclass(frozen=True)
class Decoded:
    """Tokens of a payload, or of what there is of it.

    Args:
        levels: as many as were asked for; -1 where a token is absent or missing.
        complete: how many levels are whole, and proven by their checks if they have any.
        level_bits: information content of each level with its mask and check, in bits.
        present: of the level where the payload ends, which cells have a token, bool (rows, cols); None where it
            ends before it says so.
        damaged: the file is not what was written; `levels` is what its checks let pass.
    """

    levels: Levels
    complete: int
    level_bits: list[float]
    present: np.ndarray | None = None
    damaged: bool = False


def encode_tokens(levels: Levels, model: CountsModel, frame: Frame = Frame()) -> tuple[Coding, bytes]:
    """Tokens -> (coding, payload), the shorter of the two codings; the plain one if they are equal.

    Args:
        levels: integer arrays (rows, cols), coarse to fine, of 0..codebook_sizes[level]-1, or -1 for absent
            if the frame is varied; a cell absent on one level is absent on those after it.
    Raises: ValueError for other tokens, or counts that are not as `CountsModel` says.
    """
    levels = [_checked_tokens(level, size, frame.varied) for level, size in zip(levels, sizes(model, len(levels)))]
    for before, level in zip(levels, levels[1:]):
        if (level[~alive_after(before, level.shape)] != ABSENT).any():
            raise ValueError("a token where the level before has none")
    plain, ranged = BitWriter(), RangeWriter()
    for writer in (plain, ranged):
        Walk(model, frame, writer, [t.shape for t in levels], levels).run()
    packed, payload = plain.payload(), ranged.payload()
    return (Coding.RANGE, payload) if len(payload) < len(packed) else (Coding.PACKED, packed)


def decode_tokens(
    coding: Coding, payload: bytes, shapes: Sequence[Shape], model: CountsModel, frame: Frame = Frame()
) -> Levels:
    """Payload -> tokens, int32 (rows, cols) a level.

    A damaged range-coded payload usually gives wrong tokens; the checks may, `container.verify` will tell.

    Raises: Truncated or FormatError for a packed payload of the wrong length, with a bit set in its padding
        or a token outside its codebook; FormatError for a range-coded one that no encoder can have written;
        ChecksumMismatch for a level whose check is wrong.
    """
    return decode_prefix(coding, payload, shapes, model, frame, cut=False).levels


def decode_prefix(
    coding: Coding, payload: bytes, shapes: Sequence[Shape], model: CountsModel, frame: Frame, cut: bool
) -> Decoded:
    """Payload, if `cut` only its first bytes -> the tokens that it is certain to hold.

    Raises: as `decode_tokens`; a check that is wrong is no error in a cut payload, which ends before it.
    """
    walk = _reading(coding, payload, shapes, model, frame, cut)
    walk.run(cut)
    if not cut:
        walk.coder.finish()
    return Decoded(walk.known, walk.complete, walk.level_bits, walk.present)


def decode_undamaged(
    coding: Coding, payload: bytes, shapes: Sequence[Shape], model: CountsModel, frame: Frame
) -> Decoded:
    """Damaged payload -> the tokens of the levels before the first check that is wrong; without checks, none.

    A damaged level passes its check once in 2 ** `frame.check_bits` times.
    Raises: Truncated or FormatError for a packed payload of a length that it cannot have.
    """
    walk = _reading(coding, payload, shapes, model, frame, cut=False)
    if frame.check_bits:
        with suppress(FormatError):
            walk.run(cut=True)
    for level in walk.known[walk.complete :]:
        level[:] = ABSENT
    return Decoded(walk.known, walk.complete, walk.level_bits, damaged=True)


def _reading(
    coding: Coding, payload: bytes, shapes: Sequence[Shape], model: CountsModel, frame: Frame, cut: bool
) -> Walk:
    if coding == Coding.RANGE:
        return Walk(model, frame, RangeReader(payload, cut), shapes, None)
    _check_packed_length(payload, shapes, sizes(model, len(shapes)), frame, cut)
    return Walk(model, frame, BitReader(payload, cut), shapes, None)


def _check_packed_length(
    payload: bytes, shapes: Sequence[Shape], codes: list[int], frame: Frame, cut: bool
) -> None:
    """Before an array is made for it. Raises: Truncated, FormatError for a payload of fewer or more bytes than tokens need."""
    bits = [rows * cols * (size - 1).bit_length() for (rows, cols), size in zip(shapes, codes)]
    needed = -(-sum(bits[: 1 if frame.varied else None]) // 8)
    if len(payload) < needed and not cut:
        raise Truncated(f"the payload has {len(payload)} bytes, its tokens {needed} or more; get the whole file")
    masks = sum(rows * cols for rows, cols in shapes[1:]) if frame.varied else 0
    most = -(-(sum(bits) + masks + frame.check_bits * len(shapes)) // 8)
    if len(payload) > most:
        raise FormatError(f"the payload has {len(payload)} bytes, its tokens {most} at most; get the file again")


def _checked_tokens(tokens: np.ndarray, size: int, varied: bool) -> np.ndarray:
    """Any array -> int32 (rows, cols) of 0..size-1, also -1 if `varied`, or ValueError."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens are {tokens.dtype} {tokens.shape}, must be integers (rows, cols)")
    least = ABSENT if varied else 0
    if tokens.size and not least <= tokens.min() <= tokens.max() < size:
        raise ValueError(f"tokens are {tokens.min()} to {tokens.max()}, must be {least} to {size - 1}")
    return np.ascontiguousarray(tokens, dtype=np.int32)
