"""`t1d train`: pictures -> a model."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import MissingData, OutputExists


@click.group()
def train() -> None:
    """Train the networks of the codec."""


@train.command()
@click.option("--data", "sources", multiple=True, required=True, help="Tar shard or folder of pictures; may be repeated.")
@click.option("--validation", multiple=True, help="Held-out tars or folders [default: files named val* among --data].")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Run folder: checkpoint, log, examples, model.")
@click.option("--preset", "preset_name", default="base", show_default=True, help="Named settings: base, tiny.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="How long to train [default: the preset's].")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"]))
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "float32", "bf16"]),
              help="auto: bf16 autocast on CUDA, float32 elsewhere. Ask for bf16 on a CPU only if it has AMX.")  # fmt: skip
@click.option("--compile", "compile_", is_flag=True, help="Compile the perceptual losses; needs a C++ compiler on a CPU.")
@click.option("--lpips-vgg", type=click.Path(path_type=Path), help="VGG weights for a second perceptual loss [default: $T1D_DATA_DIR/lpips].")
@click.option("--seed", default=0, show_default=True)
def tokenizer(sources, validation, out, preset_name, minutes, resume, device, precision, compile_, lpips_vgg, seed):
    """Train a tokenizer of the family t1d. Start it with torchrun for several processes."""
    from bench import LPIPS_ALEX

    from ..train.presets import PRESETS
    from ..train.run import run_training

    if preset_name not in PRESETS:
        raise click.BadParameter(f"{preset_name!r} (known: {', '.join(PRESETS)})", param_hint="--preset")
    if resume and not (out / "checkpoint.pt").exists():
        raise MissingData(f"nothing to resume in {out}; leave out --resume to start there")
    if not resume and (out / "checkpoint.pt").exists() and os.environ.get("RANK", "0") == "0":
        raise OutputExists(f"{out} holds a run; add --resume to go on with it or name another folder")
    model = run_training(
        list(sources), list(validation), out, preset_name, minutes, alex=LPIPS_ALEX,
        vgg=lpips_vgg or _default_vgg(), resume=resume, device=device, precision=precision,
        compile_losses=compile_, seed=seed,
    )  # fmt: skip
    if model:
        click.echo(f"{model}: {model.stat().st_size / 1e6:.1f} MB")


def _default_vgg() -> Path | None:
    """The VGG weights under $T1D_DATA_DIR, if they are there."""
    path = Path(os.environ.get("T1D_DATA_DIR", ".")) / "lpips" / "lpips_vgg_relu4_fp16.safetensors"
    return path if path.exists() else None
