"""`t1d demo`: photographs that scikit-image ships -> t1d files, reconstructions and a contact sheet."""

from __future__ import annotations

from pathlib import Path

import click

from tok1d_codec.cli import options
from tok1d_codec.cli.options import FILE, use_threads


@click.command()
@click.argument("folder", metavar="OUTDIR", type=FILE)
@options.model
@options.device
@options.threads
@options.force
def demo(folder: Path, model: str, device: str, threads: int | None, force: bool) -> None:
    """Encode three photographs at several rates into OUTDIR, with WebP at the same number of bytes.

    OUTDIR/contact-sheet.png shows them all, beside the files themselves and what the t1d files decode to.
    """
    from bench.showcase import check_folder, write_showcase

    check_folder(folder, force)
    use_threads(threads)
    from tok1d_codec.models.store import load_model

    write_showcase(folder, load_model(model, device=device), force, click.echo)
