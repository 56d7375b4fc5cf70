"""The bytes of a payload: pinned, as the specification gives them, and as short as they can be."""

from __future__ import annotations

import numpy as np
import pytest

from bitstream.coder import decode_tokens, encode_tokens
from bitstream.errors import FormatError
from bitstream.header import Coding

HALVES = (2**23, 2**22, 2**21, 2**21)
STRADDLING = (2**23 - 1, 2, 2**23 - 1)  # the middle symbol lies across one half: carries stay open


def row(*tokens: int) -> list[np.ndarray]:
    return [np.array([tokens])]


def spec_encode(tokens, frequencies) -> bytes:
    """The encoder of SPEC.md on unbounded integers: no words, no carries."""
    low, size, num_bytes = 0, 2**64 - 1, 8
    for token in tokens:
        scale = size >> 24
        low, size = low + scale * sum(frequencies[:token]), scale * frequencies[token]
        if size < 2**32:
            low, size, num_bytes = low << 32, size << 32, num_bytes + 4
    for length in range(num_bytes + 1):
        unit = 256 ** (num_bytes - length)
        if -(-low // unit) * unit < low + size:
            return (-(-low // unit)).to_bytes(length, "big")


def spec_decode(payload, num_tokens, frequencies) -> list[int]:
    """The decoder of SPEC.md, word for word."""
    mask = 2**64 - 1
    point, at = int.from_bytes(payload[:8].ljust(8, b"\0"), "big"), 8
    lower, size, tokens = 0, 2**64 - 1, []
    starts = np.cumsum([0, *frequencies]).tolist()
    for _ in range(num_tokens):
        scale = size >> 24
        quotient = ((point - lower) & mask) // scale
        assert quotient < 2**24
        token = max(i for i in range(len(frequencies)) if starts[i] <= quotient)
        lower, size = (lower + scale * starts[token]) & mask, scale * frequencies[token]
        if size < 2**32:
            lower, size = lower << 32 & mask, size << 32
            word = int.from_bytes(payload[at : at + 4].ljust(4, b"\0"), "big")
            point, at = (point << 32 | word) & mask, at + 4
        tokens.append(token)
    return tokens


def test_range_bytes_are_pinned(fixed):
    """Codes 0, 10, 110 and 111 by the frequencies: 0 0 10 0 0 0 0 110 0 0 0 10."""
    tokens = row(0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 1)
    assert encode_tokens(tokens, fixed(HALVES)) == (Coding.RANGE, b"\x20\xc2")
    assert spec_decode(b"\x20\xc2", 12, HALVES) == tokens[0][0].tolist()


def test_packed_bytes_are_pinned(fixed):
    """Three bits for five codes, highest first: 011 010 001."""
    model = fixed((1, 1, 1, 1, 2**24 - 4))
    assert encode_tokens(row(3, 2, 1), model) == (Coding.PACKED, bytes([0b01101000, 0b10000000]))


def test_uniform_tokens_are_packed(fixed):
    uniform = fixed((2**14,) * 1024)
    tokens = [np.random.default_rng(1).integers(0, 1024, (24, 16))]
    coding, payload = encode_tokens(tokens, uniform)
    assert (coding, len(payload)) == (Coding.PACKED, 480)


def test_packed_wins_a_draw(fixed, written):
    assert encode_tokens(row(0, 0), fixed(HALVES)) == (Coding.RANGE, b"")
    assert written([np.array([[2]], np.int32)], fixed(HALVES)) == b"\xc0"
    assert encode_tokens(row(2), fixed(HALVES)) == (Coding.PACKED, b"\x80")


def test_nothing_to_say_takes_no_bytes(toy, fixed):
    assert encode_tokens([np.zeros((3, 3), int)], fixed((2**24 - 7, 7))) == (Coding.RANGE, b"")
    assert encode_tokens([np.zeros((3, 3), int)], toy((1,))) == (Coding.PACKED, b"")
    assert encode_tokens([], fixed(HALVES)) == (Coding.PACKED, b"")
    assert decode_tokens(Coding.RANGE, b"", [(3, 3)], toy((1,)))[0].tolist() == [[0] * 3] * 3


@pytest.mark.parametrize("frequencies", [HALVES, STRADDLING, (1, 2**24 - 1), (2**24 - 2, 1, 1)])
def test_the_specification_gives_the_same_bytes(frequencies, fixed, written):
    model, rng = fixed(frequencies), np.random.default_rng(3)
    odds = np.array(frequencies) / 2**24
    for length in list(range(1, 40)) * 4:
        even = rng.random() < 0.5  # else as the counts say
        tokens = rng.choice(len(odds), length, p=None if even else odds)
        payload = written([tokens[None].astype(np.int32)], model)
        assert payload == spec_encode(tokens.tolist(), frequencies)
        assert spec_decode(payload, length, frequencies) == tokens.tolist()
        assert np.array_equal(decode_tokens(Coding.RANGE, payload, [(1, length)], model)[0][0], tokens)


@pytest.mark.parametrize("num_open", range(7))
@pytest.mark.parametrize("last", [(0,), (2,), (0, 0), (2, 2), (0, 2, 2), ()])
def test_carries(num_open, last, fixed, written):
    tokens = [1] * num_open + list(last) or [0]
    payload = written([np.array([tokens], np.int32)], fixed(STRADDLING))
    assert payload == spec_encode(tokens, STRADDLING)
    assert decode_tokens(Coding.RANGE, payload, [(1, len(tokens))], fixed(STRADDLING))[0][0].tolist() == tokens


def test_no_shorter_payload_decodes(fixed):
    tokens = [0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    assert len(spec_encode(tokens, HALVES)) == 2
    for other in [b""] + [bytes([i]) for i in range(256)] + [bytes([0x20, i]) for i in range(0xC2)]:
        try:
            assert decode_tokens(Coding.RANGE, other, [(1, 12)], fixed(HALVES))[0][0].tolist() != tokens
        except FormatError:
            pass


@pytest.mark.parametrize("num_tokens", [1, 10, 384, 3000])
def test_payload_is_within_two_bytes_of_the_information(num_tokens, fixed, written):
    rng = np.random.default_rng(num_tokens)
    weights = rng.pareto(1.0, 200) + 1e-3
    frequencies = np.maximum(1, (weights / weights.sum() * (2**24 - 300)).astype(np.int64))
    frequencies[0] += 2**24 - frequencies.sum()
    tokens = rng.choice(200, (1, num_tokens), p=frequencies / 2**24)
    payload = written([tokens.astype(np.int32)], fixed(tuple(frequencies.tolist())))
    information_bits = -np.log2(frequencies[tokens] / 2**24).sum()
    assert information_bits / 8 - 1 < len(payload) <= information_bits / 8 + 2
