from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from bitstream import coder
from bitstream.coder import Group, decode_tokens, encode_tokens, total
from bitstream.errors import FormatError, Truncated
from bitstream.header import Coding


@dataclass
class Fixed:
    """The same counts for every token, all tokens of a level in one group."""

    frequencies: tuple[int, ...]
    num_levels: int = 1

    @property
    def codebook_sizes(self):
        return (len(self.frequencies),) * self.num_levels

    def groups(self, shapes):
        return [Group(level, np.arange(rows * cols)) for level, (rows, cols) in enumerate(shapes)]

    def counts(self, known, group):
        return np.array(self.frequencies) - 1


HALVES = Fixed((2**23, 2**22, 2**21, 2**21))
STRADDLING = Fixed((2**23 - 1, 2, 2**23 - 1))  # the middle symbol lies across one half: carries stay open


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


# Round trips


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("sizes", [(2,), (3, 5), (512, 64, 1, 7), (1, 1), (1024,)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (6, 5)])
def test_round_trip(shape, sizes, shared, toy, draw):
    shapes = [shape] * len(sizes)
    tokens, model = draw(shapes, sizes), toy(sizes, shared)
    coding, payload = encode_tokens(tokens, model)
    decoded = decode_tokens(coding, payload, shapes, model)
    assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))
    assert all(level.dtype == np.int32 and level.shape == shape for level in decoded)
    levels = [level.astype(np.int32) for level in tokens]
    pairs = [(coder._range_encode, coder._range_decode), (coder._pack_bits, coder._unpack_bits)]
    for encode, decode in pairs:
        decoded = decode(encode(levels, model), shapes, model)
        assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))


def test_a_prefix_of_the_levels_decodes_with_the_same_model(toy, draw):
    shapes, sizes = [(2, 2), (4, 4), (4, 4)], (16, 8, 8)
    tokens, model = draw(shapes, sizes)[:2], toy(sizes)
    coding, payload = encode_tokens(tokens, model)
    decoded = decode_tokens(coding, payload, shapes[:2], model)
    assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))


@pytest.mark.parametrize("shared", [True, False])
def test_chunks_give_the_same_bytes(shared, toy, draw, monkeypatch):
    shapes, sizes = [(9, 11), (9, 11)], (40, 300)
    tokens, model = [level.astype(np.int32) for level in draw(shapes, sizes)], toy(sizes, shared)
    whole = coder._range_encode(tokens, model)
    for entries in (1, 40 * 7, 300 * 16):
        monkeypatch.setattr(coder, "CHUNK_ENTRIES", entries)
        assert coder._range_encode(tokens, model) == whole
        decoded = coder._range_decode(whole, shapes, model)
        assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))


def test_no_counts_over_the_chunk_limit_are_asked_for(toy, draw, monkeypatch):
    monkeypatch.setattr(coder, "CHUNK_ENTRIES", 64)
    asked = []

    class Watched(toy):
        def counts(self, known, group):
            asked.append(len(group.positions) * self.codebook_sizes[group.level])
            return super().counts(known, group)

    encode_tokens(draw([(5, 5)], (16,)), Watched((16,)))
    assert max(asked) <= 64


def test_known_holds_what_a_decoder_has(toy):
    seen = []

    class Watched(toy):
        def counts(self, known, group):
            seen.append([level.tolist() for level in known])
            return super().counts(known, group)

    model = Watched((4, 1))
    encode_tokens([np.array([[3, 2, 1]]), np.array([[0]])], model)
    assert seen == [[[[-1, -1, -1]], [[0]]], [[[3, -1, 1]], [[0]]]]
    seen.clear()
    levels = [np.array([[3, 2, 1]], np.int32), np.zeros((1, 1), np.int32)]
    coder._range_decode(coder._range_encode(levels, model), [(1, 3), (1, 1)], model)
    assert seen[:2] == seen[2:]


# Bytes


def test_range_bytes_are_pinned():
    """Codes 0, 10, 110 and 111 by the frequencies: 0 0 10 0 0 0 0 110 0 0 0 10."""
    tokens = row(0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 1)
    assert encode_tokens(tokens, HALVES) == (Coding.RANGE, b"\x20\xc2")
    assert spec_decode(b"\x20\xc2", 12, HALVES.frequencies) == tokens[0][0].tolist()


def test_packed_bytes_are_pinned():
    """Three bits for five codes, highest first: 011 010 001."""
    model = Fixed((1, 1, 1, 1, 2**24 - 4))
    assert encode_tokens(row(3, 2, 1), model) == (Coding.PACKED, bytes([0b01101000, 0b10000000]))


def test_uniform_tokens_are_packed():
    uniform = Fixed((2**14,) * 1024)
    tokens = [np.random.default_rng(1).integers(0, 1024, (24, 16))]
    coding, payload = encode_tokens(tokens, uniform)
    assert (coding, len(payload)) == (Coding.PACKED, 480)


def test_packed_wins_a_draw():
    assert encode_tokens(row(0, 0), HALVES) == (Coding.RANGE, b"")
    assert coder._range_encode([np.array([[2]], np.int32)], HALVES) == b"\xc0"
    assert encode_tokens(row(2), HALVES) == (Coding.PACKED, b"\x80")


def test_nothing_to_say_takes_no_bytes(toy):
    assert encode_tokens([np.zeros((3, 3), int)], Fixed((2**24 - 7, 7))) == (Coding.RANGE, b"")
    assert encode_tokens([np.zeros((3, 3), int)], toy((1,))) == (Coding.PACKED, b"")
    assert encode_tokens([], HALVES) == (Coding.PACKED, b"")
    assert decode_tokens(Coding.RANGE, b"", [(3, 3)], toy((1,)))[0].tolist() == [[0] * 3] * 3


@pytest.mark.parametrize("model", [HALVES, STRADDLING, Fixed((1, 2**24 - 1)), Fixed((2**24 - 2, 1, 1))])
def test_the_specification_gives_the_same_bytes(model):
    rng = np.random.default_rng(3)
    odds = np.array(model.frequencies) / 2**24
    for length in list(range(1, 40)) * 4:
        even = rng.random() < 0.5  # else as the counts say
        tokens = rng.choice(len(odds), length, p=None if even else odds)
        payload = coder._range_encode([tokens[None].astype(np.int32)], model)
        assert payload == spec_encode(tokens.tolist(), model.frequencies)
        assert spec_decode(payload, length, model.frequencies) == tokens.tolist()
        assert np.array_equal(coder._range_decode(payload, [(1, length)], model)[0][0], tokens)


@pytest.mark.parametrize("num_open", range(7))
@pytest.mark.parametrize("last", [(0,), (2,), (0, 0), (2, 2), (0, 2, 2), ()])
def test_carries(num_open, last):
    tokens = [1] * num_open + list(last) or [0]
    payload = coder._range_encode([np.array([tokens], np.int32)], STRADDLING)
    assert payload == spec_encode(tokens, STRADDLING.frequencies)
    assert coder._range_decode(payload, [(1, len(tokens))], STRADDLING)[0][0].tolist() == tokens


def test_no_shorter_payload_decodes():
    tokens = [0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    assert len(spec_encode(tokens, HALVES.frequencies)) == 2
    for other in [b""] + [bytes([i]) for i in range(256)] + [bytes([0x20, i]) for i in range(0xC2)]:
        try:
            assert coder._range_decode(other, [(1, 12)], HALVES)[0][0].tolist() != tokens
        except FormatError:
            pass


@pytest.mark.parametrize("num_tokens", [1, 10, 384, 3000])
def test_payload_is_within_two_bytes_of_the_information(num_tokens):
    rng = np.random.default_rng(num_tokens)
    weights = rng.pareto(1.0, 200) + 1e-3
    frequencies = np.maximum(1, (weights / weights.sum() * (2**24 - 300)).astype(np.int64))
    frequencies[0] += 2**24 - frequencies.sum()
    tokens = rng.choice(200, (1, num_tokens), p=frequencies / 2**24)
    payload = coder._range_encode([tokens.astype(np.int32)], Fixed(tuple(frequencies.tolist())))
    information_bits = -np.log2(frequencies[tokens] / 2**24).sum()
    assert information_bits / 8 - 1 < len(payload) <= information_bits / 8 + 2


# Bad payloads


@pytest.mark.parametrize("payload, error", [
    (b"\x8c", Truncated),
    (b"\x8c\x00\x00", FormatError),
    (b"\x8c\x01", FormatError),  # padding
    (b"\xac\x00", FormatError),  # 101 is not below 5
])  # fmt: skip
def test_packed_payloads_are_checked(payload, error):
    with pytest.raises(FormatError) as caught:
        decode_tokens(Coding.PACKED, payload, [(1, 3)], Fixed((2**24 - 4, 1, 1, 1, 1)))
    assert type(caught.value) is error


def test_a_point_outside_every_symbol():
    with pytest.raises(FormatError):
        decode_tokens(Coding.RANGE, b"\xff" * 8, [(1, 3)], HALVES)


def test_random_payloads_never_crash(toy):
    rng = np.random.default_rng(5)
    for length in range(40):
        for model in (toy((300, 7)), HALVES):
            shapes = [(3, 3)] * len(model.codebook_sizes)
            try:
                levels = decode_tokens(Coding.RANGE, rng.bytes(length), shapes, model)
            except FormatError:
                continue
            for level, size in zip(levels, model.codebook_sizes, strict=True):
                assert 0 <= level.min() and level.max() < size


def test_a_short_packed_payload_takes_no_memory():
    tracemalloc.start()
    with pytest.raises(Truncated):
        decode_tokens(Coding.PACKED, b"\0" * 10, [(60000, 60000)], HALVES)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100_000


# Arguments


@pytest.mark.parametrize("counts", [
    np.full(4, (2**24 - 4) / 4),  # floats
    np.full(4, True),
    np.array([2**24 - 3, -1, 0, 0]),
    np.array([2**24 - 4, 0, 0, 1]),
    np.array([2**24 - 5, 0, 0, 0]),
    np.array([2**62, 2**62, 2**62, 2**62 + 2**24 - 4]),  # the sum wraps round to the right one
    np.array([2**24 - 3, 0, 0]),
    np.array([[2**24 - 4, 0, 0, 0]] * 3),  # three rows for two tokens
    np.array([[2**24 - 4, 0, 0, 0], [2**24 - 5, 0, 0, 0]]),
])  # fmt: skip
def test_counts_are_checked(counts, toy):
    model = toy((4,))
    model.counts = lambda known, group: counts
    with pytest.raises(ValueError):
        encode_tokens([np.zeros((2, 2), int)], model)
    with pytest.raises(ValueError):
        decode_tokens(Coding.RANGE, b"", [(2, 2)], model)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64])
def test_counts_of_every_integer_type(dtype, toy):
    model = toy((4,))
    model.counts = lambda known, group: np.array([2**24 - 7, 1, 1, 1], dtype)
    assert encode_tokens([np.zeros((2, 2), int)], model) == (Coding.RANGE, b"")


@pytest.mark.parametrize("tokens", [
    np.array([[4]]), np.array([[-1]]), np.array([[1.0]]), np.array([1]), np.array([[[1]]]), np.array([[True]])
])  # fmt: skip
def test_tokens_are_checked(tokens):
    with pytest.raises(ValueError):
        encode_tokens([tokens], HALVES)


def test_levels_and_codebooks_are_checked(toy):
    token = np.zeros((1, 1), int)
    for levels, sizes in (([token] * 3, (4, 4)), ([token], (0,)), ([token], (65537,))):
        with pytest.raises(ValueError):
            encode_tokens(levels, toy(sizes))


@pytest.mark.parametrize("positions", [[0, 1, 2], [0, 1, 2, 3, 3], [0, 1, 2, 2], []])
def test_groups_must_give_every_position_once(positions):
    model = Fixed(HALVES.frequencies)
    model.groups = lambda shapes: [Group(0, np.array(positions, dtype=np.int64))]
    with pytest.raises(ValueError):
        encode_tokens([np.zeros((2, 2), int)], model)


@pytest.mark.parametrize("size", [2, 4096, 65536])
def test_large_and_small_codebooks(size):
    base = total(size) // size + 1
    model = Fixed((2**24 - base * (size - 1), *[base] * (size - 1)))
    tokens = [np.array([[0, size - 1, size // 2]], dtype=np.int32)]
    payload = coder._range_encode(tokens, model)
    assert np.array_equal(coder._range_decode(payload, [(1, 3)], model)[0], tokens[0])
