"""`t1d models`: the models that files can name. Runs without torch."""

from __future__ import annotations

from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

import click

from bitstream.errors import T1DError

if TYPE_CHECKING:
    from tok1d_codec.models.cards import ModelCard

_COLUMNS = ("id", "name", "family", "parameters", "size", "licence")


@click.command()
def models() -> None:
    """List the models, with the bits that a token of each level takes."""
    from tok1d_codec.models.cards import CARDS

    rows = [_COLUMNS, *map(_row, CARDS)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number:
            card = CARDS[number - 1]
            click.echo(f"    trained: {card.trained}\n    levels: {_levels(card)}")


def _row(card: ModelCard) -> tuple[str, ...]:
    return (str(card.id), card.name, card.family, *_weights(card), card.licence)


def _weights(card: ModelCard) -> tuple[str, str]:
    """Model card -> how many weights its file holds, and the size of the file, once that has been checked."""
    from safetensors import safe_open

    from tok1d_codec.models.store import weight_path

    try:
        path = weight_path(card)
    except T1DError:
        return "-", "missing or damaged"
    with safe_open(path, framework="np") as file:
        names = [name for name in file.keys() if not name.startswith("tables.")]  # those are the coder's
        count = sum(prod(file.get_slice(name).get_shape()) for name in names)
    return f"{count / 1e6:.1f} M", f"{path.stat().st_size / 1e6:.1f} MB"


def _levels(card: ModelCard) -> str:
    """Model card -> what a token of each level takes: "10 bits per 64x64 px, 9 x 10 bits per 32x32 px"."""
    tokens = [
        f"{(size - 1).bit_length()} bits per {card.patch * stride}x{card.patch * stride} px"
        for size, stride in zip(card.codebook_sizes, card.strides, strict=True)
    ]
    runs = [(token, len(list(run))) for token, run in groupby(tokens)]
    return ", ".join(token if count == 1 else f"{count} x {token}" for token, count in runs)
