"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path

import click

from bitstream.header import MAX_PIXELS


class FileName(click.Path):
    """A name that is not empty; what only comes to `-` as a Path, as `./-` does, is made absolute, since it is a file.

    None of click's own checks: they end with 2, a missing file has a code of its own.
    """

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        if not value:
            self.fail("an empty name; give that of a file or a folder", param, ctx)
        name = super().convert(value, param, ctx)
        return name.absolute() if name == Path("-") and value != "-" else name


FILE = FileName(path_type=Path)


class Finite(click.FloatRange):
    """A float in a range that is neither infinite nor NaN, which click lets pass."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where the networks run; auto is the GPU where there is one.",
)
effort = click.option(
    "--effort",
    type=click.IntRange(0, 9),
    help="How long to search for tokens that look better: 1 takes three to four times as long as 0, 9 forty-five times.  "
    "[default: 1 for pictures of up to 1024 pixels a side, 0 for larger ones]",
)
threads = click.option("--threads", type=click.IntRange(1, 4096), help="CPU threads of the networks.  [default: one per core]")
seed = click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of the random numbers.")
max_pixels = click.option(
    "--max-pixels", type=click.IntRange(min=1), default=MAX_PIXELS, show_default=True, help="Refuse larger pictures."
)
force = click.option("--force", is_flag=True, help="Overwrite outputs that exist.")
model = click.option("--model", default="t1d", show_default=True, help="A name that `t1d models` lists, or a model.safetensors of your own.")

own_model = click.option("--model", metavar="FILE", help="The model.safetensors of a file that a model of your own made.")


def use_threads(count: int | None) -> None:
    """Have the networks run on so many CPU threads. Imports torch only if a number is given."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


def say(text: str) -> None:
    """One line for the user. To stderr, since stdout may be carrying a file."""
    click.echo(text, err=True)
