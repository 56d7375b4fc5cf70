"""Masks, checks and prefixes: what version 2 has in a payload beside the tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitstream.checks import ABSENT, check_bits
from bitstream.coder import decode_prefix, decode_tokens, encode_tokens
from bitstream.errors import ChecksumMismatch, FormatError, Truncated
from bitstream.header import Coding
from bitstream.masks import mask_counts, runs
from bitstream.walk import Frame

FRAME = Frame(varied=True, check_bits=8, crc=12345)
SHAPES, SIZES = [(3, 4), (6, 7), (6, 7), (6, 7)], (16, 8, 8, 5)


@pytest.fixture
def varied(draw):
    """Tokens that stop at another depth in every cell, deeper to the right."""
    tokens = draw(SHAPES, SIZES)
    depth = np.arange(7) // 2 + np.random.default_rng(3).integers(0, 2, (6, 7))
    return [tokens[0], *(np.where(depth > level, t, ABSENT) for level, t in enumerate(tokens[1:]))]


def test_absent_tokens_come_back(varied, toy):
    coding, payload = encode_tokens(varied, toy(SIZES), FRAME)
    decoded = decode_tokens(coding, payload, SHAPES, toy(SIZES), FRAME)
    assert all(np.array_equal(a, b) for a, b in zip(decoded, varied, strict=True))


def test_packed_payloads_have_masks_and_checks_too(varied, toy):
    uniform = toy(SIZES)
    uniform.counts = lambda known, group: np.full(
        SIZES[group.level], (2**24 - SIZES[group.level]) // SIZES[group.level]
    ) + (np.arange(SIZES[group.level]) == 0) * ((2**24 - SIZES[group.level]) % SIZES[group.level])
    small = [level[:1, :1] for level in varied]
    coding, payload = encode_tokens([small[0]], uniform, replace(FRAME, varied=False))
    assert coding is Coding.PACKED and len(payload) == 2  # four bits, eight of check
    shapes = [(1, 1)]
    assert decode_tokens(coding, payload, shapes, uniform, replace(FRAME, varied=False))[0] == small[0]
    with pytest.raises(Truncated):
        decode_tokens(coding, payload[:1], shapes, uniform, FRAME)
    with pytest.raises(FormatError):
        decode_tokens(coding, payload + b"\0", shapes, uniform, FRAME)
    with pytest.raises(ChecksumMismatch):
        decode_tokens(coding, payload, shapes, uniform, replace(FRAME, crc=7))


def test_a_token_after_an_absent_one_is_refused(varied, toy):
    varied[2][varied[1] == ABSENT] = 1
    with pytest.raises(ValueError, match="level before"):
        encode_tokens(varied, toy(SIZES), FRAME)
    with pytest.raises(ValueError, match="must be 0"):
        encode_tokens(varied, toy(SIZES), replace(FRAME, varied=False))


def test_every_cut_of_a_range_coded_payload(varied, toy):
    coding, payload = encode_tokens(varied, toy(SIZES), FRAME)
    last, whole = -1, 0
    for length in range(len(payload)):
        found = decode_prefix(coding, payload[:length], SHAPES, toy(SIZES), FRAME, cut=True)
        assert found.complete >= whole
        whole, count = found.complete, sum(int((level >= 0).sum()) for level in found.levels)
        assert count >= last
        last = count
        for level, true in zip(found.levels, varied):
            assert (level[level >= 0] == true[level >= 0]).all()
        assert all(np.array_equal(a, b) for a, b in zip(found.levels[:whole], varied))
    assert whole == 3


def test_what_follows_a_cut_does_not_matter(varied, toy):
    """Whatever the missing bytes are, the tokens said to be certain are the same."""
    coding, payload = encode_tokens(varied, toy(SIZES), replace(FRAME, check_bits=0))
    rng, plain = np.random.default_rng(0), replace(FRAME, check_bits=0)
    for length in range(0, len(payload), 3):
        certain = decode_prefix(coding, payload[:length], SHAPES, toy(SIZES), plain, cut=True).levels
        for _ in range(20):
            other = payload[:length] + rng.bytes(16)
            try:
                found = decode_prefix(coding, other, SHAPES, toy(SIZES), plain, cut=True).levels
            except FormatError:
                continue
            for sure, level in zip(certain, found):
                assert (level[sure >= 0] == sure[sure >= 0]).all()


def test_level_bits_are_those_of_the_payload(varied, toy):
    coding, payload = encode_tokens(varied, toy(SIZES), FRAME)
    found = decode_prefix(coding, payload, SHAPES, toy(SIZES), FRAME, cut=False)
    assert -8 < 8 * len(payload) - sum(found.level_bits) < 16 and found.complete == 4


def test_a_wrong_check_is_an_error(varied, toy):
    coding, payload = encode_tokens(varied, toy(SIZES), FRAME)
    with pytest.raises(ChecksumMismatch, match="level 1"):
        decode_tokens(coding, payload, SHAPES, toy(SIZES), replace(FRAME, crc=54321))


@pytest.mark.parametrize("levels, bits", [(1, 8), (6, 8), (7, 6), (10, 4), (15, 3)])
def test_checks_take_six_bytes_at_most(levels, bits):
    assert check_bits(levels) == bits and levels * bits <= 48


def test_runs_give_every_cell_once_and_grow():
    alive = np.random.default_rng(0).random((30, 40)) < 0.5
    parts = list(runs(alive))
    assert [len(part) for part in parts[:5]] == [8, 12, 18, 27, 40]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.flatnonzero(alive))
    assert [part.tolist() for part in runs(np.ones((1, 3), bool))] == [[0, 2, 1]]
    assert [part.tolist() for part in runs(np.ones((2, 2), bool))] == [[0, 2, 1, 3]]


def test_masks_learn_what_is_common():
    assert mask_counts(0, 0).tolist() == [2**23 - 1, 2**23 - 1]
    for absent, present in ((20, 0), (3, 17), (10**5, 1)):
        counts = mask_counts(absent, present)
        assert counts.sum() == 2**24 - 2 and counts.min() >= 0
        assert counts[1] / counts.sum() == pytest.approx((present + 0.5) / (absent + present + 1), rel=0.01)
