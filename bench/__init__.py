"""The benchmark: t1d beside JPEG, WebP and AVIF on known pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

CODECS = ("t1d", "jpeg", "webp", "avif")


def results_folder() -> Path:
    """-> where results go by default: bench/results in a checkout, t1d-bench elsewhere."""
    return Path("bench/results") if Path("bench/kodak.sha256").is_file() else Path("t1d-bench")


def report(figures: dict, place: str) -> Path:
    """Print figures and write them as JSON to `place` in `results_folder` -> that file."""
    text, path = json.dumps(figures, indent=1), results_folder() / place
    print(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path


def dataset_parser(doc: str, default: str) -> argparse.ArgumentParser:
    """-> the parser of a benchmark that runs on any data set, to which it may add options of its own."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--dataset", default=default, help="kodak, skimage or a folder of pictures")
    parser.add_argument("--data", help="folder of the Kodak pictures")
    return parser


def kodak_command(doc: str, measure: Callable[[str | None, int | None], dict], place: str) -> None:
    """The command line of a benchmark that is called with the folder of Kodak and a number of pictures: see `report`."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", help="folder of the Kodak pictures")
    parser.add_argument("--count", type=int, help="only the first pictures")
    options = parser.parse_args()
    report(measure(options.data, options.count), place)
