"""LPIPS with VGG16 instead of AlexNet: `python -m bench.vgg --vgg FILE` -> vgg-NAME.json with the results.

A check on the metric of the benchmark, which `--effort` descends: of VGG16 the encoder knows nothing. The decoder does,
it is one of its losses in training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench import dataset_parser, report
from bench.codecs import EFFORTS, encode_at
from bench.datasets import Dataset, open_dataset
from bench.records import measured_with
from bench.showcase import webp_files
from tok1d_codec.codec import decode
from tok1d_codec.image.io import read_picture
from tok1d_codec.models.store import load_model
from tok1d_codec.nn.lpips import LPIPS
from tok1d_codec.tensors import to_image

RATES_BPP = (0.01, 0.02, 0.04, 0.08)


def measure(dataset: Dataset, weights: Path) -> dict:
    """Pictures of a data set and the weights of `LPIPS("vgg")` -> mean distances, of its four layers.

    Returns: by rate, of t1d at each of EFFORTS, and of WebP in as many bytes, of the file of the lowest distance at full,
        1/2, 1/4 and 1/8 size.
    """
    model, net, rows = load_model("t1d", "cpu"), LPIPS("vgg", weights=weights), {rate: [] for rate in RATES_BPP}
    for file in dataset.files:
        pixels = read_picture(file).pixels
        original = to_image(pixels) * 2 - 1

        def distance(decoded: np.ndarray) -> float:
            return net(to_image(decoded) * 2 - 1, original).item()

        for rate_bpp, found in rows.items():
            files = [encode_at(pixels, model, rate_bpp, effort) for effort in EFFORTS]
            webp = min(distance(webp.pixels) for webp in webp_files(pixels, len(files[0])))
            found.append([*(distance(decode(data, model)) for data in files), webp])
    names = *(f"t1d-effort{effort}" for effort in EFFORTS), "webp"
    results = {
        str(rate_bpp): {name: round(float(value), 4) for name, value in zip(names, np.mean(found, axis=0), strict=True)}
        for rate_bpp, found in rows.items()
    }
    return {**measured_with(model), "dataset": dataset.name, "pictures": len(dataset.files), "results": results}


def main() -> None:
    """Measure, print, and write into `bench.results_folder`."""
    parser = dataset_parser(__doc__, "skimage")
    parser.add_argument("--vgg", required=True, type=Path, help="weights: safetensors of VGG16 up to relu4_3 and of LPIPS")
    options = parser.parse_args()
    dataset = open_dataset(options.dataset, options.data)
    report(measure(dataset, options.vgg), f"vgg-{dataset.name}.json")


if __name__ == "__main__":
    main()
