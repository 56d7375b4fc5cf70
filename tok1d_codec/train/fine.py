"""The fine and letter levels of a `t1d` model: principal components and codes of what its decoder leaves over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bitstream.header import MAX_LEVELS

from ..config import SIDE, TokenizerConfig
from ..data.crops import random_crops
from ..data.shards import Pictures, load_pictures, split_sources
from ..data.subjects import Subjects, find_subjects
from ..errors import WrongWeights
from ..models.store import read_config, read_weights
from ..prior.integer import OFFSETS, PREFIX
from ..prior.network import PriorNetwork, PriorShape
from ..tokenizer.fine import FineLevels
from ..tokenizer.search import deepest, search
from ..tokenizer.t1d import T1DTokenizer
from .model_files import model_weights, write_weights

CROP, BATCH = 256, 8  # pixels, crops at once
LETTER_CROP = 128  # pixels; half of a crop of this size around a line of text is that line
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
    pictures = load_pictures(files, out / "train.u8", CROP)
    fit(tokenizer.fine, _left_over(tokenizer, tokenizer.fine, pictures, CROP, crops, np.random.default_rng(seed)))
    weights = {name: tensor.half() for name, tensor in tokenizer.state_dict().items()}
    return write_weights(weights, metadata, out / "model.safetensors")


def run_letter_training(
    sources: list[str], validation: list[str], model: str, out: Path, *, levels: int = 4, crops: int = 8000, seed: int = 0
) -> Path:
    """Pictures, a model with fine levels -> `model.safetensors` in `out`: the same with letter levels after those.

    They learn from lines of text. To its prior they are what `static_levels` makes of them.

    Args: as `run_fine_training`.
    Raises: MissingData, also where no picture shows text; WrongWeights: a model without fine levels or a prior, or with
        letter levels; more levels than a file holds.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    metadata, weights = read_weights(model_weights(model), "pt")
    old = read_config(metadata)
    if not old.fine_levels or old.letter_levels or f"{PREFIX}down" not in weights:
        raise WrongWeights(f"{model} has no fine levels or no prior, or has letter levels; these follow fine ones")
    config = replace(old, letter_levels=levels)
    _check_count(config)
    tokenizer = T1DTokenizer(config).eval().requires_grad_(False)
    tokenizer.load_state_dict({k: v for k, v in weights.items() if k in tokenizer.state_dict()}, strict=False)
    files, _ = split_sources(sources, validation)
    pictures = load_pictures(files, out / "train.u8", CROP)
    text = Subjects(1.0, find_subjects(pictures, "text", out / "text.json"))
    letters, rng = tokenizer.letters, np.random.default_rng(seed)
    rest = _left_over(tokenizer, letters, pictures, LETTER_CROP, crops, rng, [text])
    fit(letters, rest)
    tokens = deepest(search(letters.quantizer, (rest @ letters.basis).t()[None, :, :, None])[0])
    hits = [torch.bincount(t.flatten(), minlength=config.letter_codes).numpy() for t in tokens]
    arrays = {k.removeprefix(PREFIX): v.numpy() for k, v in weights.items() if k.startswith(PREFIX)}
    prior = static_levels(arrays, tokenizer, hits)
    tensors = {name: tensor.half() for name, tensor in tokenizer.state_dict().items()}
    tensors |= {PREFIX + name: torch.from_numpy(array) for name, array in prior.items()}
    metadata = {k: v for k, v in metadata.items() if k != "base"} | {"config": config.to_json()}
    return write_weights(tensors, metadata, out / "model.safetensors")


def static_levels(arrays: dict[str, np.ndarray], tokenizer: T1DTokenizer, hits: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Prior of the levels before letter levels, as `IntegerPrior` takes it, occurrences of their codes -> that of all.

    What it expects of letter levels is how often their codes occur, whatever is around; training it further (`t1d train
    prior --letters`) starts there.
    """
    first, count = len(tokenizer.codebook_sizes) - len(hits), len(tokenizer.codebook_sizes)
    (hidden, features), (code, _) = arrays["own.0"].shape, arrays["down"].shape
    near = next(array for name, array in arrays.items() if name.startswith("near.")).shape[1] // len(OFFSETS)
    shape = PriorShape(features, near, hidden, sum(name.startswith("mix.") for name in arrays), code)
    network = PriorNetwork(tokenizer.codebook_sizes, tokenizer.strides, shape)
    none = [np.zeros(n, np.int64) for n in tokenizer.codebook_sizes[:first]]
    network.start_from([tokenizer.codes(level) for level in range(count)], none + hits)
    new = network.to_arrays()
    found = {"exp": arrays["exp"]}
    for name, array in new.items():
        kind, _, last = name.rpartition(".")
        if kind in ("near", "shift.near"):  # a cell was SIDE times as large
            old = f"{kind}.{int(last) // SIDE}"
            found[name] = arrays[old] if old in arrays else np.zeros_like(array)
        elif name.startswith(("bias.mix.", "bias.down", "shift.out", "groups")):  # a row, or a number, for each level
            found[name] = np.concatenate([arrays[name], array[first:] * (not name.startswith("bias"))])
        elif kind in ("embed", "own", "out", "bias.near", "bias.out") and int(last) >= first:  # a base may have others
            found[name] = np.zeros_like(array) if kind in ("own", "bias.near") else array
        else:
            found[name] = arrays[name]
    return found


def _extended(model: str, coarse: int, levels: int) -> tuple[T1DTokenizer, dict[str, str]]:
    """-> a tokenizer with the weights of the model, whose fine levels are empty; metadata of its weight file."""
    metadata, weights = read_weights(model_weights(model), "pt", lambda name: not name.startswith(("tables.", PREFIX)))
    old = read_config(metadata)
    if coarse > len(old.codebook_sizes):
        raise WrongWeights(f"{coarse} levels of {model} are to be kept, but it has {len(old.codebook_sizes)}")
    kept = {"codebook_sizes": old.codebook_sizes[:coarse], "strides": old.strides[:coarse]}
    config = replace(old, **kept, fine_levels=levels, letter_levels=0)
    _check_count(config)
    tokenizer = T1DTokenizer(config).eval().requires_grad_(False)
    own = tokenizer.state_dict()
    weights = {name: tensor[: len(own[name])] for name, tensor in weights.items() if name in own}  # fewer depths
    tokenizer.load_state_dict(weights, strict=False)
    return tokenizer, {"format": "t1d tokenizer", "family": "t1d", "config": config.to_json()}


def _check_count(config: TokenizerConfig) -> None:
    if len(config.token_codes) > MAX_LEVELS:
        raise WrongWeights(f"that makes {len(config.token_codes)} levels; a file holds {MAX_LEVELS} at most")


@torch.inference_mode()
def _left_over(
    tokenizer: T1DTokenizer, levels: FineLevels, pictures: Pictures, side: int, crops: int, rng: np.random.Generator,
    subjects: Sequence[Subjects] = (),
) -> Tensor:  # fmt: skip
    """-> blocks (n, 3 * block^2) of what all before these `levels` leave over in crops of so many pixels a side."""
    found = []
    for _ in tqdm(range(-(-crops // BATCH)), desc="decode", unit=" batches"):
        images = (random_crops(pictures, BATCH, side, rng, subjects) + 1) / 2
        tokens = deepest(search(tokenizer.quantizer, tokenizer.latents(images))[0])
        if levels is tokenizer.letters:
            tokens += deepest(tokenizer.fine.encode(tokenizer.left_over(images, tokens))[0])
        for picture in levels.blocks(tokenizer.left_over(images, tokens)).flatten(1, 2):
            found.append(picture[torch.multinomial(picture.square().mean(1) + 1e-9, min(BLOCKS, len(picture)))])
    return torch.cat(found)


@torch.no_grad()
def fit(levels: FineLevels, rest: Tensor) -> None:
    """Blocks of what is left over (n, 3 * block^2) -> the basis and the codes of fine or letter levels."""
    _, vectors = torch.linalg.eigh(rest.t() @ rest)  # ascending
    levels.basis.copy_(vectors.flip(1)[:, : levels.basis.shape[1]])
    levels.quantizer.start_from((rest @ levels.basis).t()[None, :, :, None], ITERATIONS)
