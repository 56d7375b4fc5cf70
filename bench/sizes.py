"""Small pictures: how many bytes they take, `python -m bench.sizes --data DIR` -> sizes.json with the results."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bench import kodak_command
from bench.datasets import open_dataset
from bench.metrics import Reference
from bench.records import measured_with
from bench.showcase import webp_files
from tok1d_codec.codec import decode, encode
from tok1d_codec.image.io import read_picture
from tok1d_codec.models.store import load_model

LONG_SIDES = (96, 192, 384)  # pixels
QUALITIES = (0, 20, 50)


def measure(data: str | None = None, count: int | None = None) -> dict:
    """Kodak in the folder `data`, only its first `count` pictures, made smaller (Lanczos) to each of LONG_SIDES.

    Returns: by long side and quality, means over the pictures: bytes and LPIPS of t1d; and of WebP, of the file of the
        lowest LPIPS at full, 1/2, 1/4 and 1/8 size in as many bytes, or of the smallest one where none is so small.
    """
    model, dataset = load_model("t1d", "cpu"), open_dataset("kodak", data).first(count)
    rows = {}
    for file in dataset.files:
        picture = Image.fromarray(read_picture(file).pixels)
        for side in LONG_SIDES:
            scale = side / max(picture.size)
            pixels = np.asarray(picture.resize([round(scale * s) for s in picture.size], Image.Resampling.LANCZOS))
            reference = Reference(pixels)
            for quality in QUALITIES:
                mine = encode(pixels, model, quality=quality, effort=None)
                theirs = webp_files(pixels, len(mine))
                best = min(theirs, key=lambda webp: reference.lpips_alex(webp.pixels))
                rows.setdefault((side, quality), []).append({
                    "bytes": len(mine), "lpips-alex": reference.lpips_alex(decode(mine, model)),
                    "webp-bytes": len(best.data), "webp-lpips-alex": reference.lpips_alex(best.pixels),
                })  # fmt: skip
    means = {name: {key: round(float(np.mean([row[key] for row in found])), 4) for key in found[0]}
             for name, found in rows.items()}
    results = {str(side): {str(quality): means[side, quality] for quality in QUALITIES} for side in LONG_SIDES}
    return {**measured_with(model), "pictures": len(dataset.files), "results": results}


def main() -> None:
    """Measure, print, and write to sizes.json in `bench.results_folder`."""
    kodak_command(__doc__, measure, "sizes.json")


if __name__ == "__main__":
    main()
