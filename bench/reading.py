"""How much text can still be read: `python -m bench.reading --dataset FOLDER`, which needs `pip install '.[reading]'`.

Lines that a recogniser reads with confidence in the original are read again at the same places in what t1d decodes and in
WebP of three times the bytes. Writes reading-NAME.json with the results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench import dataset_parser, report
from bench.codecs import encode_at
from bench.datasets import Dataset, open_dataset
from bench.records import measured_with
from bench.regions import TIMES
from bench.showcase import webp_files
from tok1d_codec.codec import decode
from tok1d_codec.errors import MissingData
from tok1d_codec.image.io import read_picture
from tok1d_codec.models.store import load_model

RATES_BPP = (0.01, 0.02, 0.04, 0.08)
CONFIDENT = 0.9
SHORTEST = 3  # letters and digits


class Line(NamedTuple):
    """Corners of a line of text (4, 2) in pixels, clockwise from its top left, and its letters and digits."""

    corners: np.ndarray
    text: str


class Recogniser:
    """PP-OCR by the package rapidocr, which holds its weights."""

    def __init__(self) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError:
            raise MissingData("no recogniser of text; pip install 't1d[reading]', or rapidocr and onnxruntime") from None
        self._engine = RapidOCR(params={"Global.log_level": "error"})

    def find(self, pixels: np.ndarray) -> list[Line]:
        """uint8 (H, W, 3) -> the lines that it reads with confidence."""
        found = self._engine(pixels[..., ::-1].copy(), use_det=True, use_cls=True, use_rec=True)  # it remembers `read`'s
        rows = [] if found.boxes is None else zip(found.boxes, found.txts, found.scores)
        lines = [Line(np.asarray(box, np.float32), plain(text)) for box, text, score in rows if score > CONFIDENT]
        return [line for line in lines if len(line.text) >= SHORTEST]

    def read(self, pixels: np.ndarray, corners: np.ndarray) -> str:
        """uint8 (H, W, 3), where a line is -> what it reads there."""
        import cv2

        across, down = corners[[1, 2]] - corners[[0, 3]], corners[[3, 2]] - corners[[0, 1]]
        width, height = (max(1, int(np.linalg.norm(sides, axis=1).max())) for sides in (across, down))
        straight = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        turn = cv2.getPerspectiveTransform(corners, straight)
        edge = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
        line = cv2.warpPerspective(pixels[..., ::-1].copy(), turn, (width, height), **edge)
        line = np.ascontiguousarray(np.rot90(line) if height >= 1.5 * width else line)
        found = self._engine(line, use_det=False, use_cls=False, use_rec=True)
        return plain(found.txts[0]) if found.txts else ""


def plain(text: str) -> str:
    """-> its letters and digits, lower case."""
    return "".join(filter(str.isalnum, text.casefold()))


def right(text: str, read: str) -> float:
    """-> 1 less the edits that lead from one to the other over the length of the first (Levenshtein), at least 0."""
    edits = list(range(len(read) + 1))
    for i, letter in enumerate(text, start=1):
        before, edits[0] = edits[0], i
        for j, other in enumerate(read, start=1):
            before, edits[j] = edits[j], min(edits[j] + 1, edits[j - 1] + 1, before + (letter != other))
    return max(0.0, 1 - edits[-1] / len(text))


def measure(dataset: Dataset, recogniser: Recogniser, effort: int | None = None) -> dict:
    """Pictures of a data set -> figures over the lines of text in them.

    Returns: by rate, of t1d and of WebP of TIMES the bytes, at the scale that is read best in each picture: mean share of
        letters that are `right`, and share of lines in which all are.
    """
    model, rows, pictures = load_model("t1d", "cpu"), {rate: [] for rate in RATES_BPP}, 0
    for file in dataset.files:
        pixels = read_picture(file).pixels
        if not (lines := recogniser.find(pixels)):
            continue
        pictures += 1

        def score(decoded: np.ndarray) -> list[float]:
            return [right(line.text, recogniser.read(decoded, line.corners)) for line in lines]

        for rate_bpp in RATES_BPP:
            data = encode_at(pixels, model, rate_bpp, effort)
            webp = max((score(webp.pixels) for webp in webp_files(pixels, TIMES * len(data))), key=sum)
            rows[rate_bpp] += zip(score(decode(data, model)), webp)
    results = {}
    for rate_bpp, scores in rows.items():
        mine, theirs = (np.array(side) for side in zip(*scores)) if scores else (np.zeros(0), np.zeros(0))
        results[str(rate_bpp)] = {
            f"{name}-{what}": round(float(of(values)), 4) if scores else None
            for name, values in (("t1d", mine), ("webp", theirs))
            for what, of in FIGURES.items()
        }
    return {**measured_with(model), "effort": effort, "dataset": dataset.name, "pictures": pictures,
            "lines": len(rows[RATES_BPP[0]]), "times": TIMES, "results": results}  # fmt: skip


FIGURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"letters": np.mean, "lines": lambda values: np.mean(values == 1)}


def main() -> None:
    """Measure, print, and write into `bench.results_folder`."""
    parser = dataset_parser(__doc__, "kodak")
    parser.add_argument("--effort", type=int, help="as t1d encode has it")
    options = parser.parse_args()
    dataset = open_dataset(options.dataset, options.data)
    report(measure(dataset, Recogniser(), options.effort), f"reading-{dataset.name}.json")


if __name__ == "__main__":
    main()
