"""Faces, text and skies of Kodak, t1d beside WebP of three times its bytes: `python -m bench.regions --data DIR`.

Writes regions.json (regions-effortN.json with --effort N) and a sheet of the regions, a WebP of the same name.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from bench import report
from bench.codecs import T1dCodec
from bench.contact_sheet import Cell, contact_sheet, shrunk
from bench.datasets import open_dataset
from bench.metrics import Reference
from bench.records import measured_with
from bench.showcase import Webp, figures, webp_files
from tok1d_codec.image.io import read_picture, write_picture
from tok1d_codec.models.store import load_model

REGIONS = {  # picture -> (left, top, right, bottom) in pixels
    "face": {"kodim04": (144, 208, 400, 592), "kodim15": (368, 32, 688, 480), "kodim17": (144, 80, 320, 304),
             "kodim18": (208, 128, 336, 256)},
    "text": {"kodim03": (80, 128, 272, 256), "kodim08": (528, 272, 752, 400), "kodim09": (336, 352, 464, 480),
             "kodim10": (128, 0, 320, 144), "kodim14": (480, 352, 672, 480)},
    "sky": {"kodim06": (0, 0, 768, 128), "kodim12": (0, 0, 512, 128), "kodim16": (0, 0, 768, 224),
            "kodim19": (0, 0, 512, 128), "kodim21": (0, 0, 416, 160)},
}  # fmt: skip
RATES_BPP = (0.01, 0.02, 0.04)
TIMES = 3  # the bytes of WebP over those of t1d
METRICS = ("lpips-alex", "ms-ssim-rgb")


def measure(data: str | None = None, effort: int = 0, count: int | None = None) -> tuple[dict, np.ndarray]:
    """Kodak in the folder `data`, of each kind only the first `count` regions -> figures, sheet uint8 (H, W, 3).

    Whole pictures are coded, then regions are cut out. Of WebP at full, 1/2, 1/4 and 1/8 size the file of the
    lowest LPIPS in the region counts.

    Returns:
        by kind and rate, means over its regions: of each of METRICS for t1d and for webp, and `worse`, the share
        of regions in which t1d has the higher LPIPS.
    """
    files = {file.stem: file for file in open_dataset("kodak", data).files}
    codec = T1dCodec(load_model("t1d", "cpu"), RATES_BPP, effort)
    found, rows = {}, []
    for kind, regions in REGIONS.items():
        figures_of = {rate_bpp: [] for rate_bpp in RATES_BPP}
        for name, box in list(regions.items())[:count]:
            pixels = read_picture(files[name]).pixels
            reference = Reference(_cut(pixels, box))
            upper, lower = [Cell((f"{kind}, {name}",), _cut(pixels, box))], [Cell((f"WebP of {TIMES} times the bytes",))]
            for point in codec.points(pixels):
                webp = _best(webp_files(pixels, TIMES * len(point.data)), reference, box)
                mine, theirs = (_cut(whole, box) for whole in (point.reconstruction, webp.pixels))
                figures_of[point.setting.quality].append(_compare(reference, mine, theirs))
                upper.append(Cell((f"t1d, {figures(point.data, pixels, point.reconstruction)}",), mine))
                lower.append(Cell((f"WebP, {figures(webp.data, pixels, webp.pixels)}",), theirs))
            rows += [upper, lower]
        found[kind] = {str(rate_bpp): _means(row) for rate_bpp, row in figures_of.items()}
    said = {"times": TIMES, **codec.meta(), **measured_with(codec.model), "regions": REGIONS, "results": found}
    return said, contact_sheet(rows)


def _cut(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _best(files: Sequence[Webp], reference: Reference, box: tuple[int, int, int, int]) -> Webp:
    return min(files, key=lambda file: reference.lpips_alex(_cut(file.pixels, box)))


def _compare(reference: Reference, mine: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    values = {name: reference.compare(pixels) for name, pixels in (("t1d", mine), ("webp", theirs))}
    found = {f"{name}-{metric}": values[name][metric] for name in values for metric in METRICS}
    return {**found, "worse": float(found["t1d-lpips-alex"] > found["webp-lpips-alex"])}


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}


def main() -> None:
    """Measure, print, and write into `bench.results_folder`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the Kodak pictures")
    parser.add_argument("--effort", type=int, default=0)
    parser.add_argument("--count", type=int, help="only the first regions of each kind")
    options = parser.parse_args()
    said, sheet = measure(options.data, options.effort, options.count)
    path = report(said, f"regions-effort{options.effort}.json" if options.effort else "regions.json")
    write_picture(shrunk(sheet, 1600), path.with_suffix(".webp"), force=True)


if __name__ == "__main__":
    main()
