from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from bitstream.errors import BadMagic, FormatError, LimitExceeded, Truncated, UnsupportedVersion
from bitstream.header import MAX_PAYLOAD_BYTES, MAX_PIXELS, Coding, Header, pack_header, unpack_header

KODAK = Header(model_id=1, weights_tag=0xAB, width=768, height=512, levels=6, coding=Coding.RANGE, version=1)
KODAK_2 = replace(KODAK, version=2, varied=True, scale=1)
KODAK_BYTES = bytes.fromhex("d1d1 46 01 ab 8006 8004 ec03")


def test_bytes_are_pinned():
    assert pack_header(KODAK, 492) == KODAK_BYTES
    assert unpack_header(KODAK_BYTES + b"rest") == (KODAK, 492, 11)
    assert pack_header(KODAK_2, 492) == bytes.fromhex("d1d2 d6 01 ab 8006 8004 ec03")


def test_every_field_of_version_2_comes_back():
    for varied in (False, True):
        for scale in range(4):
            for coding in Coding:
                header = Header(9, 8, 767, 511, 15, coding, 2, varied, scale)
                assert unpack_header(pack_header(header, 5))[:2] == (header, 5)
    assert KODAK_2.coded_size == (256, 384)
    assert replace(KODAK_2, width=1, height=9, scale=3).coded_size == (2, 1)


@pytest.mark.parametrize("payload_bytes", [128, 16383])
def test_a_kodak_file_needs_14_bytes_with_its_checksum(payload_bytes):
    assert len(pack_header(KODAK, payload_bytes)) + 3 == 14


@pytest.mark.parametrize("header, payload_bytes, code", [
    (Header(0, 0, 1, 1, 1, Coding.PACKED, 1), 0, "d1d1 01 00 00 01 01 00"),
    (Header(255, 255, 65535, 2048, 15, Coding.RANGE, 1), 2**28 - 1, "d1d1 4f ff ff ffff03 8010 ffffff7f"),
])  # fmt: skip
def test_extremes(header, payload_bytes, code):
    data = bytes.fromhex(code)
    assert pack_header(header, payload_bytes) == data
    assert unpack_header(data) == (header, payload_bytes, len(data))


@pytest.mark.parametrize("change", [
    {"model_id": 256}, {"model_id": -1}, {"weights_tag": 256}, {"width": 0}, {"width": 65536},
    {"height": 0}, {"height": 65536}, {"levels": 0}, {"levels": 16}, {"coding": 2},
    {"version": 0}, {"version": 3}, {"varied": True}, {"scale": 1}, {"version": 2, "scale": 4},
])  # fmt: skip
def test_a_header_out_of_range_cannot_be_made(change):
    with pytest.raises(ValueError):
        replace(KODAK, **change)


@pytest.mark.parametrize("payload_bytes", [-1, MAX_PAYLOAD_BYTES + 1])
def test_a_payload_out_of_range_cannot_be_written(payload_bytes):
    with pytest.raises(ValueError):
        pack_header(KODAK, payload_bytes)


@pytest.mark.parametrize("code, error", [
    ("89504e470d0a1a0a", BadMagic),  # PNG
    ("ff", BadMagic),
    ("d1c1460001010100", BadMagic),
    ("d1d0460001010100", UnsupportedVersion),
    ("d1d3460001010100", UnsupportedVersion),
    ("d1df", UnsupportedVersion),
    ("", Truncated),
    ("d1", Truncated),
    ("d1d14600", Truncated),
    ("d1d186000001 01 00", FormatError),  # coding 2
    ("d1d1c6000001 01 00", FormatError),  # coding 3
    ("d1d156000001 01 00", FormatError),  # reserved
    ("d1d166000001 01 00", FormatError),  # reserved
    ("d1d140000001 01 00", FormatError),  # no levels
    ("d1d2c0000001 01 00", FormatError),  # no levels
    ("d1d1460000 00 01 00", FormatError),  # no width
    ("d1d1460000 01 00 00", FormatError),  # no height
    ("d1d1460000 8100 01 00", FormatError),  # not the shortest form
    ("d1d1460000 808004 01 00", LimitExceeded),  # width 65536
    ("d1d1460000 01 ffffffff7f 00", LimitExceeded),  # height 2**35 - 1
    ("d1d1460000 ffff03 ffff03 00", LimitExceeded),  # 65535 x 65535
    ("d1d1460000 01 01 8080808001", LimitExceeded),  # payload of 2**28
])  # fmt: skip
def test_each_rule_has_its_error(code, error):
    with pytest.raises(FormatError) as caught:
        unpack_header(bytes.fromhex(code))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


def test_every_truncation_is_truncated():
    for length in range(len(KODAK_BYTES)):
        with pytest.raises(Truncated):
            unpack_header(KODAK_BYTES[:length])


def test_the_pixel_limit_can_be_moved():
    large = pack_header(replace(KODAK, width=65535, height=65535), 0)
    assert unpack_header(large, max_pixels=2**32)[0].height == 65535
    exact = pack_header(replace(KODAK, width=2**14, height=MAX_PIXELS // 2**14), 0)
    assert unpack_header(exact)[0].width == 2**14
    with pytest.raises(LimitExceeded):
        unpack_header(exact, max_pixels=MAX_PIXELS - 1)


def test_huge_sizes_take_no_memory():
    codes = ["ffff03ffff0300", "0101ffffffff7f", "ffffffff7fffffffff7fffffffff7f"]
    tracemalloc.start()
    for code in codes:
        with pytest.raises(LimitExceeded):
            unpack_header(bytes.fromhex("d1d1460000" + code))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100_000
