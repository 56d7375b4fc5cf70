"""`t1d train`: pictures -> a model, or the prior of one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import MissingData, OutputExists
from . import options


@click.group()
def train() -> None:
    """Train the networks of the codec."""


data = click.option("--data", "sources", multiple=True, required=True, metavar="DIR|TAR",
                    help="Folder of pictures or tar shards, or a tar; may be repeated.")  # fmt: skip
validation = click.option("--validation", multiple=True, metavar="DIR|TAR",
                          help="What to hold out.  [default: what is named val* in --data, else every 50th file]")  # fmt: skip


@train.command()
@data
@validation
@click.option("--out", required=True, type=options.FILE, help="Run folder: checkpoint, log, examples, model.")
@click.option("--family", type=click.Choice(["t1d", "titok", "patch-vq"]),
              help="What to train.  [default: as the preset has it, t1d without one]")
@click.option("--preset", "preset_name",
              help="Named settings: base, tiny (t1d); titok-small, titok-tiny; patch-vq-small, simple-1d, "
                   "patch-vq-tiny.  [default: the first of the family]")
@click.option("--quantizer", type=click.Choice(["vq", "fsq", "lfq"]),
              help="How titok and patch-vq make tokens of latents.  [default: vq]")
@click.option("--minutes", type=options.Finite(min=0, min_open=True),
              help="How long to train.  [default: as the preset or the resumed run has it]")
@click.option("--init", type=options.FILE,
              help="Start from the weights of this model file instead of from nothing.")
@click.option("--decoder-only", is_flag=True,
              help="Leave encoder, codes and prior of --init as they are: only what decodes its tokens learns; where fine "
                   "levels have no branch yet that hears them, only that.")
@click.option("--face-share", default=0.0, type=options.Finite(0, 1), metavar="SHARE",
              help="Share of the crops that are placed on a face; the others are placed by chance.")
@click.option("--text-share", default=0.0, type=options.Finite(0, 1), metavar="SHARE",
              help="Share of the crops that are placed on a line of text.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@options.device
@options.threads
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "float32", "bf16"]),
              help="auto is bf16 autocast on CUDA and float32 elsewhere; bf16 on a CPU pays only with AVX512-BF16 or AMX.")
@click.option("--compile", "compile_", is_flag=True,
              help="Compile the perceptual losses; needs a C++ compiler on a CPU.")
@click.option("--lpips-vgg", type=options.FILE,
              help="VGG weights for a second perceptual loss.  [default: in $T1D_DATA_DIR/lpips, if there]")
@options.seed
def tokenizer(sources: tuple[str, ...], validation: tuple[str, ...], out: Path, family: str | None,
              preset_name: str | None, quantizer: str | None, minutes: float | None, init: Path | None,
              decoder_only: bool, face_share: float, text_share: float, resume: bool, device: str, threads: int | None,
              precision: str, compile_: bool, lpips_vgg: Path | None, seed: int) -> None:  # fmt: skip
    """Train a tokenizer. Start it with torchrun for several processes."""
    from ..train.presets import PRESETS, default_preset
    from ..train.run import run_training
    from ..train.state import RunFolder

    settled = {"--quantizer": quantizer, "--init": init, "--face-share": face_share, "--text-share": text_share}
    for option, value in settled.items():
        if resume and value:
            raise click.BadParameter("a run goes on as it was started; leave it out", param_hint=option)
    preset_name = preset_name or default_preset(family or "t1d")
    known = [name for name, config in PRESETS.items() if family in (None, config.family)]
    if preset_name not in known:
        raise click.BadParameter(f"{preset_name!r} (known: {', '.join(known)})", param_hint="--preset")
    if quantizer and PRESETS[preset_name].family == "t1d" and not resume:
        raise click.BadParameter("t1d has its own, residual quantizer; add --family", param_hint="--quantizer")
    if decoder_only and not init and not resume:
        raise click.BadParameter("name the model whose tokens stay with --init", param_hint="--decoder-only")
    if face_share + text_share > 1:
        raise click.BadParameter("with --text-share that is more than 1", param_hint="--face-share")
    _check_run(out, resume)
    if resume and family and (planned := RunFolder(out).planned().family) != family:
        raise click.BadParameter(f"{out} trains {planned}; leave it out to go on with that", param_hint="--family")
    options.use_threads(threads)
    model = run_training(
        list(sources), list(validation), out, preset_name, minutes,
        vgg=lpips_vgg or _default_vgg(), init=init, resume=resume, device=device, precision=precision,
        compile_losses=compile_, seed=seed, quantizer=quantizer, decoder_only=decoder_only,
        face_share=face_share, text_share=text_share,
    )  # fmt: skip
    if model:
        click.echo(f"{model}: {model.stat().st_size / 1e6:.1f} MB")


@train.command()
@data
@validation
@click.option("--model", default="t1d-7", show_default=True, help="Whose first levels are kept: a name, or a weight file.")
@click.option("--out", required=True, type=options.FILE, help="Folder for the model, which has no prior yet.")
@click.option("--coarse", default=6, show_default=True, type=click.IntRange(min=2), help="Levels of the model that are kept.")
@click.option("--levels", default=5, show_default=True, type=click.IntRange(1, 8), help="Fine levels after them.")
@click.option("--crops", default=2400, show_default=True, type=click.IntRange(min=16), help="Pieces of pictures to learn from.")
@options.threads
@options.seed
def fine(sources: tuple[str, ...], validation: tuple[str, ...], model: str, out: Path, coarse: int, levels: int,
         crops: int, threads: int | None, seed: int) -> None:  # fmt: skip
    """Fit fine levels to what the decoder of a model of the family t1d leaves over."""
    from ..train.fine import run_fine_training

    _check_run(out, resume=False)
    options.use_threads(threads)
    path = run_fine_training(
        list(sources), list(validation), model, out, coarse=coarse, levels=levels, crops=crops, seed=seed
    )
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@train.command()
@data
@validation
@click.option("--model", default="t1d-12", show_default=True, help="With fine levels and a prior: a name, or a weight file.")
@click.option("--out", required=True, type=options.FILE, help="Folder for the model.")
@click.option("--levels", default=4, show_default=True, type=click.IntRange(1, 8), help="Letter levels.")
@click.option("--crops", default=8000, show_default=True, type=click.IntRange(min=16), help="Pieces of text to learn from.")
@options.threads
@options.seed
def letters(sources: tuple[str, ...], validation: tuple[str, ...], model: str, out: Path, levels: int, crops: int,
            threads: int | None, seed: int) -> None:  # fmt: skip
    """Fit letter levels to what a model with fine levels leaves over where pictures show text."""
    from ..train.fine import run_letter_training

    _check_run(out, resume=False)
    options.use_threads(threads)
    path = run_letter_training(list(sources), list(validation), model, out, levels=levels, crops=crops, seed=seed)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@train.command()
@click.option("--data", "sources", multiple=True, metavar="DIR|TAR",
              help="Folder of pictures or tar shards, or a tar; may be repeated. Not needed with --tokens.")
@validation
@click.option("--tokens", type=options.FILE, help="Folder of an earlier run, whose tokens are used again.")
@click.option("--model", default="t1d", show_default=True, help="Whose tokens: a name, or a weight file.")
@click.option("--out", required=True, type=options.FILE, help="Run folder: tokens, checkpoint, log, prior.")
@click.option("--minutes", type=options.Finite(min=0, min_open=True),
              help="How long to train.  [default: 60, or as the resumed run has it]")
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(min=1),
              help="Random crops of each training picture.")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--go-on", is_flag=True, help="Start from the model's prior, at half the learning rate.")
@click.option("--letters", is_flag=True, help="Only what letter levels need, around lines of text; the rest stays.")
@click.option("--float", "float_", is_flag=True, help="Train without rounding, for comparison.")
@options.threads
@click.option("--precision", default="float32", show_default=True, type=click.Choice(["float32", "bf16"]),
              help="bf16 autocast pays only with AMX.")
@options.seed
def prior(sources: tuple[str, ...], validation: tuple[str, ...], tokens: Path | None, model: str, out: Path,
          minutes: float | None, rounds: int, resume: bool, go_on: bool, letters: bool, float_: bool, threads: int | None,
          precision: str, seed: int) -> None:  # fmt: skip
    """Train the prior of a model of the family t1d: what the range coder expects of the next tokens."""
    from ..train.prior import PriorConfig
    from ..train.prior_run import run_prior_training

    if not sources and tokens is None and not resume:
        raise MissingData("no pictures; give --data, or --tokens with the folder of an earlier run")
    if resume and (go_on or letters):
        raise click.UsageError("--resume continues a run as it was planned; --go-on and --letters are for a new one")
    if go_on and letters:
        raise click.UsageError("--letters starts from the model's prior anyhow; leave out --go-on")
    _check_run(out, resume)
    options.use_threads(threads)
    path, figures = run_prior_training(
        list(sources), list(validation), tokens, model, out, PriorConfig(quantize=not float_), minutes,
        rounds=rounds, go_on=go_on, letters=letters, resume=resume, bf16=precision == "bf16", seed=seed,
    )  # fmt: skip
    for name in ("none", "static", "float", "exact"):
        click.echo(f"{name:7} bits per token:  {'  '.join(f'{bits:6.3f}' for bits in figures[name])}")
    for name, percent in figures["saved"].items():
        click.echo(f"saved, {name}: {', '.join(f'{k} {v:.2f} %' for k, v in percent.items())}")
    kept = f"{100 * figures['kept']:.1f} % of the float network's gain kept"
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {kept}")


@train.command()
@click.argument("first")
@click.argument("second")
@click.option("--share", required=True, type=options.Finite(0, 1), help="0 is FIRST, 1 is SECOND.")
@click.option("--out", required=True, type=options.FILE, help="Weight file of the new model.")
@options.force
def average(first: str, second: str, share: float, out: Path, force: bool) -> None:
    """Mix the decoders of two models: FIRST, and SECOND that was trained from it with --decoder-only.

    A mix often is better than both. FIRST and SECOND are names or weight files.
    """
    from ..image.files import check_output
    from ..train.model_files import average as mix

    check_output(out, force)
    path = mix(first, second, share, out)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _check_run(out: Path, resume: bool) -> None:
    """Raises: MissingData or OutputExists, where a run folder and --resume do not go together."""
    started = (out / "checkpoint.pt").exists()
    if resume and not started:
        raise MissingData(f"nothing to resume in {out}; leave out --resume to start there")
    if started and not resume:
        raise OutputExists(f"{out} holds a run; add --resume to go on with it or name another folder")
    if (out / "model.safetensors").exists() and not resume:  # files of it decode with nothing else
        raise OutputExists(f"{out} holds a model; name another folder")


def _default_vgg() -> Path | None:
    """The VGG weights under $T1D_DATA_DIR, if they are there."""
    folder = os.environ.get("T1D_DATA_DIR")
    path = Path(folder or "") / "lpips" / "lpips_vgg_relu4_fp16.safetensors"
    return path if folder and path.exists() else None
