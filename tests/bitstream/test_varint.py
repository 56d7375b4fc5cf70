from __future__ import annotations

import pytest

from bitstream.errors import FormatError, Truncated
from bitstream.varint import decode_varint, encode_varint

# DWARF 5, figure 22, and the WebAssembly and Wikipedia examples.
KNOWN = {
    0: "00",
    2: "02",
    127: "7f",
    128: "8001",
    129: "8101",
    12857: "b964",
    16383: "ff7f",
    16384: "808001",
    624485: "e58e26",
    2**32 - 1: "ffffffff0f",
    2**35 - 1: "ffffffff7f",
}


@pytest.mark.parametrize("value, code", KNOWN.items())
def test_known_vectors(value, code):
    assert encode_varint(value) == bytes.fromhex(code)
    assert decode_varint(bytes.fromhex("aa" + code + "bb"), 1) == (value, 1 + len(code) // 2)


@pytest.mark.parametrize("value", [-1, 2**35])
def test_numbers_that_do_not_fit(value):
    with pytest.raises(ValueError):
        encode_varint(value)


@pytest.mark.parametrize("code", ["", "80", "ffffffff"])
def test_end_inside_a_number(code):
    with pytest.raises(Truncated):
        decode_varint(bytes.fromhex(code))


@pytest.mark.parametrize("code", ["8000", "ff00", "ffffff00", "8080808080", "ffffffffff01", "ffffffff8000"])
def test_longer_than_needed_or_allowed(code):
    with pytest.raises(FormatError) as caught:
        decode_varint(bytes.fromhex(code))
    assert type(caught.value) is FormatError
