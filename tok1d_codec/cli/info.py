"""`t1d info`: t1d file -> what it holds. Runs without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bitstream.errors import ChecksumMismatch, Truncated
from tok1d_codec.cli import options
from tok1d_codec.cli.options import FILE


@click.command()
@click.argument("source", metavar="FILE", type=FILE)
@options.own_model
@options.max_pixels
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def info(source: Path, model: str | None, max_pixels: int, as_json: bool) -> None:
    """Show version, model, size, tokens and bytes of the t1d file FILE, and whether it is undamaged.

    `-` is stdin. The checksum is ok, mismatch, cut for the first bytes of a file, wrong weights, unknown model, or
    unknown where the model's weights are not installed.
    """
    from tok1d_codec.errors import UnknownModel, WrongWeights
    from tok1d_codec.facts import info as read_info
    from tok1d_codec.image.files import read_bytes

    facts = read_info(read_bytes(source), model, max_pixels)
    click.echo(json.dumps(facts, indent=2) if as_json else _as_text(facts))
    if facts["checksum"] == "mismatch":
        raise ChecksumMismatch(f"{str(source)!r} is damaged or made with other weights; get it again")
    if facts["model"] is None:
        raise UnknownModel(f"{str(source)!r}: {facts['checksum']}")
    if facts["checksum"].startswith("wrong weights"):
        raise WrongWeights(f"{str(source)!r}: {facts['checksum']}")
    if facts["missing_bytes"]:
        raise Truncated(f"{str(source)!r} lacks its last {facts['missing_bytes']} bytes; get the whole file")


def _as_text(facts: dict[str, Any]) -> str:
    """One line per fact, its name in front; a fact with parts lists them."""
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {_value(value)}" for name, value in facts.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)
