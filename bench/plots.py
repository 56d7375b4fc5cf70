"""Curves -> rate-distortion plots as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import published
from bench.records import BEST, QUALITY, Record, family, is_t1d

COLOURS = {"t1d": "#d62728", "jpeg": "#8c6d31", "webp": "#1f77b4", "avif": "#2ca02c"}
LABELS = {
    "psnr-rgb": "PSNR over RGB, dB (higher is better)",
    "ms-ssim-rgb": "MS-SSIM over RGB (higher is better)",
    "lpips-alex": "LPIPS v0.1, AlexNet (lower is better)",
}
GREY = "#a0a0a0"
STYLES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))  # lines and marks of the curves of t1d, in turn


def plot_all(records: Sequence[Record], title: str, folder: Path, with_published: bool) -> list[Path]:
    """Curves -> one PNG for each metric in `folder`, named rd-METRIC.png; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_plot(records, metric, title, folder / f"rd-{metric}.png", with_published) for metric in QUALITY]


def _plot(records: Sequence[Record], metric: str, title: str, path: Path, with_published: bool) -> Path:
    # Drawn on a figure of its own: pyplot would need a display, or change one that the caller uses.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", title=title)
    axes.set(xlabel="bits per pixel, whole files", ylabel=LABELS[metric])
    if with_published:
        for number, name in enumerate(published.KODAK):
            axes.plot(*published.points(name, metric), color=GREY, marker="v^<>spd"[number], markersize=4,
                      linewidth=0.8, linestyle=":", label=_published_label(name, metric), zorder=1)
    own = [record.meta["codec"] for record in records if is_t1d(record.meta["codec"])]
    for record in records:
        codec, scale = record.meta["codec"], record.meta["scale"]
        ours = is_t1d(codec)
        whole = ours or scale == BEST  # the rest are single scales: faint dots under the curve
        line, mark = STYLES[own.index(codec) % len(STYLES)] if ours else STYLES[0]
        axes.plot(record.results["bpp"], record.results[metric], color=COLOURS[family(codec)],
                  linestyle=line, alpha=1 if whole else 0.45, linewidth=2 if ours else 1.5 if whole else 0,
                  marker=mark if scale != BEST else "", markersize=5 if ours else 3,
                  label=_label(codec) if whole else None, zorder=3 if ours else 2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(which="both", color="#e8e8e8")
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


def _published_label(name: str, metric: str) -> str:
    """Codec in `published.KODAK` + metric -> legend; marked where the figure may not compare with ours."""
    same = metric != "lpips-alex" or name in published.LPIPS_WITH_ALEXNET
    return f"{name} (published)" if same else f"{name} (published, net as in the paper)"


def _label(codec: str) -> str:
    if is_t1d(codec):
        return codec.replace("-effort", ", effort ")
    return f"{codec.upper().replace('WEBP', 'WebP')}, best of scales"
