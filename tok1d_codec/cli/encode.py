"""`t1d encode`: picture -> t1d file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tok1d_codec.cli import options
from tok1d_codec.cli.options import FILE, say, use_threads


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--levels", type=click.IntRange(min=1), help="Levels to write; fewer is smaller.  [default: 4]")
@options.model
@options.device
@options.threads
@options.force
@click.option("-v", "--verbose", is_flag=True, help="Also say what the bytes and the seconds went to.")
def encode(
    source: Path,
    target: Path,
    levels: int | None,
    model: str,
    device: str,
    threads: int | None,
    force: bool,
    verbose: bool,
) -> None:
    """Turn the picture IN into the t1d file OUT. `-` is stdin or stdout."""
    from bitstream.container import part_bytes, unpack
    from tok1d_codec.image.io import atomic_write, check_output, read_picture
    from tok1d_codec.models.cards import card_by_name

    check_output(target, force)
    most = card_by_name(model).levels
    if levels is not None and levels > most:
        raise click.BadParameter(f"model {model!r} has {most} levels, not {levels}", param_hint="--levels")
    start = time.perf_counter()
    picture = read_picture(source)
    for note in picture.notes:
        say(f"t1d: {source}: {note}")
    use_threads(threads)
    read = time.perf_counter()
    from tok1d_codec.codec import encode as encode_pixels
    from tok1d_codec.models.store import load_model

    loaded = load_model(model, device=device)
    ready = time.perf_counter()
    data = encode_pixels(picture.pixels, loaded, levels=levels)
    done = time.perf_counter()
    atomic_write(target, data, force)

    container = unpack(data)
    head = container.header
    rate_bpp = 8 * len(data) / (head.width * head.height)
    kept = f"{head.levels} of {most} levels"
    say(f"{target}: {len(data)} bytes, {rate_bpp:.4f} bpp, {kept}, {head.width}x{head.height}")
    if verbose:
        say("bytes: " + ", ".join(f"{part} {size}" for part, size in part_bytes(container).items()))
        say(f"seconds: read {read - start:.2f}, load model {ready - read:.2f}, encode {done - ready:.2f}")
