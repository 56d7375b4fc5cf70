"""Header <-> bytes: everything that stands before the checksum. SPEC.md has the byte table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from bitstream.errors import BadMagic, FormatError, LimitExceeded, Truncated, UnsupportedVersion
from bitstream.varint import decode_varint, encode_varint

MAGIC = 0xD1
VERSION_MARK = 0xD0  # high nibble of the second byte; the low one is the version
VERSIONS = (1, 2)  # that are read; the last is written
MAX_SIDE = 65535
MAX_PIXELS = 2**27
MAX_LEVELS = 15
MAX_PAYLOAD_BYTES = 2**28 - 1  # four bytes of varint
MAX_SCALE = 3
FIXED_BYTES = 5


class Coding(IntEnum):
    """How the payload holds the tokens."""

    PACKED = 0
    RANGE = 1


@dataclass(frozen=True)
class Header:
    """What a decoder must know before it can read the payload.

    Args:
        model_id: 0..255, never given to a second model.
        weights_tag: 0..255, the first byte of the sha256 of the model's weight file.
        width, height: of the picture, 1..65535 pixels.
        levels: 1..15, how many levels of tokens the payload holds.
        coding: how it holds them.
        version: of the format. Version 1 has no masks and no scale.
        varied: the payload has masks that say which cells have a token on which level.
        scale: 0..3; the tokens are those of the picture with its sides divided by 2**scale.
    Raises: ValueError for a value outside its range.
    """

    model_id: int
    weights_tag: int
    width: int
    height: int
    levels: int
    coding: Coding
    version: int = VERSIONS[-1]
    varied: bool = False
    scale: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("model_id", 0, 255),
            ("weights_tag", 0, 255),
            ("width", 1, MAX_SIDE),
            ("height", 1, MAX_SIDE),
            ("levels", 1, MAX_LEVELS),
            ("coding", 0, 1),
            ("version", VERSIONS[0], VERSIONS[-1]),
            ("varied", 0, 0 if self.version == 1 else 1),
            ("scale", 0, 0 if self.version == 1 else MAX_SCALE),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, must be {low} to {high}")

    @property
    def coded_size(self) -> tuple[int, int]:
        """(height, width) in pixels of the picture whose tokens these are."""
        return scaled(self.height, self.scale), scaled(self.width, self.scale)


def scaled(side: int, scale: int) -> int:
    """Side in pixels -> side / 2**scale, rounded up."""
    return -(-side >> scale)


def pack_header(header: Header, payload_bytes: int) -> bytes:
    """Header + length of the payload -> the bytes before the checksum, 8 to 15 of them.

    Raises: ValueError for a payload over `MAX_PAYLOAD_BYTES`.
    """
    if not 0 <= payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"the payload has {payload_bytes} bytes, must be 0 to {MAX_PAYLOAD_BYTES}")
    return pack_start(header) + encode_varint(payload_bytes)


def pack_start(header: Header) -> bytes:
    """Header -> its bytes but for the length of the payload."""
    if header.version == 1:
        flags = header.coding << 6 | header.levels
    else:
        flags = header.coding << 7 | header.varied << 6 | header.scale << 4 | header.levels
    fixed = bytes([MAGIC, VERSION_MARK | header.version, flags, header.model_id, header.weights_tag])
    return fixed + encode_varint(header.width) + encode_varint(header.height)


def unpack_header(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Header, int, int]:
    """Start of a file -> (header, payload_bytes, header_bytes).

    Reads no byte after the header, and trusts none in it: every field is checked before it is used.

    Args:
        data: the file, or at least its first 15 bytes.
        max_pixels: the largest width * height to accept.
    Returns: the header; how many bytes of payload it declares; where the checksum starts.
    Raises: BadMagic, UnsupportedVersion, Truncated, LimitExceeded, FormatError.
    """
    _check_start(data)
    if len(data) < FIXED_BYTES:
        raise Truncated(f"the file ends after {len(data)} bytes, inside its header; get the whole file")
    flags, model_id, weights_tag = data[2:FIXED_BYTES]
    version, levels = data[1] & 0x0F, flags & 0x0F
    if version == 1:
        coding, varied, scale = _old_flags(flags), 0, 0
    else:
        coding, varied, scale = flags >> 7, flags >> 6 & 1, flags >> 4 & 0b11
    if levels == 0:
        raise FormatError(f"the file has 0 levels, must have 1 to {MAX_LEVELS}; get the file again")

    width, at = decode_varint(data, FIXED_BYTES)
    height, at = decode_varint(data, at)
    _check_size(width, height, max_pixels)
    payload_bytes, at = decode_varint(data, at)
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise LimitExceeded(
            f"the payload is said to have {payload_bytes} bytes, at most {MAX_PAYLOAD_BYTES} are allowed; "
            "get the file again"
        )
    header = Header(
        model_id, weights_tag, width, height, levels, Coding(coding), version, bool(varied), scale
    )
    return header, payload_bytes, at


def _old_flags(flags: int) -> int:
    """Flags of version 1 -> coding. Raises: FormatError."""
    coding, reserved = flags >> 6, flags >> 4 & 0b11
    if coding not in tuple(Coding):
        raise FormatError(f"unknown coding {coding} (known: 0, 1); update t1d or get the file again")
    if reserved:
        raise FormatError(f"the reserved bits are {reserved}, must be 0; update t1d or get the file again")
    return coding


def _check_start(data: bytes) -> None:
    """The first two bytes, or as many as there are -> BadMagic, Truncated, UnsupportedVersion or nothing."""
    wrong_magic = data[:1] not in (b"", bytes([MAGIC]))
    if wrong_magic or (len(data) > 1 and data[1] & 0xF0 != VERSION_MARK):
        raise BadMagic(f"the file starts with {data[:2].hex(' ')}, must start with d1 d1; give a t1d file")
    if len(data) < 2:
        raise Truncated(f"the file has only {len(data)} bytes; get the whole file")
    version = data[1] & 0x0F
    if version not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        raise UnsupportedVersion(f"format version {version} is unknown (known: {known}); update t1d")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Sides of the picture -> FormatError, LimitExceeded or nothing."""
    if width == 0 or height == 0:
        raise FormatError(f"the picture is {width} x {height}, sides must be 1 or more; get the file again")
    if max(width, height) > MAX_SIDE:
        raise LimitExceeded(
            f"the picture is {width} x {height}, sides must be at most {MAX_SIDE}; get the file again"
        )
    if width * height > max_pixels:
        raise LimitExceeded(
            f"the picture has {width} x {height} pixels, at most {max_pixels} are allowed; "
            "raise the limit if you trust the file"
        )
