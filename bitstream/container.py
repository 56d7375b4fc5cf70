"""Header + payload + checksum <-> a whole file.

The checksum covers the tokens, not the bytes alone, and starts from the weights: a decoder that gets other
tokens, by damage, by other weights or by a fault of its own, finds out before it makes a picture of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bitstream.checks import check_bits, token_crc
from bitstream.errors import ChecksumMismatch, FormatError, Truncated
from bitstream.header import MAX_PIXELS, Coding, Header, pack_header, pack_start, unpack_header
from bitstream.walk import Frame

CHECKSUM_BYTES = 3
SEED_BYTES = 32


@dataclass(frozen=True)
class Container:
    """A file taken apart. `checksum` (24 bit) is what the file says, proven only by `verify`.

    `missing` counts the bytes of payload that the header promises and a cut file lacks.
    """

    header: Header
    payload: bytes
    checksum: int
    missing: int = 0


def frame(header: Header, seed: bytes) -> Frame:
    """Header + sha256 of the weight file -> what stands in the payload beside the tokens.

    It is the same for both codings, so that the shorter one can be chosen when both are written.
    """
    if header.version == 1:
        return Frame()
    start = pack_start(replace(header, coding=Coding.PACKED))
    return Frame(header.varied, check_bits(header.levels), zlib.crc32(start, zlib.crc32(seed)))


def pack(header: Header, payload: bytes, tokens: Sequence[np.ndarray], seed: bytes) -> bytes:
    """Header + payload + the tokens it holds -> the file.

    Args:
        tokens: the levels in order, each an integer array (rows, cols) of 0..65535, -1 for absent.
        seed: the 32 bytes of the sha256 of the model's weight file.
    Raises: ValueError for tokens or a seed that are not so.
    """
    head = pack_header(header, len(payload))
    checksum = _checksum(head, payload, tokens, seed)
    return head + checksum.to_bytes(CHECKSUM_BYTES, "big") + payload


def unpack(data: bytes, max_pixels: int = MAX_PIXELS, cut: bool = False) -> Container:
    """The file -> its parts. The length must be exactly the one that the header says, or less if `cut`.

    Raises: Truncated for a shorter file, FormatError for a longer one, and what `unpack_header` raises.
    """
    header, payload_bytes, header_bytes = unpack_header(data, max_pixels)
    start = header_bytes + CHECKSUM_BYTES
    missing = max(start + payload_bytes - len(data), 0)
    if missing > (payload_bytes if cut else 0):
        raise Truncated(f"the file has {len(data)} of its {start + payload_bytes} bytes; get the whole file")
    if len(data) > start + payload_bytes:
        raise FormatError(f"the file has {len(data)} bytes, must have {start + payload_bytes}; get it again")
    return Container(header, bytes(data[start:]), int.from_bytes(data[header_bytes:start], "big"), missing)


def verify(container: Container, tokens: Sequence[np.ndarray], seed: bytes) -> None:
    """Nothing, if the decoded tokens are those that were encoded. Arguments as for `pack`.

    Raises: ChecksumMismatch if they are not.
    """
    head = pack_header(container.header, len(container.payload))
    found = _checksum(head, container.payload, tokens, seed)
    if found != container.checksum:
        raise ChecksumMismatch(
            f"the tokens have checksum {found:06x}, must have {container.checksum:06x}; get the file again"
        )


def part_bytes(container: Container) -> dict[str, int]:
    """A file taken apart -> the size of each part in bytes, as far as it is there; the sum is the size of the file."""
    payload_bytes = len(container.payload)
    return {
        "header": len(pack_header(container.header, payload_bytes + container.missing)),
        "checksum": CHECKSUM_BYTES,
        "payload": payload_bytes,
    }


def _checksum(head: bytes, payload: bytes, tokens: Sequence[np.ndarray], seed: bytes) -> int:
    """Seed, header, payload and tokens, in this order -> the low 24 bits of their CRC-32."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"the seed has {len(seed)} bytes, must be the {SEED_BYTES} of a sha256 digest")
    crc = zlib.crc32(payload, zlib.crc32(head, zlib.crc32(seed)))
    for level in tokens:
        crc = token_crc(level, crc)
    return crc & 0xFFFFFF
