"""Symbols + integer counts <-> bytes: a range coder, and plain bits. The only importer of constriction.

Each way has a writer and a reader with the same `code`, so that one walk over the tokens serves both
directions. No float decides anything here: counts are integers, and the one float array that constriction
asks for holds integers below 2**24 that already have the sum it would scale them to.
"""

from __future__ import annotations

from typing import Protocol

import constriction
import numpy as np

from bitstream.errors import FormatError, Truncated

PRECISION = 24  # bits of a probability in constriction's default coders
STATE_WORDS = 2  # 32-bit words in its state


class Coder(Protocol):
    """One direction of one way to code; `plain` takes no notice of counts."""

    plain: bool

    def code(self, symbols: np.ndarray | None, num: int, size: int, counts: np.ndarray | None) -> np.ndarray:
        """Code `num` symbols of 0..size-1 -> int32 (num,); a reader of a cut payload may give fewer.

        Args:
            symbols: what a writer writes, int32 (num,); None for a reader.
            counts: integers (size,), shared, or (num, size); each row has the sum 2**24 - size.
        """


class RangeWriter:
    """Symbols -> the shortest payload."""

    plain = False

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def code(self, symbols: np.ndarray, num: int, size: int, counts: np.ndarray) -> np.ndarray:
        self._encoder.encode(symbols, *_categorical(counts))
        return symbols

    def payload(self) -> bytes:
        """-> the shortest bytes from which a reader that reads zeros after them gets the symbols back."""
        return _shortest_tail(self._encoder)


class RangeReader:
    """Payload -> symbols.

    A cut payload may end in anything. The intervals of a range coder are ordered as their points are, so a
    symbol is certain if it is the same with nothing but zeros and with nothing but ones after the cut.
    """

    plain = False

    def __init__(self, payload: bytes, cut: bool = False) -> None:
        self._decoders = [_decoder(payload + bytes(-len(payload) % 4))]
        if cut:  # what lies further behind cannot matter while the two agree
            self._decoders.append(_decoder(payload + b"\xff" * (-len(payload) % 4 + 4 * (STATE_WORDS + 2))))

    def code(self, symbols: None, num: int, size: int, counts: np.ndarray) -> np.ndarray:
        """Raises: FormatError for a payload that no encoder can have written."""
        found = [self._decode(i, num, counts) for i in range(len(self._decoders))]
        shorter = min(map(len, found))
        differ = np.flatnonzero(found[0][:shorter] != found[-1][:shorter])
        return found[0][: differ[0] if differ.size else shorter]

    def _decode(self, i: int, num: int, counts: np.ndarray) -> np.ndarray:
        """The next symbols of one decoder; those before the first impossible one, if the payload is cut."""
        before = self._decoders[i].clone()
        categorical, *rows = _categorical(counts)
        try:
            return self._decoders[i].decode(categorical, *rows or [num])
        except AssertionError:  # a quotient of 2**24: constriction's sign of a point outside every symbol
            if len(self._decoders) == 1:
                raise FormatError("the payload is not a range-coded stream; get the file again") from None
        found = []
        try:  # once in a file at most, since nothing is read after it
            while len(found) < num:
                row = counts if counts.ndim == 1 else counts[len(found)]
                found.append(before.decode(*_categorical(row)))
        except AssertionError:
            pass
        return np.array(found, np.int32)

    def finish(self) -> None:
        """Nothing to check: only the checksum tells a damaged payload from a good one."""


class BitWriter:
    """Symbols -> ceil(log2 size) bits each, highest bit first, zeros up to the last whole byte."""

    plain = True

    def __init__(self) -> None:
        self._bits = [np.zeros(0, np.uint8)]

    def code(self, symbols: np.ndarray, num: int, size: int, counts: object = None) -> np.ndarray:
        shifts = np.arange((size - 1).bit_length() - 1, -1, -1, dtype=np.int32)
        self._bits.append((symbols[:, None] >> shifts & 1).astype(np.uint8).ravel())  # (num * bits,)
        return symbols

    def payload(self) -> bytes:
        return np.packbits(np.concatenate(self._bits)).tobytes()


class BitReader:
    """Payload of plain bits -> symbols."""

    plain = True

    def __init__(self, payload: bytes, cut: bool = False) -> None:
        self._bits = np.unpackbits(np.frombuffer(payload, np.uint8))
        self._at, self._cut, self._payload_bytes = 0, cut, len(payload)

    def code(self, symbols: None, num: int, size: int, counts: object = None) -> np.ndarray:
        """Raises: Truncated for bits that are not there; FormatError for a symbol of `size` or above."""
        width = (size - 1).bit_length()
        held = num if width == 0 else min(num, (len(self._bits) - self._at) // width)
        if held < num and not self._cut:
            raise Truncated(f"the payload ends after {self._payload_bytes} bytes, before its last token; get the whole file")
        end = self._at + held * width
        places = 1 << np.arange(width - 1, -1, -1, dtype=np.int32)
        found = (self._bits[self._at : end].reshape(held, width) @ places).astype(np.int32)
        self._at = end
        if found.size and found.max() >= size:
            raise FormatError(f"token {found.max()} of {size} codes; get the file again")
        return found

    def finish(self) -> None:
        """Raises: FormatError if more follows than the zeros that fill the last byte."""
        rest = self._bits[self._at :]
        if len(rest) >= 8:
            raise FormatError(f"the payload has {self._payload_bytes} bytes, its tokens {-(-self._at // 8)}; get the file again")
        if rest.any():
            raise FormatError("the padding after the last token is not zero; get the file again")


def _decoder(data: bytes) -> constriction.stream.queue.RangeDecoder:
    return constriction.stream.queue.RangeDecoder(np.frombuffer(data, dtype=">u4").astype(np.uint32))


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
