"""`t1d decode`: t1d file -> picture."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import click

from tok1d_codec.cli import batch, options
from tok1d_codec.cli.options import say, use_threads


@click.command()
@batch.arguments
@batch.out
@click.option("--format", type=click.Choice(["png", "jpeg", "webp", "tiff"]),
              help="Format of OUT.  [default: by its extension; png for - and in a folder]")
@click.option("--partial", is_flag=True, help="Make the coarser picture that a file holds up to where it is cut or damaged.")
@click.option("--guess", type=click.Choice(["none", "likely", "sample"]), default="none", show_default=True,
              help="With --partial: what stands for tokens that are missing in the level where the file ends.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of --guess sample.")
@options.own_model
@options.device
@options.threads
@options.max_pixels
@options.force
@batch.skip_existing
def decode(names: tuple[Path, ...], out: str | None, format: str | None, partial: bool, guess: str, seed: int,
           model: str | None, device: str, threads: int | None, max_pixels: int, force: bool,
           skip_existing: bool) -> None:  # fmt: skip
    """Turn the t1d file IN back into a picture: t1d decode IN OUT (.png, .jpg, .webp, .tif). `-` is stdin or stdout.

    With -o any number of files, and of folders of t1d files, become pictures in the folder OUT; one that fails is
    reported, and the others are decoded. With --partial, a file that was cut anywhere behind its checksum gives a picture
    of the tokens that are certain, and one that is damaged there of the levels before the damage; the exit code is then 8.
    """
    from bitstream.container import unpack
    from tok1d_codec.errors import PartialPicture
    from tok1d_codec.image.files import check_output, read_bytes
    from tok1d_codec.image.io import check_size, output_format, write_picture
    from tok1d_codec.models.cards import OWN_ID, card_by_id
    from tok1d_codec.models.store import shared_model

    if not partial and (guess != "none" or seed):
        raise click.UsageError("--guess and --seed go with --partial")
    pairs = batch.pairs(names, out, (".t1d",), f".{format or 'png'}")
    if skip_existing:
        pairs = batch.without_existing(pairs)

    load = cache(shared_model)  # by name: it need not look into a weight file for every input

    def work(source: Path, target: Path) -> None:
        kind = output_format(target, format)
        check_output(target, force)
        data = read_bytes(source)
        container = unpack(data, max_pixels, cut=partial)
        check_size(container.header.width, container.header.height, kind)
        own = model if container.header.model_id == OWN_ID else None
        name = own or card_by_id(container.header.model_id).name
        use_threads(threads)
        from tok1d_codec import codec

        # where it is the only file, a bad one ends before torch is loaded
        ready = load(name, device) if own or len(pairs) > 1 else None
        if partial:
            pixels, held = codec.decode_partial(data, ready, device, max_pixels, guess, seed)
        else:
            pixels, held = codec.decode(data, ready, device, max_pixels), None
        write_picture(pixels, target, format, force)
        say(f"{target}: {pixels.shape[1]}x{pixels.shape[0]} from {len(data)} bytes")
        if held and (held.damaged or container.missing):
            what = "is damaged" if held.damaged else f"has {len(data)} of {len(data) + container.missing} bytes"
            raise PartialPicture(f"{source} {what}: {held.complete} of {len(held.levels)} levels are whole")

    if len(pairs) > 1 and device != "auto":
        from tok1d_codec.device import pick_device

        pick_device(device)  # one that is not there is said once, not for every file
    batch.each(pairs, out, work)
