"""Photographs + model -> a folder of t1d files beside WebP files of the same size, and a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import skimage.data

from bench.codecs import SCALES, PillowCodec, Setting, encode_at
from bench.contact_sheet import Cell, contact_sheet
from bench.metrics import psnr_rgb
from tok1d_codec.codec import decode
from tok1d_codec.image.files import atomic_write, check_output
from tok1d_codec.image.io import write_picture

if TYPE_CHECKING:
    from tok1d_codec.models.store import Model

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")  # in scikit-image's wheel, nothing is fetched
RATES_BPP = (0.005, 0.01, 0.02, 0.04)
SHEET = "contact-sheet.png"
WEBP = PillowCodec("webp", qualities=())
LEGEND = Cell(("WebP at the same number of bytes,", "full, 1/2, 1/4 or 1/8 size, by PSNR"))


@dataclass(frozen=True)
class Webp:
    """A WebP file, and what it shows at the size of the original: uint8 (H, W, 3)."""

    data: bytes
    scale: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Pair:
    """One picture at one rate: the t1d file, what it decodes to, and WebP at its number of bytes."""

    rate_bpp: float
    data: bytes
    pixels: np.ndarray
    webp: Webp


def pairs(
    pixels: np.ndarray, model: Model, rates_bpp: Sequence[float], effort: int | None = None
) -> Iterator[Pair]:
    """Picture, uint8 (H, W, 3) -> a pair for each rate; where t1d has no file so small, its smallest one."""
    for rate_bpp in rates_bpp:
        data = encode_at(pixels, model, rate_bpp, effort)
        yield Pair(rate_bpp, data, decode(data, model), best_webp(pixels, len(data)))


def sheet_rows(name: str, pixels: np.ndarray, pairs: Sequence[Pair]) -> list[list[Cell]]:
    """A picture and its pairs -> two rows of a contact sheet: original and t1d, WebP below."""
    upper, lower = [_original(name, pixels)], [LEGEND]
    for pair in pairs:
        said = figures(pair.data, pixels, pair.pixels)
        upper.append(Cell((f"t1d, at most {pair.rate_bpp:g} bpp", said), pair.pixels))
        webp = pair.webp
        title = f"WebP, 1/{webp.scale} size" if webp.scale > 1 else "WebP, full size"
        title += "" if len(webp.data) <= len(pair.data) else ", as small as it gets"
        lower.append(Cell((title, figures(webp.data, pixels, webp.pixels)), webp.pixels))
    return [upper, lower]


def blank_rows(name: str, pixels: np.ndarray, count: int) -> list[list[Cell]]:
    """-> rows as large as those of `sheet_rows`, as far as is known before there is a pair."""
    cell = Cell(("WebP, 1/8 size, as small as it gets", "1000 bytes, 0.0100 bpp, 20.0 dB"), pixels)
    return [[_original(name, pixels), *[cell] * count], [LEGEND, *[cell] * count]]


def _original(name: str, pixels: np.ndarray) -> Cell:
    height, width = pixels.shape[:2]
    return Cell((name, f"original, {width}x{height}"), pixels)


def check_folder(folder: Path, force: bool) -> None:
    """Make the folder. Raises OutputExists if it holds one of the files to write and `force` is False."""
    folder.mkdir(parents=True, exist_ok=True)
    stems = [f"{name}-{rate_bpp:g}" for name in PHOTOGRAPHS for rate_bpp in RATES_BPP]
    files = [f"{stem}.{kind}" for stem in stems for kind in ("t1d", "png", "webp")]
    for file in [SHEET, *(f"{name}.png" for name in PHOTOGRAPHS), *files]:
        check_output(folder / file, force)


def write_showcase(folder: Path, model: Model, force: bool, report: Callable[[str], object]) -> None:
    """Encode every photograph at each of RATES_BPP; `report` gets a line per file."""
    rows = []
    for name in PHOTOGRAPHS:
        pixels = getattr(skimage.data, name)()
        write_picture(pixels, folder / f"{name}.png", force=force)
        report(f"{folder / name}.png: the original, {pixels.shape[1]}x{pixels.shape[0]}")
        found = []
        for pair in pairs(pixels, model, RATES_BPP):
            stem = str(folder / f"{name}-{pair.rate_bpp:g}")
            atomic_write(f"{stem}.t1d", pair.data, force)
            report(f"{stem}.t1d: {figures(pair.data, pixels, pair.pixels)}")
            write_picture(pair.pixels, f"{stem}.png", force=force)
            atomic_write(f"{stem}.webp", pair.webp.data, force)
            report(f"{stem}.webp: {figures(pair.webp.data, pixels, pair.webp.pixels)}")
            found.append(pair)
        rows += sheet_rows(name, pixels, found)
    write_picture(contact_sheet(rows), folder / SHEET, force=force)
    report(f"{folder / SHEET}: all of them")


def figures(data: bytes, original: np.ndarray, decoded: np.ndarray) -> str:
    """A file and its picture -> "492 bytes, 0.0100 bpp, 21.0 dB"."""
    height, width = original.shape[:2]
    rate_bpp = 8 * len(data) / (width * height)
    return f"{len(data)} bytes, {rate_bpp:.4f} bpp, {psnr_rgb(original, decoded):.1f} dB"


def best_webp(pixels: np.ndarray, max_bytes: int) -> Webp:
    """Pixels uint8 (H, W, 3) -> the WebP file of highest PSNR in `max_bytes`, else the smallest one."""
    return max(webp_files(pixels, max_bytes), key=lambda file: psnr_rgb(pixels, file.pixels))


def webp_files(pixels: np.ndarray, max_bytes: int) -> list[Webp]:
    """Pixels uint8 (H, W, 3) -> at each scale the WebP file of the highest quality in `max_bytes`.

    Where none at any scale is so small, the smallest one alone. WebP has no sides above 16383 pixels: such scales
    are left out.
    """
    height, width = pixels.shape[:2]
    files = [(scale, _largest_fit(pixels, scale, max_bytes)) for scale in SCALES if WEBP.holds(pixels, scale)]
    trials = [Webp(data, scale, WEBP.decode(data, width, height)) for scale, data in files]
    fitting = [trial for trial in trials if len(trial.data) <= max_bytes]
    return fitting or [min(trials, key=lambda trial: len(trial.data))]


def _largest_fit(pixels: np.ndarray, scale: int, max_bytes: int) -> bytes:
    """The file of the highest quality that fits, or of quality 0 if none does."""
    best = WEBP.encode(pixels, Setting(0, scale))
    low, high = 0, 100 if len(best) <= max_bytes else 0
    while low < high:
        middle = (low + high + 1) // 2
        data = WEBP.encode(pixels, Setting(middle, scale))
        if len(data) <= max_bytes:
            low, best = middle, data
        else:
            high = middle - 1
    return best
