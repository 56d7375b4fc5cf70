"""From the options of `t1d train prior` to a trained weight file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch

from ..data.shards import described, load_pictures, split_sources
from ..data.subjects import Pieces, find_subjects
from ..errors import MissingData, WrongWeights
from ..models.imported import contents_sha256
from ..models.store import load_tokenizer, read_weights
from ..prior.integer import PREFIX
from ..prior.network import PriorNetwork, PriorShape
from ..tokenizer.t1d import T1DTokenizer
from .loop import Hardware
from .model_files import keep_old, model_weights, with_prior
from .prior import PriorConfig, PriorTrainer
from .state import RunFolder
from .tokens import MAX_CELLS, TokenSet, tokenize

PIECE = 160  # pixels a side around a line of text
TRAINING, VALIDATION = "train.tokens", "validation.tokens"  # in the folder of tokens


def run_prior_training(
    sources: list[str], validation: list[str], tokens: Path | None, model: str, out: Path,
    config: PriorConfig, minutes: float | None = None, *, rounds: int = 2, go_on: bool = False, letters: bool = False,
    resume: bool = False, bf16: bool = False, seed: int = 0,
) -> tuple[Path, dict]:  # fmt: skip
    """Train a prior for the tokens of `model` in the folder `out` -> the model with it, its last figures.

    Args:
        sources, validation: pictures, as `t1d train tokenizer` takes them; not needed where `tokens` is.
        tokens: a folder with the tokens of an earlier run; `out`, if None, and they are made there, and made
            anew if they were made from other pictures, `rounds` or `seed`.
        model: a name that `t1d models` lists, or a weight file.
        config: ignored with `resume`, but for `minutes`: the run goes on as it was planned.
        rounds: random crops of each training picture.
        go_on: start from the model's prior, at half the rate, instead of from its codes.
        letters: start from the model's prior, and learn only what its letter levels need, from pieces of the pictures
            around lines of text.

    Raises:
        MissingData: no pictures, tokens, model or checkpoint; tokens of another model; with `go_on` or `letters`, no
            prior, or one of another shape. WrongWeights: with `letters`, a model without letter levels.
    """
    run = RunFolder(out)
    config = run.planned(PriorConfig.from_json) if resume else config
    config = config if minutes is None else replace(config, minutes=minutes)
    torch.set_flush_denormal(True)
    weights = model_weights(model)
    tokenizer = load_tokenizer(weights)
    prior = None
    if not resume and (letters or go_on):
        if letters and not tokenizer.letters:
            raise WrongWeights(f"{model} has no letter levels; `t1d train letters` adds some")
        prior = _prior_of(weights, tokenizer, config.shape)  # tokens take minutes: first
        changed = {"first_level": tokenizer.plain_levels, "weight_decay": 0.0} if letters else {"rate": config.rate / 2}
        config = replace(config, **changed)
    there = resume or tokens is not None
    training, held_out = _tokens(tokens or out, tokenizer, sources, validation, rounds, seed, there, config.first_level > 0)
    trainer = PriorTrainer(config, training, held_out, run, Hardware(bf16=bf16), seed)
    if resume:
        trainer.resume()
    elif prior:
        trainer.go_on(prior)
    else:
        trainer.start([tokenizer.codes(level) for level in range(len(training.strides))])
    learned = trainer.train()
    keep_old(run.model_file)
    return with_prior(weights, learned, run.model_file), run.records()[-1]["validation"]


def _prior_of(weights: Path, tokenizer: T1DTokenizer, shape: PriorShape) -> PriorNetwork:
    """Weight file -> its prior, as it is trained. Raises: MissingData if it has none, or one of another shape."""
    arrays = read_weights(weights, "np", lambda name: name.startswith(PREFIX))[1]
    if not arrays:
        raise MissingData(f"no prior in {weights} to go on with")
    network = PriorNetwork(tokenizer.codebook_sizes, tokenizer.strides, shape)
    try:
        network.from_arrays({name.removeprefix(PREFIX): array for name, array in arrays.items()})
    except ValueError:
        raise MissingData(f"the prior in {weights} has another shape; train a new one, without --go-on or --letters") from None
    return network


def _tokens(
    folder: Path, tokenizer: T1DTokenizer, sources: list[str], validation: list[str], rounds: int, seed: int,
    there: bool, letters: bool = False,
) -> tuple[TokenSet, TokenSet]:  # fmt: skip
    """The training and validation tokens in a folder, made from the pictures where they are not there yet.

    Unless what is `there` is wanted, whatever it was made from, tokens made from anything else are made anew.
    """
    paths, weights = [folder / TRAINING, folder / VALIDATION], contents_sha256(tokenizer.state_dict())
    if not (there and all(path.exists() for path in paths)):
        files, held_out = split_sources(sources, validation)
        folder.mkdir(parents=True, exist_ok=True)
        side = min(8, MAX_CELLS) * tokenizer.config.patch
        for name, path, chosen in (("validation", paths[1], held_out), ("train", paths[0], files)):
            centred = name == "validation"
            how = (1 if centred else rounds), seed, centred
            made_from = hashlib.sha256(json.dumps([described(chosen), how, weights, letters]).encode()).hexdigest()
            if TokenSet.origin(path) != made_from:
                pictures = load_pictures(chosen, folder / f"{name}.u8", side)
                if letters:
                    pictures = Pieces(pictures, find_subjects(pictures, "text", folder / f"{name}-text.json"), PIECE)
                replace(tokenize(tokenizer, pictures, *how, name), made_from=made_from).save(path)
    sets = [TokenSet.load(path) for path in paths]
    for path, found in zip(paths, sets):
        if found.model != weights:
            raise MissingData(f"{path} holds tokens of another model; name theirs with --model, or another folder")
    return sets[0], sets[1]
