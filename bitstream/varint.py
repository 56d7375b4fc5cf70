"""Unsigned integers <-> bytes: LEB128, at most five bytes, one way to write each number.

Source: DWARF 5, section 7.6.
Differs: a longer form than needed is an error, so that equal headers have equal bytes.
"""

from __future__ import annotations

from bitstream.errors import FormatError, Truncated

MAX_BYTES = 5


def encode_varint(value: int) -> bytes:
    """Integer 0..2**35-1 -> 1 to 5 bytes, seven bits in each, the lowest first.

    Raises: ValueError for a number outside that range.
    """
    if not 0 <= value < 1 << 7 * MAX_BYTES:
        raise ValueError(f"cannot write {value} as a varint (0 to 2**35-1)")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes, start: int = 0) -> tuple[int, int]:
    """Bytes from `start` on -> (integer, index of the byte after it).

    Raises: Truncated when the bytes end first; FormatError for a form longer than needed or than five bytes.
    """
    value = 0
    for index in range(MAX_BYTES):
        if start + index >= len(data):
            raise Truncated(f"the file ends inside a number at byte {start}; get the whole file")
        byte = data[start + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise FormatError(f"the number at byte {start} is not in shortest form; get the file again")
            return value, start + index + 1
    raise FormatError(f"the number at byte {start} is longer than {MAX_BYTES} bytes; get the file again")
