"""The fine levels of a `t1d` model: principal components and codes of what its decoder leaves over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bitstream.header import MAX_LEVELS

from ..data.crops import random_crops
from ..data.shards import Pictures, load_pictures, split_sources
from ..errors import WrongWeights
from ..models.store import read_config, read_weights
from ..prior.integer import PREFIX
from ..tokenizer.search import deepest, search
from ..tokenizer.t1d import T1DTokenizer
from .model_files import model_weights, write_weights

CROP, BATCH = 256, 8  # pixels, crops at once
BLOCKS = 64  # of a crop, drawn with odds by their squared error: those are coded
ITERATIONS = 12  # of k-means


def run_fine_training(
    sources: list[str], validation: list[str], model: str, out: Path, *, coarse: int = 6, levels: int = 5,
    crops: int = 2400, seed: int = 0,
) -> Path:  # fmt: skip
    """Pictures, a model of the family t1d -> `model.safetensors` in `out`: its first levels, then fine ones; no prior.

    Args:
        model: a name that `t1d models` lists, or a weight file.
        coarse: how many levels of the model are kept.
        levels: how many fine ones follow.
        crops: random pieces of the pictures to learn from.

    Raises: MissingData; WrongWeights: a model of another family, or of fewer levels; more levels than a file holds.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    tokenizer, metadata = _extended(model, coarse, levels)
    files, _ = split_sources(sources, validation)
    rest = _left_over(tokenizer, load_pictures(files, out / "train.u8", CROP), crops, np.random.default_rng(seed))
    fit(tokenizer, rest)
    weights = {name: tensor.half() for name, tensor in tokenizer.state_dict().items()}
    return write_weights(weights, metadata, out / "model.safetensors")


def _extended(model: str, coarse: int, levels: int) -> tuple[T1DTokenizer, dict[str, str]]:
    """-> a tokenizer with the weights of the model, whose fine levels are empty; metadata of its weight file."""
    metadata, weights = read_weights(model_weights(model), "pt", lambda name: not name.startswith(("tables.", PREFIX)))
    old = read_config(metadata)
    if coarse > len(old.codebook_sizes):
        raise WrongWeights(f"{coarse} levels of {model} are to be kept, but it has {len(old.codebook_sizes)}")
    if coarse + levels > MAX_LEVELS:
        raise WrongWeights(f"{coarse} levels of {model} and {levels} fine ones; a file holds {MAX_LEVELS} at most")
    config = replace(old, codebook_sizes=old.codebook_sizes[:coarse], strides=old.strides[:coarse], fine_levels=levels)
    tokenizer = T1DTokenizer(config).eval().requires_grad_(False)
    own = tokenizer.state_dict()
    weights = {name: tensor[: len(own[name])] for name, tensor in weights.items() if name in own}  # fewer depths
    tokenizer.load_state_dict(weights, strict=False)
    return tokenizer, {"format": "t1d tokenizer", "family": "t1d", "config": config.to_json()}


@torch.inference_mode()
def _left_over(tokenizer: T1DTokenizer, pictures: Pictures, crops: int, rng: np.random.Generator) -> Tensor:
    """-> blocks (n, 3 * block^2) of what all coarse levels leave over."""
    found = []
    for _ in tqdm(range(-(-crops // BATCH)), desc="decode", unit=" batches"):
        images = (random_crops(pictures, BATCH, CROP, rng) + 1) / 2
        tokens, _ = search(tokenizer.quantizer, tokenizer.latents(images))
        for picture in tokenizer.fine.blocks(tokenizer.left_over(images, deepest(tokens))).flatten(1, 2):
            found.append(picture[torch.multinomial(picture.square().mean(1) + 1e-9, min(BLOCKS, len(picture)))])
    return torch.cat(found)


@torch.no_grad()
def fit(tokenizer: T1DTokenizer, rest: Tensor) -> None:
    """Blocks of what is left over (n, 3 * block^2) -> the basis and the codes of the fine levels."""
    fine = tokenizer.fine
    _, vectors = torch.linalg.eigh(rest.t() @ rest)  # ascending
    fine.basis.copy_(vectors.flip(1)[:, : fine.basis.shape[1]])
    fine.quantizer.start_from((rest @ fine.basis).t()[None, :, :, None], ITERATIONS)
