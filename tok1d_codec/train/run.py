"""From the options of `t1d train tokenizer` to a trained model file."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch

from ..data.crops import centre_crops
from ..data.shards import Pictures, load_pictures, split_sources
from ..data.subjects import Subjects, find_subjects
from ..device import pick_device
from ..errors import WrongWeights
from ..models.store import read_config
from .export import export
from .loop import Hardware, Trainer
from .model_files import keep_old, keep_prior, read_model, with_prior
from .presets import PRESETS, TrainConfig, with_quantizer
from .state import RunFolder
from .validate import Validation

FINE_CHANNELS = 96  # of a new `FineBranch`


def run_training(
    sources: list[str], validation: list[str], out: Path, preset_name: str, minutes: float | None, *,
    vgg: Path | None = None, init: Path | None = None, resume: bool = False, device: str = "auto", precision: str = "auto",
    compile_losses: bool = False, seed: int = 0, quantizer: str | None = None, decoder_only: bool = False,
    face_share: float = 0.0, text_share: float = 0.0,
) -> Path | None:  # fmt: skip
    """Train a tokenizer in the folder `out` -> its `model.safetensors` (None in all processes but the first).

    Args:
        sources: tars, pictures or folders of them; what `validation` names is held out, else what is
            named val*, else every 50th file.
        preset_name: it decides the family. Ignored with `resume`: the run goes on as it was planned.
        vgg: LPIPS weight file of that net; without it its loss is left out.
        init: model file to start from; the first stage, without pixels, is then left out.
        decoder_only: the model `init` keeps its encoder, codes and prior, so that its tokens keep their meaning;
            the decoder may get more layers if it has no fine levels; if it has them but no branch that hears them,
            that alone learns.
        quantizer: "vq", "fsq" or "lfq", for any family but t1d, instead of the preset's.
        face_share, text_share: shares of the crops that are placed on a face or on a line of text, together 1 at most.

    Raises:
        MissingData: no pictures, nothing to validate on, no checkpoint to resume from, no file `init`, or no
            picture that shows what is asked for.
    """
    run = RunFolder(out)
    weights = None
    if resume:
        config = run.planned()
    else:
        config = replace(PRESETS[preset_name], face_share=face_share, text_share=text_share)
        config = with_quantizer(config, quantizer) if quantizer else config
        if init:
            model, weights = _read_model(init)
            config = replace(config, coefficient_share=0.0)
            config = _for_decoder(config, model) if decoder_only else config
        keep_prior(weights if init and decoder_only else {}, run.kept_prior)
    config = config if minutes is None else replace(config, minutes=minutes)
    files, held_out = split_sources(sources, validation)
    hardware = _hardware(device, precision, compile_losses)
    try:
        if hardware.rank > 0:
            torch.distributed.barrier()  # the first process decodes the pictures for all
        pictures = load_pictures(files, run.path / "train.u8", config.crop)
        held_out_pictures = load_pictures(held_out, run.path / "validation.u8", config.crop)
        subjects = _subjects(config, pictures, run)
        if hardware.world > 1 and hardware.rank == 0:
            torch.distributed.barrier()
        crops = centre_crops(held_out_pictures, config.validation_pictures, config.crop)
        trainer = Trainer(config, pictures, Validation(crops), run, hardware, vgg, seed, subjects)
        if resume:
            trainer.resume()
        else:
            trainer.start(weights)
        trainer.train()
        model = _exported(run, pictures, config) if hardware.rank == 0 else None
        if hardware.world > 1:
            torch.distributed.barrier()  # torchrun ends all processes if one fails: none leaves before the model is there
        return model
    finally:
        if hardware.world > 1:
            torch.distributed.destroy_process_group()


def _for_decoder(config: TrainConfig, model: object) -> TrainConfig:
    """Settings, the configuration of a trained model -> settings by which its decoder alone learns.

    Raises: WrongWeights: the model is of another family.
    """
    if not isinstance(model, type(config.model)):
        raise WrongWeights(f"the model to start from is not of the family {config.family}; name its --family")
    rate = config.rate / 6
    if config.family == "t1d" and model.fine_levels and not model.fine_channels:
        # a branch that is new learns, and nothing else
        config, rate, model = replace(config, branch_only=True), config.rate, replace(model, fine_channels=FINE_CHANNELS)
    elif config.family == "t1d" and model.fine_levels:
        config, rate = replace(config, border_weight=2.5), config.rate / 4  # at 1 steps grew at borders of patches
    elif config.family == "t1d":
        model = replace(
            model, decoder_layers=max(model.decoder_layers, config.model.decoder_layers),
            smooth_chroma=config.model.smooth_chroma, remove_repeats=config.model.remove_repeats,
        )  # fmt: skip
    return replace(
        config, model=model, freeze_encoder=0.0, rate=rate, ema=min(config.ema, 0.998),
        warmup_steps=config.warmup_steps // 2,
    )  # fmt: skip


def _subjects(config: TrainConfig, pictures: Pictures, run: RunFolder) -> list[Subjects]:
    """What training shall look at more often than chance would. Raises: MissingData if no picture shows it."""
    shares = {"face": config.face_share, "text": config.text_share}
    return [
        Subjects(share, find_subjects(pictures, kind, run.path / f"train-{kind}.json"))
        for kind, share in shares.items() if share
    ]  # fmt: skip


def _exported(run: RunFolder, pictures: Pictures, config: TrainConfig) -> Path:
    keep_old(run.model_file)
    if run.kept_prior.exists():
        return with_prior(export(run, pictures, config, rounds=0), run.kept_prior, run.model_file)
    return export(run, pictures, config)


def _read_model(path: Path) -> tuple[object, dict[str, torch.Tensor]]:
    """Weight file -> the configuration and the tensors in it. Raises: MissingData, WrongWeights."""
    metadata, tensors = read_model(path)
    if "config" not in metadata:
        raise WrongWeights(f"{path} does not say what its tensors are; give a model.safetensors of a training run")
    return read_config(metadata), tensors


def _hardware(device: str, precision: str, compile_losses: bool) -> Hardware:
    torch.set_flush_denormal(True)
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = pick_device(device)
    if world > 1:
        # gloo carries what lives on the CPU; the others wait while the first process decodes the pictures
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=timedelta(hours=12))
        if chosen.type == "cuda":
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(chosen)
    bf16 = precision == "bf16" or (precision == "auto" and chosen.type == "cuda")
    return Hardware(chosen.type, bf16, compile_losses, rank, world)
