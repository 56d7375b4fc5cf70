"""`t1d compare`: pictures -> one contact sheet, t1d beside WebP at the same number of bytes."""

from __future__ import annotations

from pathlib import Path

import click

from tok1d_codec.cli import options
from tok1d_codec.cli.options import FILE, say, use_threads


@click.command()
@click.argument("sources", metavar="IN...", type=FILE, nargs=-1, required=True)
@click.option("-o", "--out", "target", required=True, type=FILE, help="The sheet: .png, .jpg, .webp or .tif.")
@click.option("--bpp", "rates_bpp", multiple=True, type=options.Finite(min=0, min_open=True),
              help="A rate in bits per pixel; may be repeated.  [default: 0.005, 0.01, 0.02, 0.04]")
@click.option("--width", type=click.IntRange(min=1), help="Of the sheet, in pixels.  [default: full size]")
@options.effort
@options.model
@options.device
@options.threads
@options.force
def compare(sources: tuple[Path, ...], target: Path, rates_bpp: tuple[float, ...], width: int | None,
            effort: int | None, model: str, device: str, threads: int | None, force: bool) -> None:  # fmt: skip
    """Show the pictures IN at several rates, each beside WebP of the same number of bytes."""
    from bench.contact_sheet import contact_sheet, sheet_size, shrunk
    from tok1d_codec.image.files import check_output
    from tok1d_codec.image.io import check_size, output_format, read_picture, write_picture

    kind = output_format(target)
    check_output(target, force)
    pictures = [(source, read_picture(source)) for source in sources]
    use_threads(threads)
    from bench.showcase import RATES_BPP, blank_rows, pairs, sheet_rows
    from tok1d_codec.models.store import load_model

    rates_bpp = rates_bpp or RATES_BPP
    blank = [row for source, picture in pictures for row in blank_rows(source.stem, picture.pixels, len(rates_bpp))]
    check_size(*sheet_size(blank, width), kind)
    loaded, rows = load_model(model, device=device), []
    for source, picture in pictures:
        for note in picture.notes:
            say(f"t1d: {source}: {note}")
        found = list(pairs(picture.pixels, loaded, rates_bpp, effort))
        rows += sheet_rows(source.stem, picture.pixels, found)
    write_picture(shrunk(contact_sheet(rows), width), target, force=force)
    say(f"{target}: {len(sources)} pictures")
