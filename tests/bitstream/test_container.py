from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest

from bitstream.coder import decode_tokens, encode_tokens
from bitstream.container import Container, pack, part_bytes, unpack, verify
from bitstream.errors import ChecksumMismatch, FormatError, Truncated
from bitstream.header import Coding, Header

HEADER = Header(model_id=1, weights_tag=0xE3, width=70, height=40, levels=2, coding=Coding.PACKED, version=1)
TOKENS = [np.array([[1, 2]]), np.array([[3], [260]])]
PAYLOAD = b"\x12\x34"


def test_bytes_are_pinned(seed):
    head = bytes.fromhex("d1d1 02 01 e3 46 28 02")
    covered = seed + head + PAYLOAD + bytes.fromhex("0100 0200 0300 0401")
    checksum = zlib.crc32(covered) & 0xFFFFFF
    data = pack(HEADER, PAYLOAD, TOKENS, seed)
    assert data == head + checksum.to_bytes(3, "big") + PAYLOAD
    assert data == bytes.fromhex("d1d1 02 01 e3 46 28 02 22260f 1234")
    assert unpack(data) == Container(HEADER, PAYLOAD, checksum)
    verify(unpack(data), TOKENS, seed)


def test_part_bytes_have_the_sum_of_the_file(seed):
    data = pack(HEADER, PAYLOAD, TOKENS, seed)
    assert part_bytes(unpack(data)) == {"header": 8, "checksum": 3, "payload": 2}
    assert len(data) == 13
    long = pack(HEADER, PAYLOAD * 100, TOKENS, seed)  # 200 bytes: the header says so in two
    cut = part_bytes(unpack(long[:40], cut=True))
    assert cut == {"header": 9, "checksum": 3, "payload": 28}


def test_the_checksum_sees_tokens_and_weights(seed):
    container = unpack(pack(HEADER, PAYLOAD, TOKENS, seed))
    others = [TOKENS[0], np.array([[3], [261]])]
    for tokens, other_seed in ((others, seed), (TOKENS[:1], seed), (TOKENS, seed[::-1])):
        with pytest.raises(ChecksumMismatch):
            verify(container, tokens, other_seed)


def test_token_dtype_and_layout_do_not_matter(seed):
    data = pack(HEADER, PAYLOAD, TOKENS, seed)
    for dtype in (np.int32, np.uint16, ">i8"):
        assert pack(HEADER, PAYLOAD, [np.asfortranarray(t, dtype=dtype) for t in TOKENS], seed) == data


@pytest.mark.parametrize("tokens", [[np.array([[-2]])], [np.array([[65536]])], [np.array([[1.0]])]])
def test_tokens_that_do_not_fit(tokens, seed):
    with pytest.raises(ValueError):
        pack(HEADER, PAYLOAD, tokens, seed)


def test_a_seed_of_the_wrong_length(seed):
    with pytest.raises(ValueError):
        pack(HEADER, PAYLOAD, TOKENS, seed[:31])


def test_the_length_must_be_exact(seed):
    data = pack(HEADER, PAYLOAD, TOKENS, seed)
    for length in range(len(data)):
        with pytest.raises(Truncated):
            unpack(data[:length])
    with pytest.raises(FormatError) as caught:
        unpack(data + b"\0")
    assert type(caught.value) is FormatError


def test_a_large_declared_payload_takes_no_memory():
    data = bytes.fromhex("d1d1 02 01 e3 46 28 ffffff7f 000000")
    tracemalloc.start()
    with pytest.raises(Truncated):
        unpack(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100_000


@pytest.mark.parametrize("sizes", [(6, 6), (128, 128)])
def test_every_flipped_bit_is_noticed(sizes, toy, draw, seed):
    shapes, model = [(2, 3), (2, 3)], toy(sizes)
    tokens = draw(shapes, sizes) if sizes[0] == 128 else [np.add.outer([0, 3], [0, 1, 2]) % 6] * 2
    coding, payload = encode_tokens(tokens, model)
    header = Header(1, seed[0], 70, 40, 2, coding)
    data = pack(header, payload, tokens, seed)
    assert verify(unpack(data), decode_tokens(coding, payload, shapes, model), seed) is None
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            container = unpack(bytes(broken))
            decoded = decode_tokens(container.header.coding, container.payload, shapes, model)
            verify(container, decoded, seed)
        with pytest.raises(FormatError):  # even a decoder that ignored the damage would not pass
            verify(unpack(bytes(broken)), tokens, seed)
