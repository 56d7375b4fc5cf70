"""`t1d decode`: t1d file -> picture."""

from __future__ import annotations

from pathlib import Path

import click

from bitstream.header import MAX_PIXELS
from tok1d_codec.cli import options
from tok1d_codec.cli.options import FILE, say, use_threads


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option(
    "--format",
    type=click.Choice(["png", "jpeg", "webp", "tiff"]),
    help="Format of OUT.  [default: by its extension; png for -]",
)
@click.option("--partial", is_flag=True, help="Make the coarser picture that the first bytes of a file hold.")
@click.option(
    "--guess",
    type=click.Choice(["none", "likely", "sample"]),
    default="none",
    show_default=True,
    help="With --partial: what stands for tokens that are missing in the level where the file ends.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of --guess sample.")
@options.device
@options.threads
@options.force
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures.",
)
def decode(
    source: Path,
    target: Path,
    format: str | None,
    partial: bool,
    guess: str,
    seed: int,
    device: str,
    threads: int | None,
    force: bool,
    max_pixels: int,
) -> None:
    """Turn the t1d file IN back into the picture OUT (.png, .jpg, .webp, .tif). `-` is stdin or stdout.

    With --partial, a file that was cut anywhere behind its checksum gives a picture too; the exit code is then 8.
    """
    from bitstream.container import unpack
    from tok1d_codec.errors import PartialPicture
    from tok1d_codec.image.files import check_output, read_bytes
    from tok1d_codec.image.io import output_format, write_picture
    from tok1d_codec.models.cards import card_by_id

    output_format(target, format)
    check_output(target, force)
    data = read_bytes(source)
    container = unpack(data, max_pixels, cut=partial)
    card_by_id(container.header.model_id)  # a bad file ends before torch is loaded
    use_threads(threads)
    from tok1d_codec.codec import decode_partial

    pixels, held = decode_partial(data, device=device, max_pixels=max_pixels, guess=guess, seed=seed)
    write_picture(pixels, target, format, force)
    say(f"{target}: {pixels.shape[1]}x{pixels.shape[0]} from {len(data)} bytes")
    if container.missing:
        total = len(data) + container.missing
        raise PartialPicture(
            f"{source} has {len(data)} of {total} bytes: {held.complete} of {len(held.levels)} levels are whole"
        )
