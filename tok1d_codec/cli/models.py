"""`t1d models`: the models that files can name; importing others. Listing runs without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.errors import T1DError
from tok1d_codec.cli import options

if TYPE_CHECKING:
    from tok1d_codec.models.cards import ModelCard
    from tok1d_codec.models.released import Released

_COLUMNS = ("id", "name", "family", "parameters", "size", "licence")
_FOREIGN = ("id", "name", "state", "parameters", "tokens", "bits", "licence")


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List the models: those that come with t1d, then released TiTok tokenizers, imported or not."""
    if context.invoked_subcommand is None:
        _list_bundled()
        _list_foreign()


@models.command("import")
@click.argument("name")
@click.argument("path", type=options.FILE)
@options.force
def import_(name: str, path: Path, force: bool) -> None:
    """Check the released checkpoint PATH of the model NAME and store it in the folder of your models.

    PATH is a folder with config.json and model.safetensors, or a .bin with its YAML beside it. The folder of
    your models is $T1D_HOME, if that is set.
    """
    from tok1d_codec.models.imported import import_titok

    _say_stored(name, import_titok(name, path, force))


@models.command()
@click.argument("name")
@options.force
def fetch(name: str, force: bool) -> None:
    """Download the model NAME from the Hugging Face hub and import it. Needs the package huggingface_hub."""
    from tok1d_codec.models.fetch import fetch as fetch_model

    _say_stored(name, fetch_model(name, force))


def _say_stored(name: str, file: Path) -> None:
    from tok1d_codec.models.imported import read_record

    record = read_record(name) or {}
    count, size = record.get("parameters", 0), record.get("bytes", 0)
    click.echo(f"{name}: {count / 1e6:.1f} M parameters, {size / 1e6:.1f} MB, checked and stored in {file}")


def _list_bundled() -> None:
    """The models that t1d comes with, with the bits that a token of each level takes."""
    from tok1d_codec.models.cards import CARDS

    head, *lines = _table([_COLUMNS, *map(_row, CARDS)])
    click.echo(head)
    for card, line in zip(CARDS, lines, strict=True):
        click.echo(f"{line}\n    trained: {card.trained}\n    levels: {_levels(card)}")


def _list_foreign() -> None:
    """The released models that can be imported; tokens and bits are those of a tile of 256x256 pixels."""
    from tok1d_codec.models.imported import model_folder
    from tok1d_codec.models.released import RELEASED

    click.echo(f"\nTiTok tokenizers, tokens and bits per 256x256 px; imported ones are in {model_folder()}")
    for line in _table([_FOREIGN, *map(_foreign_row, RELEASED.values())]):
        click.echo(line)
    click.echo("import: t1d models fetch NAME, or t1d models import NAME PATH")


def _foreign_row(model: Released) -> tuple[str, ...]:
    from tok1d_codec.models.imported import model_folder, read_record

    there = (model_folder() / f"{model.name}.safetensors").exists()
    state = "imported" if read_record(model.name) else "damaged" if there else "importable"
    numbers = f"{model.parameters / 1e6:.1f} M", str(model.config.tokens), str(model.config.bits_per_tile)
    return (str(model.id), model.name, state, *numbers, model.licence)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of cells -> lines, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(card: ModelCard) -> tuple[str, ...]:
    return (str(card.id), card.name, card.family, *_weights(card), card.licence)


def _weights(card: ModelCard) -> tuple[str, str]:
    """Model card -> how many weights it has, and the size of its own file, once that has been checked."""
    from tok1d_codec.models.store import read_shapes, weight_path

    try:
        path = weight_path(card)
    except T1DError:
        return "-", "missing or damaged"
    shapes = read_shapes(path)
    count = sum(prod(shape) for name, shape in shapes.items() if not name.startswith("tables."))  # those are the coder's
    return f"{count / 1e6:.1f} M", f"{path.stat().st_size / 1e6:.1f} MB"


def _levels(card: ModelCard) -> str:
    """Model card -> what a token of each level takes: "10 bits per 64x64 px, 9 x 10 bits per 32x32 px"."""
    tokens = [
        f"{(size - 1).bit_length()} bits per {side}x{side} px"
        for size, side in zip(card.codebook_sizes, card.sides, strict=True)
    ]
    runs = [(token, len(list(run))) for token, run in groupby(tokens)]
    return ", ".join(token if count == 1 else f"{count} x {token}" for token, count in runs)
