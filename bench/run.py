"""A data set and codecs -> measured curves, files with them, tables and plots."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench import CODECS, plots, records, tables
from bench.codecs import EFFORTS, RATES_BPP, Codec, open_codec
from bench.datasets import Dataset, open_dataset
from bench.metrics import Reference
from bench.records import Record
from tok1d_codec.image.files import check_output
from tok1d_codec.image.io import read_picture
from tok1d_codec.models.cards import card_by_name


@dataclass(frozen=True)
class Report:
    """What a benchmark gave: text to print, and the files that hold all of it."""

    text: str
    paths: tuple[Path, ...]


def benchmark(dataset: str | Path = "kodak", data_dir: str | Path | None = None, model_name: str = "t1d",
              device: str = "auto", codecs: Sequence[str] = CODECS, out_dir: str | Path = "bench/results",
              limit: int | None = None, command: str | None = None, progress: bool = True,
              rates_bpp: Sequence[float] = RATES_BPP, efforts: Sequence[int] = EFFORTS) -> Report:
    """Measure codecs on a data set and write the results to out_dir/DATASET, see `records.folder_of`.

    Each codec's curves are written as soon as it is done. Curves that lie in that folder already and were
    measured on the same pictures appear in the tables and plots too, so that t1d can be measured again
    without the others.

    Args:
        dataset, data_dir: as `bench.datasets.open_dataset`.
        model_name: t1d's model.
        device: where t1d runs. Metrics are always computed on the CPU.
        codecs: names out of `bench.CODECS`.
        limit: only the first so many pictures, in a folder of their own; None is all.
        rates_bpp, efforts: of t1d, with a curve for each effort; models that have none are measured once.
        command: what the user typed, to be kept with the results.
    Raises:
        MissingData: the pictures are not there. And what loading the model or reading a picture raises.
    """
    pictures = open_dataset(dataset, data_dir).first(limit)
    meta = {"data": pictures.name, "pictures": len(pictures.files), "data_sha256": pictures.sha256(),
            "command": command, **records.environment(torch.get_num_threads())}
    folder = records.folder_of(Path(out_dir), pictures.name, meta["data_sha256"])
    folder.mkdir(parents=True, exist_ok=True)
    check_output(folder / "table.md", force=True)
    paths = []
    has_effort = "t1d" in codecs and card_by_name(model_name).family == "t1d"
    efforts, rates_bpp = dict.fromkeys(efforts) if has_effort else (0,), list(dict.fromkeys(rates_bpp))
    for name, effort in [(name, effort) for name in codecs for effort in (efforts if name == "t1d" else (0,))]:
        codec = open_codec(name, model_name, device, rates_bpp, effort)
        curves = evaluate(codec, pictures, meta, progress)
        paths += [records.save(curve, folder) for curve in curves]
        if name != "t1d":
            paths.append(records.save(records.best_of_scales(curves), folder))
    known = _in_order(_of_today(records.load_folder(folder, meta["data_sha256"])))
    name = pictures.name.encode(errors="backslashreplace").decode()  # a folder's name need not be text
    title = f"{name}, {len(pictures.files)} picture{'s' * (len(pictures.files) > 1)}"
    text = tables.report(known, title)
    table = folder / "table.md"
    table.write_text(text)
    whole_kodak = str(dataset) == "kodak" and limit is None
    drawn = plots.plot_all(known, title, folder, with_published=whole_kodak)
    return Report(text, (*paths, table, *drawn))


def _of_today(known: list[Record]) -> list[Record]:
    """Curves -> those that are not of an older model which then went by the name of today's."""
    newest = card_by_name("t1d").name
    old = sorted(r.name for r in known if re.fullmatch(r"t1d(-effort\d)?", r.name) and r.meta.get("model") != newest)
    if old:
        print(f"t1d: left out, since measured with an older model: {', '.join(old)}", file=sys.stderr)
    return [record for record in known if record.name not in old]


def evaluate(codec: Codec, pictures: Dataset, meta: dict[str, Any], progress: bool = False) -> list[Record]:
    """Codec + pictures -> one curve for each scale it has; seconds are of a codec that ran once before."""
    rows: dict[int, dict[float, list]] = {}  # scale -> quality -> figures of each picture
    total = len(pictures.files) * len(codec.settings)
    with tqdm(total=total, desc=codec.name, unit="file", disable=None if progress else True) as bar:
        for number, file in enumerate(pictures.files):
            pixels = read_picture(file).pixels
            reference = Reference(pixels)
            if number == 0:
                next(codec.points(pixels))
            for point in codec.points(pixels):
                rows.setdefault(point.setting.scale, {}).setdefault(point.setting.quality, []).append(
                    {"bpp": point.rate_bpp, **reference.compare(point.reconstruction),
                     "encoding_time": point.encode_seconds, "decoding_time": point.decode_seconds})
                bar.update()
    names = [file.name for file in pictures.files]
    meta = {**codec.meta(), **meta}
    return [records.make_record(codec.name, scale, codec.description, meta, names, of_scale)
            for scale, of_scale in rows.items()]


def _in_order(curves: Sequence[Record]) -> list[Record]:
    """Curves -> by codec, then the larger scale first, the best of them last."""
    def place(curve: Record) -> tuple[int, str, float]:
        scale = curve.meta["scale"]
        codec, size = curve.meta["codec"], float("inf") if scale == records.BEST else scale
        return CODECS.index(records.family(codec)), codec, size
    return sorted(curves, key=place)
