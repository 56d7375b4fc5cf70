"""`t1d encode`: picture -> t1d file."""

from __future__ import annotations

import re
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.header import MAX_PIXELS
from tok1d_codec.cli import batch, options
from tok1d_codec.cli.options import say, use_threads

if TYPE_CHECKING:
    from bitstream.header import Header
    from tok1d_codec.models.store import Model


class Bytes(click.ParamType):
    """A number of bytes: `600`, `600B`, `1.5kB`, `2MB`; a kB is 1000 bytes."""

    name = "bytes"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(k|M)?B?", str(value), re.IGNORECASE)
        unit = {"": 1, "k": 1_000, "m": 1_000_000}
        size = float(found[1]) * unit[(found[2] or "").lower()] if found else 0
        if not 1 <= size < sys.maxsize:
            self.fail(f"{value!r} is not a number of bytes such as 600, 600B or 1.5kB")
        return int(size)


class Box(click.ParamType):
    """LEFT,TOP,RIGHT,BOTTOM in pixels, as Pillow has it."""

    name = "box"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if not re.fullmatch(r"\d+(,\d+){3}", str(value)):
            self.fail(f"{value!r} is not LEFT,TOP,RIGHT,BOTTOM in pixels, such as 40,20,120,80")
        return tuple(map(int, str(value).split(",")))


@click.command()
@batch.arguments
@batch.out
@click.option("-q", "--quality", type=options.Finite(0, 100),
              help="0 is the smallest file at full resolution, 100 about 0.09 bpp, which is not the end of --bpp.  [default: 50]")
@click.option("--bpp", type=options.Finite(min=0, min_open=True), help="At most so many bits per pixel.")
@click.option("--size", type=Bytes(), help="At most so many bytes: 600, 600B, 1.5kB.")
@click.option("--levels", type=click.IntRange(min=1),
              help="The same number of levels for all of the picture, faces or not; `t1d models` has how many there are.")
@click.option("--roi", multiple=True, type=Box(), metavar="LEFT,TOP,RIGHT,BOTTOM",
              help="A region of interest, in pixels, that gets more of the bytes, such as a face; may be repeated.")
@click.option("--faces/--no-faces", default=True, help="Find faces, which get more of the bytes.  [default: on]")
@click.option("--text/--no-text", default=True, help="Find text, which gets more of the bytes.  [default: on]")
@options.effort
@options.model
@options.device
@options.threads
@click.option("--max-pixels", type=click.IntRange(1, MAX_PIXELS), default=MAX_PIXELS, show_default=True,
              help="Refuse larger pictures.")
@options.force
@batch.skip_existing
@click.option("-v", "--verbose", is_flag=True, help="Also say what the bytes and the seconds went to.")
def encode(names: tuple[Path, ...], out: str | None, quality: float | None, bpp: float | None, size: int | None,
           levels: int | None, roi: tuple[tuple[int, int, int, int], ...], faces: bool, text: bool, effort: int | None,
           model: str, device: str, threads: int | None, max_pixels: int, force: bool,
           skip_existing: bool, verbose: bool) -> None:  # fmt: skip
    """Turn the picture IN into a t1d file: t1d encode IN OUT. `-` is stdin or stdout.

    With -o any number of pictures, and of folders of pictures, become t1d files in the folder OUT; one that fails is
    reported, and the others are encoded. One of -q, --bpp, --size and --levels says how large a file may be.
    """
    from bitstream.container import part_bytes, unpack
    from tok1d_codec.image.files import atomic_write, check_output
    from tok1d_codec.image.io import SUFFIXES, read_picture
    from tok1d_codec.models.cards import card_by_name
    from tok1d_codec.regions import checked_boxes

    asked = {"--quality": quality, "--bpp": bpp, "--size": size, "--levels": levels}
    given = [name for name, value in asked.items() if value is not None]
    if roi and levels is not None:
        raise click.UsageError("--levels are the same for all of the picture; --roi goes with -q, --bpp and --size")
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other; give one of them")
    most = card_by_name(model).levels
    if levels is not None and levels > most:
        raise click.BadParameter(f"model {model!r} has {most} levels, not {levels}", param_hint="--levels")
    pairs = batch.pairs(names, out, SUFFIXES, ".t1d")
    if pictures := [target for _, target in pairs if target.suffix.lower() in SUFFIXES]:
        raise click.UsageError(f"{str(pictures[0])!r} has the name of a picture; give OUT.t1d, or -o FOLDER for several inputs")
    if roi and len(pairs) > 1:
        raise click.UsageError("--roi is of one picture; encode it alone")

    if skip_existing:
        pairs = batch.without_existing(pairs)

    @cache
    def load() -> Model:
        use_threads(threads)
        from tok1d_codec.models.store import load_model

        loaded = load_model(model, device=device)
        idle = [name for name, value in {"--effort": effort, "--roi": roi, "-q": quality is not None}.items() if value]
        if idle and loaded.card.family != "t1d":
            say(f"t1d: without effect on models of the family {loaded.card.family}: {', '.join(idle)}")
        return loaded

    def work(source: Path, target: Path) -> None:
        check_output(target, force)
        start = time.perf_counter()
        picture = read_picture(source, max_pixels)
        for note in picture.notes:
            say(f"t1d: {source}: {note}")
        try:
            checked_boxes(roi, *picture.pixels.shape[:2])
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--roi") from None
        read = time.perf_counter()
        loaded = load()
        from tok1d_codec.codec import encode as encode_pixels

        ready = time.perf_counter()
        data = encode_pixels(
            picture.pixels, loaded, levels, quality=quality, bpp=bpp, size=size, effort=effort, roi=roi,
            faces=faces, text=text, progress=bool(sys.stderr and sys.stderr.isatty()),
        )  # fmt: skip
        done = time.perf_counter()
        atomic_write(target, data, force)
        container = unpack(data)
        say(f"{target}: {len(data)} bytes, {_described(container.header, len(data), most)}")
        if verbose:
            say("bytes: " + ", ".join(f"{part} {size}" for part, size in part_bytes(container).items()))
            say(f"seconds: read {read - start:.2f}, load model {ready - read:.2f}, encode {done - ready:.2f}")

    if len(pairs) > 1:
        load()  # a model that cannot be is said once, not for every file
    batch.each(pairs, out, work)


def _described(head: Header, size: int, most: int) -> str:
    """Header of a file, its bytes, levels of its model -> its rate, its levels and the size of its picture."""
    kept = ("up to " if head.varied else "") + f"{head.levels} of {most} levels"
    if head.scale:
        kept += f" at 1/{1 << head.scale} of the sides"
    return f"{8 * size / (head.width * head.height):.4f} bpp, {kept}, {head.width}x{head.height}"
