"""From the options of `t1d train tokenizer` to a trained model file."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..data.crops import centre_crops
from ..data.shards import load_pictures
from ..device import pick_device
from ..errors import MissingData
from .export import export
from .loop import Hardware, Trainer
from .presets import preset
from .state import RunFolder
from .validate import Validation


def run_training(
    sources: list[str], validation: list[str], out: Path, preset_name: str, minutes: float | None, *, alex: Path,
    vgg: Path | None = None, resume: bool = False, device: str = "auto", precision: str = "auto",
    compile_losses: bool = False, seed: int = 0,
) -> Path | None:  # fmt: skip
    """Train a tokenizer in the folder `out` -> its `model.safetensors` (None in all processes but the first).

    Args:
        sources: tars or folders of pictures; those whose name starts with "val" are held out,
            unless `validation` names others.
        alex, vgg: LPIPS weight files; without `vgg` that loss is left out.

    Raises:
        MissingData: no pictures, or nothing to validate on.
    """
    config = preset(preset_name, minutes)
    sources, held_out = _split(sources, validation)
    if not held_out:
        raise MissingData("nothing to validate on; give --validation, or a tar or folder whose name starts with val")
    hardware = _hardware(device, precision, compile_losses)
    try:
        run = RunFolder(out)
        if hardware.rank > 0:
            torch.distributed.barrier()  # the first process decodes the pictures for all
        pictures = load_pictures(sources, run.path / "train.u8", config.crop)
        held_out_pictures = load_pictures(held_out, run.path / "validation.u8", config.crop)
        if hardware.world > 1 and hardware.rank == 0:
            torch.distributed.barrier()
        crops = centre_crops(held_out_pictures, config.validation_pictures, config.crop)
        trainer = Trainer(config, pictures, Validation(crops), run, hardware, alex, vgg, seed)
        if resume:
            trainer.resume()
        else:
            trainer.start()
        trainer.train()
        return export(run, pictures, config) if hardware.rank == 0 else None
    finally:
        if hardware.world > 1:
            torch.distributed.destroy_process_group()


def _split(sources: list[str], validation: list[str]) -> tuple[list[str], list[str]]:
    """Sources -> (to train on, held out); a folder of tars counts as its tars."""
    files = []
    for source in sources:
        tars = sorted(Path(source).glob("*.tar")) if Path(source).is_dir() else []
        files += [str(t) for t in tars] or [source]
    if validation:
        return files, validation
    held_out = [f for f in files if Path(f).name.startswith("val")]
    return [f for f in files if f not in held_out], held_out


def _hardware(device: str, precision: str, compile_losses: bool) -> Hardware:
    torch.set_flush_denormal(True)
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = pick_device(device)
    if world > 1:
        torch.distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        if chosen.type == "cuda":
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(chosen)
    bf16 = precision == "bf16" or (precision == "auto" and chosen.type == "cuda")
    return Hardware(chosen.type, bf16, compile_losses, rank, world)
