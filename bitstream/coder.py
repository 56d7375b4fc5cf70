"""Tokens + integer counts <-> payload bytes: range coding, or plain packing where that is not longer.

No float decides anything here: counts are integers, and the one float array that constriction asks for holds
integers below 2**24 that already have the sum it would scale them to. SPEC.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import constriction
import numpy as np

from bitstream.errors import FormatError, Truncated
from bitstream.header import Coding

Levels = list[np.ndarray]  # one integer array (rows, cols) a level, coarse to fine
Shape = tuple[int, int]

PRECISION = 24  # bits of a probability in constriction's default coders
MAX_CODEBOOK = 2**16
CHUNK_ENTRIES = 2**22  # counts held at once: 4096 rows of 1024


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

    `groups` gives every position of every level exactly once. `counts` gets a group, or a part of one so
    that memory stays bounded: a row depends on `known` and on its own position, never on the other rows.
    """

    codebook_sizes: Sequence[int]

    def groups(self, shapes: Sequence[Shape]) -> Iterable[Group]:
        """Shape of each level -> the groups in coding order."""

    def counts(self, known: Levels, group: Group) -> np.ndarray:
        """Levels as int32 (rows, cols), -1 where not known yet -> int64 (n,), shared by the group, or (m, n).

        Every row is >= 0 and has the sum `total(n)`, n being the size of the level's codebook.
        """


def total(codebook_size: int) -> int:
    """Size n of a codebook -> the sum that counts over it must have: 2**24 - n.

    The coder adds one to each count, so that no token is impossible, and then has the 2**24 that it needs.
    """
    return 2**PRECISION - codebook_size


def encode_tokens(levels: Levels, model: CountsModel) -> tuple[Coding, bytes]:
    """Tokens -> (coding, payload), the shorter of the two codings; the plain one if they are equal.

    Args:
        levels: integer arrays (rows, cols), coarse to fine, of 0..codebook_sizes[level]-1.
    Raises: ValueError for other tokens, or counts that are not as `CountsModel` says.
    """
    levels = [_checked_tokens(level, size) for level, size in zip(levels, _sizes(model, len(levels)))]
    packed = _pack_bits(levels, model)
    ranged = _range_encode(levels, model)
    return (Coding.RANGE, ranged) if len(ranged) < len(packed) else (Coding.PACKED, packed)


def decode_tokens(coding: Coding, payload: bytes, shapes: Sequence[Shape], model: CountsModel) -> Levels:
    """Payload -> tokens, int32 (rows, cols) a level.

    A damaged range-coded payload usually gives wrong tokens and no error: only `container.verify` can tell.

    Raises: Truncated or FormatError for a packed payload of the wrong length, with a bit set in its padding
        or a token outside its codebook; FormatError for a range-coded one that no encoder can have written.
    """
    if coding == Coding.PACKED:
        return _unpack_bits(payload, shapes, model)
    return _range_decode(payload, shapes, model)


# Range coding


def _range_encode(levels: Levels, model: CountsModel) -> bytes:
    """Tokens -> the shortest bytes from which a decoder that reads zeros after them gets the tokens back."""
    encoder = constriction.stream.queue.RangeEncoder()

    def encode(level: int, positions: np.ndarray, counts: np.ndarray) -> np.ndarray:
        tokens = levels[level].ravel()[positions]
        encoder.encode(tokens, *_categorical(counts))
        return tokens

    _walk([level.shape for level in levels], model, encode)
    return _shortest_tail(encoder)


def _range_decode(payload: bytes, shapes: Sequence[Shape], model: CountsModel) -> Levels:
    """Bytes, zeros after them -> tokens."""
    words = np.frombuffer(payload + bytes(-len(payload) % 4), dtype=">u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)

    def decode(level: int, positions: np.ndarray, counts: np.ndarray) -> np.ndarray:
        categorical, *rows = _categorical(counts)
        try:
            return decoder.decode(categorical, *rows or [len(positions)])
        except AssertionError:  # a quotient of 2**24: constriction's sign of a point outside every symbol
            raise FormatError("the payload is not a range-coded stream; get the file again") from None

    return _walk(shapes, model, decode)


def _walk(
    shapes: Sequence[Shape],
    model: CountsModel,
    code: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
) -> Levels:
    """Every group in order, through `code(level, positions, counts) -> tokens` -> all tokens."""
    sizes = _sizes(model, len(shapes))
    # A token of a codebook of one is known from the start and takes no bits.
    known = [np.full(shape, -1 if size > 1 else 0, dtype=np.int32) for shape, size in zip(shapes, sizes)]
    missing = [level.size if size > 1 else 0 for level, size in zip(known, sizes)]
    for group in model.groups(shapes):
        size = sizes[group.level]
        if size == 1:
            continue
        chunk = max(1, CHUNK_ENTRIES // size)
        tokens = []
        for start in range(0, len(group.positions), chunk):
            part = Group(group.level, group.positions[start : start + chunk])
            counts = _checked_counts(model.counts(known, part), len(part.positions), size)
            tokens.append(code(part.level, part.positions, counts))
        if tokens:
            known[group.level].reshape(-1)[group.positions] = np.concatenate(tokens)
        missing[group.level] -= len(group.positions)
    if any(missing) or any((level < 0).any() for level in known):
        raise ValueError("the groups of the model do not give every position exactly once")
    return known


def _categorical(counts: np.ndarray) -> tuple:
    """Counts (n,) or (m, n) -> the model arguments of constriction's encode and decode."""
    weights = np.ascontiguousarray(counts, dtype=np.float64)  # exact: all are integers below 2**24
    if weights.ndim == 1:
        return (constriction.stream.model.Categorical(weights, perfect=False),)
    return constriction.stream.model.Categorical(perfect=False), weights


def _shortest_tail(encoder: constriction.stream.queue.RangeEncoder) -> bytes:
    """A finished encoder -> the shortest byte string, zeros after it, inside its final interval.

    Read the bytes that a decoder takes in as one number. The intervals of a range coder are nested, so the
    numbers from `low` up to `end` give these tokens and no others do. The one with the most trailing zero
    bytes is the shortest payload; of several that are equally short the smallest is taken.
    """
    num_words, (lower, size) = encoder.pos()
    num_bytes = 4 * (num_words + 2)  # the words written so far, and the 64 bits of the state
    sealed = encoder.get_compressed().astype(">u4").tobytes()[:num_bytes].ljust(num_bytes, b"\0")
    # Sealing rounds the lower end up to a whole word and resolves the carry: undo the first, keep the second.
    low = int.from_bytes(sealed, "big") - -lower % 2**32
    end = low + size
    for shift in range(64, -1, -8):
        point = -(-low >> shift) << shift  # low, rounded up
        if point < end:
            return point.to_bytes(num_bytes, "big").rstrip(b"\0")
    raise AssertionError("the interval of a range coder is never empty")


# Plain packing


def _pack_bits(levels: Levels, model: CountsModel) -> bytes:
    """Tokens -> ceil(log2 n) bits each, highest bit first, in order, zeros up to the last whole byte."""
    bits = [np.zeros(0, dtype=np.uint8)]
    for tokens, num_bits in zip(levels, _bits(model, len(levels))):
        shifts = np.arange(num_bits - 1, -1, -1, dtype=np.int32)
        bits.append((tokens.reshape(-1, 1) >> shifts & 1).astype(np.uint8).ravel())  # (tokens * num_bits,)
    return np.packbits(np.concatenate(bits)).tobytes()


def _unpack_bits(payload: bytes, shapes: Sequence[Shape], model: CountsModel) -> Levels:
    """Bytes -> tokens. The length is checked first, so no array outgrows the payload."""
    sizes, widths = _sizes(model, len(shapes)), _bits(model, len(shapes))
    total_bits = sum(rows * cols * num_bits for (rows, cols), num_bits in zip(shapes, widths))
    needed = -(-total_bits // 8)
    if len(payload) < needed:
        raise Truncated(f"the payload has {len(payload)} bytes, its tokens {needed}; get the whole file")
    if len(payload) > needed:
        raise FormatError(f"the payload has {len(payload)} bytes, its tokens {needed}; get the file again")
    bits = np.unpackbits(np.frombuffer(payload, dtype=np.uint8))
    if bits[total_bits:].any():
        raise FormatError("the padding after the last token is not zero; get the file again")
    levels, start = [], 0
    for level, ((rows, cols), size, num_bits) in enumerate(zip(shapes, sizes, widths)):
        end = start + rows * cols * num_bits
        places = 1 << np.arange(num_bits - 1, -1, -1, dtype=np.int32)
        tokens = bits[start:end].reshape(rows * cols, num_bits) @ places
        if tokens.size and tokens.max() >= size:
            raise FormatError(
                f"token {tokens.max()} on level {level}, must be below {size}; get the file again"
            )
        levels.append(tokens.astype(np.int32).reshape(rows, cols))
        start = end
    return levels


# Checks


def _sizes(model: CountsModel, num_levels: int) -> list[int]:
    """The model -> the sizes of the first codebooks, as Python integers."""
    sizes = [int(size) for size in model.codebook_sizes[:num_levels]]
    if len(sizes) < num_levels:
        raise ValueError(f"{num_levels} levels, the model has {len(sizes)}")
    if any(not 1 <= size <= MAX_CODEBOOK for size in sizes):
        raise ValueError(f"codebooks of {sizes} codes, each must have 1 to {MAX_CODEBOOK}")
    return sizes


def _bits(model: CountsModel, num_levels: int) -> list[int]:
    """The model -> the bits that a packed token takes on each level: ceil(log2 n)."""
    return [(size - 1).bit_length() for size in _sizes(model, num_levels)]


def _checked_tokens(tokens: np.ndarray, size: int) -> np.ndarray:
    """Any array -> int32 (rows, cols) of 0..size-1, or ValueError."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens are {tokens.dtype} {tokens.shape}, must be integers (rows, cols)")
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < size:
        raise ValueError(f"tokens are {tokens.min()} to {tokens.max()}, must be 0 to {size - 1}")
    return np.ascontiguousarray(tokens, dtype=np.int32)


def _checked_counts(counts: np.ndarray, num_rows: int, size: int) -> np.ndarray:
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
