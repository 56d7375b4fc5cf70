"""Curves -> Markdown tables that read well as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.bd import bd_rate
from bench.records import BEST, QUALITY, Record, is_t1d, scale_label, value_at

SHORT = {"psnr-rgb": "PSNR", "ms-ssim-rgb": "MS-SSIM", "lpips-alex": "LPIPS-Alex"}
_FORMATS = {"psnr-rgb": "{:.2f}", "ms-ssim-rgb": "{:.4f}", "lpips-alex": "{:.4f}", "border-ratio": "{:.3f}",
            "repeat-share": "{:.3f}", "colour-error": "{:.2f}", "bpp": "{:.4f}", "encoding_time": "{:.3f}",
            "decoding_time": "{:.3f}"}


def points_table(records: Sequence[Record]) -> str:
    """Measured curves -> a row for each setting, which is t1d's limit in bpp or the codec's quality."""
    keys = ("bpp", *QUALITY, "border-ratio", "repeat-share", "colour-error", "encoding_time", "decoding_time")
    head = ("codec", "size", "setting", "bpp", *SHORT.values(), "border", "repeats", "colour", "encode s", "decode s")
    rows = [(record.meta["codec"], scale_label(record.meta["scale"]).replace("of", "/"), str(setting),
             *(_figure(key, record.results[key][n]) if key in record.results else "-" for key in keys))
            for record in records for n, setting in enumerate(record.meta["settings"])]
    return _table(head, rows)


def same_rate_table(test: Record, bests: Sequence[Record]) -> str:
    """t1d's curve and the others' best-of-scales -> each point of t1d beside what they reach at its bpp."""
    head = ["at most", "bpp"]
    for metric in QUALITY:
        head += [f"{SHORT[metric]} t1d", *(best.meta["codec"] for best in bests)]
    rows = []
    for n, (setting, rate) in enumerate(zip(test.meta["settings"], test.results["bpp"], strict=True)):
        row = [str(setting), _figure("bpp", rate)]
        for metric in QUALITY:
            row += [_figure(metric, test.results[metric][n]),
                    *(_figure(metric, value_at(best, metric, rate)) for best in bests)]
        rows.append(row)
    return _table(head, rows)


def bd_table(test: Record, anchors: Sequence[Record]) -> str:
    """t1d's curve and the others' -> BD-rate by metric, with its coverage or the reason for its absence."""
    rows = []
    for anchor in anchors:
        for metric in QUALITY:
            found = bd_rate(anchor, test, metric)
            figure = "none" if found.percent is None else f"{found.percent:+.1f} %"
            rows.append((f"{test.name} against {anchor.name}", SHORT[metric], figure, found.reason))
    return _table(("curves", "metric", "BD-rate", "note"), rows)


def report(records: Sequence[Record], title: str) -> str:
    """All curves of one data set -> Markdown text with every table that they allow."""
    measured = [record for record in records if record.meta["scale"] != BEST]
    bests = [record for record in records if record.meta["scale"] == BEST]
    tests = [record for record in measured if is_t1d(record.meta["codec"])]
    about = "bpp of whole files; means over pictures; LPIPS v0.1 with AlexNet, lower is better."
    parts = [f"# {title}", about]
    plain = next((test for test in tests if test.name == "t1d"), None)
    for test in tests if bests else ():
        parts += [f"## At the rates of {test.name}",
                  "The others at their best scale, interpolated; - is out of their range.",
                  same_rate_table(test, bests),
                  "## BD-rate", "Negative: fewer bits for the same quality.",
                  bd_table(test, bests if plain in (None, test) else [*bests, plain])]
    return "\n\n".join([*parts, "## Every point", points_table(measured)]) + "\n"


def _figure(key: str, value: float) -> str:
    return "-" if math.isnan(value) else _FORMATS[key].format(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells -> Markdown, padded so that columns line up; figures to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    padded = ([cell.ljust(width) if cell[:1].isalpha() else cell.rjust(width)
               for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
