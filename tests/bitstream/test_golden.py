"""The files in golden/ are pinned: what was written is read for ever, what was refused stays refused."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from bitstream import Coding, Header, decode_tokens, encode_tokens, errors, pack, unpack, verify

FOLDER = Path(__file__).with_name("golden")
MAKE = runpy.run_path(str(FOLDER / "make.py"))
PINNED = {
    "good": "d1d14207e3a0017805d54013fa32096aef",
    "BadMagic": "89d14207e3a0017805d54013fa32096aef",
    "UnsupportedVersion": "d1df4207e3a0017805d54013fa32096aef",
    "Truncated": "d1d14207e3a0017805d54013fa32096a",
    "ChecksumMismatch": "d1d14207e3a0017805d54013fa32096a6f",
    "LimitExceeded": "d1d14207e3ffff03ffff0305d54013fa32096aef",
    "FormatError": "d1d15207e3a0017805d54013fa32096aef",
}


def read(name: str) -> bytes:
    return (FOLDER / f"{name}.t1d").read_bytes()


def decode(data: bytes) -> list[np.ndarray]:
    container = unpack(data)
    tokens = decode_tokens(container.header.coding, container.payload, MAKE["SHAPES"], MAKE["Model"]())
    verify(container, tokens, MAKE["SEED"])
    return tokens


def test_every_error_class_has_its_file():
    classes = {errors.FormatError, *errors.FormatError.__subclasses__()}
    names = {"good", *(c.__name__ for c in classes)}
    assert {path.stem for path in FOLDER.glob("*.t1d")} == names == set(PINNED)


@pytest.mark.parametrize("name", PINNED)
def test_bytes_are_pinned(name):
    assert read(name).hex() == PINNED[name]
    assert MAKE["build"]()[name] == read(name)


def test_the_good_file():
    tokens = MAKE["TOKENS"]
    header = Header(model_id=7, weights_tag=0xE3, width=160, height=120, levels=2, coding=Coding.RANGE, version=1)
    assert unpack(read("good")).header == header
    assert all(np.array_equal(a, b) for a, b in zip(decode(read("good")), tokens, strict=True))
    coding, payload = encode_tokens(tokens, MAKE["Model"]())
    assert pack(header, payload, tokens, MAKE["SEED"]) == read("good")
    assert coding is Coding.RANGE


@pytest.mark.parametrize("name", [name for name in PINNED if name != "good"])
def test_the_bad_files(name):
    with pytest.raises(errors.FormatError) as caught:
        decode(read(name))
    assert type(caught.value) is getattr(errors, name)
    assert str(caught.value) and "\n" not in str(caught.value)


def test_every_flipped_bit_of_the_good_file():
    data = read("good")
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.FormatError):
            decode(bytes(broken))


def test_every_truncation_of_the_good_file():
    data = read("good")
    for length in range(len(data)):
        with pytest.raises(errors.Truncated):
            decode(data[:length])
