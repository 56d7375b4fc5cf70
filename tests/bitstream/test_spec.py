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
    said = {}
    for number, name, patch, *columns in rows:
        strides, sizes = (said[text[3:]][i] if text.startswith("as ") else numbers(text) for i, text in enumerate(columns))
        said[name] = strides, sizes, (int(number), int(patch))
    assert said == {card.name: (card.strides, card.codebook_sizes, (card.id, card.patch)) for card in CARDS}


def numbers(text: str) -> tuple[int, ...]:
    """"2, then nine times 1" -> (2, 1, 1, 1, 1, 1, 1, 1, 1, 1)."""
    words = {"five": 5, "eight": 8, "nine": 9, "twelve": 12, "four": 4}
    found = []
    for part in text.replace("then ", "").split(", "):
        times, _, number = part.rpartition(" times ")
        found += [int(number)] * (words.get(times) or int(times or 1))
    return tuple(found)
