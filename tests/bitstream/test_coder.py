"""Tokens there and back; payloads and arguments that are wrong."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bitstream import walk
from bitstream.coder import decode_prefix, decode_tokens, encode_tokens
from bitstream.counts import Group, total
from bitstream.errors import FormatError, Truncated
from bitstream.header import Coding
from bitstream.symbols import BitWriter, RangeWriter
from bitstream.walk import Frame

HALVES = (2**23, 2**22, 2**21, 2**21)



# Round trips


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("sizes", [(2,), (3, 5), (512, 64, 1, 7), (1, 1), (1024,)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (6, 5)])
def test_round_trip(shape, sizes, shared, toy, draw, written):
    shapes = [shape] * len(sizes)
    tokens, model = draw(shapes, sizes), toy(sizes, shared)
    coding, payload = encode_tokens(tokens, model)
    decoded = decode_tokens(coding, payload, shapes, model)
    assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))
    assert all(level.dtype == np.int32 and level.shape == shape for level in decoded)
    levels = [level.astype(np.int32) for level in tokens]
    for coding, writer in ((Coding.RANGE, RangeWriter), (Coding.PACKED, BitWriter)):
        decoded = decode_tokens(coding, written(levels, model, writer), shapes, model)
        assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))


def test_a_prefix_of_the_levels_decodes_with_the_same_model(toy, draw):
    shapes, sizes = [(2, 2), (4, 4), (4, 4)], (16, 8, 8)
    tokens, model = draw(shapes, sizes)[:2], toy(sizes)
    coding, payload = encode_tokens(tokens, model)
    decoded = decode_tokens(coding, payload, shapes[:2], model)
    assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))


@pytest.mark.parametrize("shared", [True, False])
def test_chunks_give_the_same_bytes(shared, toy, draw, monkeypatch, written):
    shapes, sizes = [(9, 11), (9, 11)], (40, 300)
    tokens, model = [level.astype(np.int32) for level in draw(shapes, sizes)], toy(sizes, shared)
    whole = written(tokens, model)
    for entries in (1, 40 * 7, 300 * 16):
        monkeypatch.setattr(walk, "CHUNK_ENTRIES", entries)
        assert written(tokens, model) == whole
        decoded = decode_tokens(Coding.RANGE, whole, shapes, model)
        assert all(np.array_equal(a, b) for a, b in zip(decoded, tokens, strict=True))


def test_no_counts_over_the_chunk_limit_are_asked_for(toy, draw, monkeypatch):
    monkeypatch.setattr(walk, "CHUNK_ENTRIES", 64)
    asked = []

    class Watched(toy):
        def counts(self, known, group):
            asked.append(len(group.positions) * self.codebook_sizes[group.level])
            return super().counts(known, group)

    encode_tokens(draw([(5, 5)], (16,)), Watched((16,)))
    assert max(asked) <= 64


def test_known_holds_what_a_decoder_has(toy, written):
    seen = []

    class Watched(toy):
        def counts(self, known, group):
            seen.append([level.tolist() for level in known])
            return super().counts(known, group)

    model = Watched((4, 1))
    encode_tokens([np.array([[3, 2, 1]]), np.array([[0]])], model)
    assert seen == [[[[-1, -1, -1]], [[-1]]], [[[3, -1, 1]], [[-1]]]]
    seen.clear()
    levels = [np.array([[3, 2, 1]], np.int32), np.zeros((1, 1), np.int32)]
    decode_tokens(Coding.RANGE, written(levels, model), [(1, 3), (1, 1)], model)
    assert seen[:2] == seen[2:]


# Bad payloads


@pytest.mark.parametrize("payload, error", [
    (b"\x8c", Truncated),
    (b"\x8c\x00\x00", FormatError),
    (b"\x8c\x01", FormatError),  # padding
    (b"\xac\x00", FormatError),  # 101 is not below 5
])  # fmt: skip
def test_packed_payloads_are_checked(payload, error, fixed):
    with pytest.raises(FormatError) as caught:
        decode_tokens(Coding.PACKED, payload, [(1, 3)], fixed((2**24 - 4, 1, 1, 1, 1)))
    assert type(caught.value) is error


def test_a_point_outside_every_symbol(fixed):
    with pytest.raises(FormatError):
        decode_tokens(Coding.RANGE, b"\xff" * 8, [(1, 3)], fixed(HALVES))


def test_random_payloads_never_crash(toy, fixed):
    rng = np.random.default_rng(5)
    for length in range(40):
        for model in (toy((300, 7)), fixed(HALVES)):
            shapes = [(3, 3)] * len(model.codebook_sizes)
            try:
                levels = decode_tokens(Coding.RANGE, rng.bytes(length), shapes, model)
            except FormatError:
                continue
            for level, size in zip(levels, model.codebook_sizes, strict=True):
                assert 0 <= level.min() and level.max() < size


def test_a_short_packed_payload_takes_no_memory(fixed):
    tracemalloc.start()
    with pytest.raises(Truncated):
        decode_tokens(Coding.PACKED, b"\0" * 10, [(60000, 60000)], fixed(HALVES))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100_000


def test_a_long_packed_payload_takes_no_memory(fixed):
    payload = b"\0" * 10_000_000
    tracemalloc.start()
    for cut in (False, True):
        with pytest.raises(FormatError, match="1 at most"):
            decode_prefix(Coding.PACKED, payload, [(1, 3)], fixed(HALVES), Frame(), cut)
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
def test_tokens_are_checked(tokens, fixed):
    with pytest.raises(ValueError):
        encode_tokens([tokens], fixed(HALVES))


def test_levels_and_codebooks_are_checked(toy):
    token = np.zeros((1, 1), int)
    for levels, sizes in (([token] * 3, (4, 4)), ([token], (0,)), ([token], (65537,))):
        with pytest.raises(ValueError):
            encode_tokens(levels, toy(sizes))


@pytest.mark.parametrize("positions", [[0, 1, 2], [0, 1, 2, 3, 3], [0, 1, 2, 2], []])
def test_groups_must_give_every_position_once(positions, fixed):
    model = fixed(HALVES)
    model.groups = lambda shapes: [Group(0, np.array(positions, dtype=np.int64))]
    with pytest.raises(ValueError):
        encode_tokens([np.zeros((2, 2), int)], model)


@pytest.mark.parametrize("size", [2, 4096, 65536])
def test_large_and_small_codebooks(size, fixed, written):
    base = total(size) // size + 1
    model = fixed((2**24 - base * (size - 1), *[base] * (size - 1)))
    tokens = [np.array([[0, size - 1, size // 2]], dtype=np.int32)]
    payload = written(tokens, model)
    assert np.array_equal(decode_tokens(Coding.RANGE, payload, [(1, 3)], model)[0], tokens[0])
