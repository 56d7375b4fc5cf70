"""`t1d bench`: t1d beside JPEG, WebP and AVIF on known pictures."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bench import CODECS, results_folder
from tok1d_codec.cli import options

KODAK = """Kodak is read from --data or $T1D_DATA_DIR (a folder with kodim01.png to kodim24.png, or one with
a folder kodak/), else fetched into your cache. The sha256 of the files is verified in any case."""


def _codec_names(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.lower().split(",")))
    if not set(names) <= set(CODECS):
        raise click.BadParameter(f"{value!r} is not a list of codecs; known: {','.join(CODECS)}")
    return names


@click.command(epilog=KODAK)
@click.option("--dataset", default="kodak", show_default=True, metavar="kodak|skimage|DIR",
              help="Pictures to measure on; skimage and a folder need no download.")
@click.option("--data", "data_dir", type=options.FILE, metavar="DIR", help="Folder that holds Kodak.")
@click.option("--codecs", default=",".join(CODECS), show_default=True, callback=_codec_names,
              help="What to measure. Earlier results of the others on the same pictures are shown too.")
@click.option("--bpp", "rates_bpp", multiple=True, type=options.Finite(min=0, min_open=True),
              help="A rate for t1d; may be repeated.  [default: nine from 0.003 to 0.1]")
@click.option("--effort", "efforts", multiple=True, type=click.IntRange(0, 9),
              help="What t1d encodes with, a curve each; may be repeated.  [default: 0 and 1]")
@options.model
@options.device
@options.threads
@click.option("--out", type=options.FILE, metavar="DIR",
              help="Folder for results.  [default: bench/results in a checkout, else t1d-bench]")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many pictures.")
def bench(dataset: str, data_dir: Path | None, codecs: tuple[str, ...],
          rates_bpp: tuple[float, ...], efforts: tuple[int, ...], model: str, device: str, threads: int | None, out: Path | None,
          limit: int | None) -> None:
    """Measure codecs: bits per pixel, PSNR, MS-SSIM, LPIPS, seconds.

    Prints tables with BD-rates, and writes them with a JSON file per curve and a plot per metric.
    """
    from bench.codecs import EFFORTS, RATES_BPP
    from bench.run import benchmark

    options.use_threads(threads)
    given = {"--model": Path(model).name, "--device": device, "--threads": threads, "--limit": limit}
    report = benchmark(dataset, data_dir, model, device, codecs, out or results_folder(), limit,
                       _command(dataset, codecs, rates_bpp, efforts, given), rates_bpp=rates_bpp or RATES_BPP,
                       efforts=efforts or EFFORTS)
    click.echo(report.text)
    options.say(f"wrote {len(report.paths)} files to {report.paths[0].parent}")


def _command(dataset: str, codecs: tuple[str, ...], rates_bpp: tuple[float, ...], efforts: tuple[int, ...],
             given: dict) -> str:
    """-> the command that gives the same figures elsewhere: folders of this machine are left out."""
    words = ["t1d", "bench", "--dataset", Path(dataset).name, "--codecs", ",".join(codecs)]
    for rate_bpp in rates_bpp:
        words += ["--bpp", str(rate_bpp)]
    for effort in efforts:
        words += ["--effort", str(effort)]
    for option, value in given.items():
        words += [option, str(value)] if value is not None else []
    return shlex.join(words)
