"""Writes the files of this folder: one good file, and for each error class one bad file of that name.

They are checked in and never change while version 1 is read; this script says how they came about:

    PYTHONPATH=. python tests/bitstream/golden/make.py
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from bitstream import Group, Header, encode_tokens, pack

SEED = hashlib.sha256(b"").digest()
SHAPES = [(2, 3), (4, 5)]
TOKENS = [
    np.array([[5, 0, 1], [0, 0, 2]]),
    np.array([[0, 0, 1, 0, 0], [0, 3, 0, 0, 0], [0, 0, 0, 0, 0], [2, 0, 0, 1, 0]]),
]


class Model:
    """Two levels of six and four codes; the counts of the second depend on the sum of the first."""

    codebook_sizes = (6, 4)

    def groups(self, shapes):
        return [Group(level, np.arange(rows * cols)) for level, (rows, cols) in enumerate(shapes)]

    def counts(self, known, group):
        if group.level == 0:
            return np.array([2**23 - 1, 2**22 - 1, 2**21 - 1, 2**20 - 1, 2**19 - 1, 2**19 - 1])
        rare = 2**18 * int(known[0].sum())
        row = np.array([2**24 - 3 * rare - 1, rare - 1, rare - 1, rare - 1])
        return np.tile(row, (len(group.positions), 1))


def build() -> dict[str, bytes]:
    """File name without suffix -> bytes."""
    coding, payload = encode_tokens(TOKENS, Model())
    good = pack(Header(7, SEED[0], 160, 120, 2, coding, 1), payload, TOKENS, SEED)
    return {
        "good": good,
        "BadMagic": b"\x89" + good[1:],
        "UnsupportedVersion": good[:1] + b"\xdf" + good[2:],
        "Truncated": good[:-1],
        "ChecksumMismatch": good[:-1] + bytes([good[-1] ^ 0x80]),
        "LimitExceeded": good[:5] + b"\xff\xff\x03\xff\xff\x03" + good[8:],  # 65535 x 65535
        "FormatError": good[:2] + bytes([good[2] | 0x10]) + good[3:],  # a reserved bit
    }


if __name__ == "__main__":
    for name, data in build().items():
        Path(__file__).with_name(f"{name}.t1d").write_bytes(data)
