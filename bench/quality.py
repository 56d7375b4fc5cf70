"""What `-q` stands for: `python -m bench.quality --data DIR` -> quality.json with the results."""

from __future__ import annotations

import numpy as np

from bench import kodak_command
from bench.datasets import open_dataset
from bench.records import measured_with
from tok1d_codec.codec import encode
from tok1d_codec.image.io import read_picture
from tok1d_codec.models.store import load_model

QUALITIES = (0, 20, 40, 50, 60, 80, 100)


def measure(data: str | None = None, count: int | None = None) -> dict:
    """Kodak in the folder `data`, only its first `count` pictures -> bpp by quality: mean, least and most."""
    model, dataset = load_model("t1d", "cpu"), open_dataset("kodak", data).first(count)
    rates = {quality: [] for quality in QUALITIES}
    for file in dataset.files:
        pixels = read_picture(file).pixels
        for quality, found in rates.items():
            found.append(8 * len(encode(pixels, model, quality=quality, effort=None)) / (pixels.shape[0] * pixels.shape[1]))
    means = {str(quality): {"mean": round(float(np.mean(found)), 4), "least": round(min(found), 4), "most": round(max(found), 4)}
             for quality, found in rates.items()}
    return {**measured_with(model), "pictures": len(dataset.files), "bpp": means}


def main() -> None:
    """Measure, print, and write to quality.json in `bench.results_folder`."""
    kodak_command(__doc__, measure, "quality.json")


if __name__ == "__main__":
    main()
