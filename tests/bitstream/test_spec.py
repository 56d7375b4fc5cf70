"""SPEC.md says what the code does: its example is read and rebuilt, its table of errors is compared."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import bitstream
from bitstream import Coding, Group, Header, decode_tokens, encode_tokens, errors, pack, unpack, verify
from bitstream.container import frame

SPEC = Path(bitstream.__file__).with_name("SPEC.md").read_text(encoding="utf-8")
TOKENS = [
    np.array([[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 2, 0], [0, 0, 0, 0, 0, 0]]),
    np.array([[-1, 0, 0, 0, -1, -1], [0, 0, 0, 1, -1, -1], [-1, -1, -1, 0, -1, -1]]),
]


class Model:
    codebook_sizes = (4, 4)

    def groups(self, shapes):
        return [Group(level, np.arange(rows * cols)) for level, (rows, cols) in enumerate(shapes)]

    def counts(self, known, group):
        return np.array([8388607, 4194303, 2097151, 2097151])


def example() -> bytes:
    block = re.search(r"```hex\n(.*?)```", SPEC, re.DOTALL).group(1)
    return bytes.fromhex("".join(line.split("   ")[0] for line in block.splitlines()))


def test_the_example_decodes(seed):
    container = unpack(example())
    assert container.header == Header(1, 0xE3, 70, 40, 2, Coding.RANGE, varied=True)
    parts = container.header.coding, container.payload, [(3, 6), (3, 6)], Model()
    tokens = decode_tokens(*parts, frame(container.header, seed))
    assert all(np.array_equal(a, b) for a, b in zip(tokens, TOKENS, strict=True))
    verify(container, tokens, seed)
    assert seed.hex().startswith("e3b0c442") and seed[0] == container.header.weights_tag


def test_the_example_encodes(seed):
    header = Header(1, seed[0], 70, 40, 2, Coding.RANGE, varied=True)
    coding, payload = encode_tokens(TOKENS, Model(), frame(header, seed))
    assert coding == Coding.RANGE and pack(header, payload, TOKENS, seed) == example()


def test_the_tokens_and_counts_are_those_of_the_text():
    text = re.sub(r"\s+", " ", SPEC)
    first, second = (" ".join(map(str, level.ravel())) for level in TOKENS)
    assert f"`{first}` and, -1 for absent, `{second}`" in text
    assert ", ".join(map(str, Model().counts(None, None))) in text


def test_the_exit_codes_are_those_of_the_classes():
    named = set(re.findall(r"\((\w+), (\d+)\)", SPEC))
    ours = {(name, code) for name, code in named if hasattr(errors, name)}
    classes = {errors.FormatError, *errors.FormatError.__subclasses__()}
    assert ours == {(c.__name__, str(c.exit_code)) for c in classes}


def test_the_table_of_models_is_that_of_the_cards():
    from tok1d_codec.models.cards import CARDS

    rows = re.findall(r"^\| (\d+) \| (t1d-\d+) \| (\d+) \| (.+) \| (.+) \|$", SPEC, re.M)
    cards = [(str(card.id), card.name, str(card.patch)) for card in CARDS]
    assert [row[:3] for row in rows] == cards
    card = CARDS[0]
    assert card.strides == (2, *[1] * 9) and card.codebook_sizes == (1024, 512, *[1024] * 8)
