"""Measured curves <-> JSON files, and the best of several curves."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tok1d_codec.image.files import atomic_write

if TYPE_CHECKING:
    from tok1d_codec.models.store import Model

QUALITY = {"psnr-rgb": 1, "ms-ssim-rgb": 1, "lpips-alex": -1}  # 1: higher is better; -1: lower is better
BEST = "best"
_PACKAGES = ("torch", "numpy", "pillow", "constriction")


@dataclass(frozen=True)
class Record:
    """One rate-distortion curve: each list of `results` has one entry for each setting.

    Entries are means over the pictures of each picture's own figure: bpp (of whole files), psnr-rgb (dB),
    ms-ssim-rgb, lpips-alex, border-ratio, repeat-share, colour-error, encoding_time and decoding_time (seconds).
    """
    name: str  # also the name of its file: "t1d", "webp-1of2", "webp-best"
    description: str
    meta: dict[str, Any]  # codec, scale, settings, data and how it was made
    results: dict[str, list[float]]
    pictures: dict[str, list] = field(default_factory=dict)  # names; metric -> [setting][picture]


def make_record(codec: str, scale: int, description: str, meta: dict[str, Any], names: Sequence[str],
                rows: dict[float, list[dict[str, float]]]) -> Record:
    """Figures of each picture -> a curve. `rows`: quality setting -> one {figure: value} per picture."""
    keys = next(iter(rows.values()))[0].keys()
    pictures = {key: [[row[key] for row in of_setting] for of_setting in rows.values()] for key in keys}
    results = {key: [_mean(of_setting) for of_setting in pictures[key]] for key in keys}
    name = codec if is_t1d(codec) else f"{codec}-{scale_label(scale)}"
    return Record(name, description, {"codec": codec, "scale": scale, "settings": list(rows), **meta},
                  results, {"names": list(names), **pictures})


def family(codec: str) -> str:
    """Name of a codec, "t1d-effort4" -> the one of `bench.CODECS` that it is of, "t1d"."""
    return codec.split("-")[0]


def is_t1d(codec: str) -> bool:
    """Name of a codec -> whether it is t1d, of whatever model and effort."""
    return family(codec) == "t1d"


def scale_label(scale: int) -> str:
    """1 -> "full", 2 -> "1of2", ..."""
    return "full" if scale == 1 else f"1of{scale}"


def best_of_scales(curves: Sequence[Record]) -> Record:
    """Curves of one codec at several scales -> the best that it reaches at each bpp of any of them.

    Between two points of a curve the figure is interpolated over log bpp; nothing is extrapolated. A value
    never gets worse as the bpp grow, since the smaller file may always be taken.
    """
    rates = np.unique(np.concatenate([curve.results["bpp"] for curve in curves]))
    results = {"bpp": rates.tolist()}
    for metric, sign in QUALITY.items():
        values = np.array([_interpolate(curve, metric, rates) for curve in curves])  # (curves, rates)
        best = np.fmax.reduce(sign * values)
        results[metric] = (sign * np.fmax.accumulate(best)).tolist()
    first = curves[0]
    meta = {**first.meta, "scale": BEST, "settings": []}
    name, description = f"{first.meta['codec']}-{BEST}", f"{first.description}; the best scale at each bpp"
    return Record(name, description, meta, results)


def value_at(curve: Record, metric: str, rate_bpp: float) -> float:
    """The curve's figure at `rate_bpp`, interpolated over log bpp; NaN outside its range."""
    return float(_interpolate(curve, metric, np.array([rate_bpp]))[0])


def save(record: Record, folder: Path) -> Path:
    """Record -> folder/NAME.json, which it returns. What is not finite is written as null."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.name}.json"
    atomic_write(path, (_json(_plain(asdict(record))) + "\n").encode(errors="backslashreplace"), force=True)
    return path


def load(path: Path) -> Record:
    """File that `save` wrote -> record, null back to NaN."""
    values = json.loads(path.read_text())
    for part in ("results", "pictures"):
        values[part] = _with_nan(values[part])
    return Record(**{f.name: values[f.name] for f in fields(Record)})


def load_folder(folder: Path, data_sha256: str) -> list[Record]:
    """Folder of records, and perhaps of other JSON -> the records measured on the pictures with this hash."""
    return [load(path) for path, measured_on in _hashes(folder).items() if measured_on == data_sha256]


def folder_of(out: Path, name: str, data_sha256: str) -> Path:
    """Folder of all results, name and hash of a data set -> folder of its records: out/NAME, or out/NAME-HASH where
    records of other pictures have that, as those of another folder of the same name."""
    others = set(_hashes(out / name).values()) - {None, data_sha256}
    return out / (f"{name}-{data_sha256[:8]}" if others else name)


def _hashes(folder: Path) -> dict[Path, str | None]:
    """-> the JSON files of a folder, each with the hash of the pictures that it was measured on, if it is a record."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            values = json.loads(path.read_text())
        except ValueError:  # somebody else's
            values = None
        found[path] = values.get("meta", {}).get("data_sha256") if isinstance(values, dict) else None
    return found


def environment(threads: int) -> dict[str, Any]:
    """-> what the figures and above all the seconds depend on: versions, processor, commit, day."""
    versions = {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}
    return {"versions": versions, "commit": _commit(), "cpu": _cpu_name(), "cores": os.cpu_count(),
            "threads": threads, "date": datetime.now(UTC).date().isoformat()}


def measured_with(model: Model) -> dict[str, Any]:
    """-> the first entries of a file of figures: a loaded model, and `environment` with torch's threads."""
    import torch

    card = model.card
    return {"model": card.name, "model_sha256": card.sha256, "machine": environment(torch.get_num_threads())}


def _mean(values: list[float]) -> float:
    """Mean of those that are defined; NaN if none is."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _interpolate(curve: Record, metric: str, rates: np.ndarray) -> np.ndarray:
    order = np.argsort(curve.results["bpp"])
    known, values = (np.asarray(curve.results[key])[order] for key in ("bpp", metric))
    return np.interp(np.log(rates), np.log(known), values, left=np.nan, right=np.nan)


def _plain(value: Any) -> Any:
    """Floats to six significant digits, None for what JSON has no word for."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _json(value: Any, depth: int = 1) -> str:
    """As json.dumps, but with a line for each entry of a mapping and none for those of a list."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    indent = " " * depth
    inner = ",\n".join(f"{indent}{json.dumps(key)}: {_json(item, depth + 1)}" for key, item in value.items())
    return f"{{\n{inner}\n{indent[1:]}}}"


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return math.nan if value is None else value


def _commit(root: Path = Path(__file__).parents[1]) -> str | None:
    """-> the commit of the checkout in `root`, "-dirty" if code changed since; None elsewhere."""
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()

    try:  # results and texts may change: results that are being written are such a change
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!bench/results", ":!*.md")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
