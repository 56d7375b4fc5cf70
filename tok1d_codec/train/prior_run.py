"""From the options of `t1d train prior` to a trained weight file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..data.shards import load_pictures, split_sources
from ..errors import MissingData, WrongWeights
from ..models.cards import card_by_name
from ..models.imported import contents_sha256
from ..models.store import _load_tokenizer, read_weights, weight_path
from ..prior.integer import PREFIX
from ..prior.network import PriorNetwork, PriorShape
from ..tokenizer.t1d import T1DTokenizer
from .export import write_weights
from .loop import Hardware
from .prior import PriorConfig, PriorTrainer
from .state import RunFolder
from .tokens import MAX_CELLS, TokenSet, tokenize

TRAINING, VALIDATION = "train.tokens", "validation.tokens"  # in the folder of tokens


def run_prior_training(
    sources: list[str], validation: list[str], tokens: Path | None, model: str, out: Path,
    config: PriorConfig, minutes: float | None = None, *, rounds: int = 2, go_on: bool = False, resume: bool = False,
    bf16: bool = False, seed: int = 0,
) -> tuple[Path, dict]:  # fmt: skip
    """Train a prior for the tokens of `model` in the folder `out` -> the model with it, its last figures.

    Args:
        sources, validation: pictures, as `t1d train tokenizer` takes them; not needed where `tokens` is.
        tokens: a folder with the tokens of an earlier run; `out`, if None, and they are made there.
        model: a name that `t1d models` lists, or a weight file.
        config: ignored with `resume`, but for `minutes`: the run goes on as it was planned.
        rounds: random crops of each training picture.
        go_on: start from the model's prior, at half the rate, instead of from its codes.

    Raises:
        MissingData: no pictures, tokens, model or checkpoint; tokens of another model; with `go_on`, no prior, or
            one of another shape.
    """
    run = RunFolder(out)
    config = run.planned(PriorConfig.from_json) if resume else config
    config = config if minutes is None else replace(config, minutes=minutes)
    torch.set_flush_denormal(True)
    weights = model_weights(model)
    tokenizer = _load_tokenizer(weights)
    prior = _prior_of(weights, tokenizer, config.shape) if go_on and not resume else None  # tokens take minutes: first
    config = replace(config, rate=config.rate / 2) if prior else config
    training, held_out = _tokens(tokens or out, tokenizer, sources, validation, rounds, seed)
    trainer = PriorTrainer(config, training, held_out, run, Hardware(bf16=bf16), seed)
    if resume:
        trainer.resume()
    elif prior:
        trainer.go_on(prior)
    else:
        trainer.start([tokenizer.codes(level) for level in range(len(training.strides))])
    path = with_prior(weights, trainer.train(), out / "model.safetensors")
    return path, run.records()[-1]["validation"]


def keep_prior(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Tensors of a model -> those of its prior in a file of their own; no file, also none of before, if it has none."""
    prior = {k: v for k, v in weights.items() if k.startswith(PREFIX)}
    if prior:
        save_file(prior, path)
    else:
        path.unlink(missing_ok=True)


def _prior_of(weights: Path, tokenizer: T1DTokenizer, shape: PriorShape) -> PriorNetwork:
    """Weight file -> its prior, as it is trained. Raises: MissingData if it has none, or one of another shape."""
    arrays = read_weights(weights, "np", lambda name: name.startswith(PREFIX))[1]
    if not arrays:
        raise MissingData(f"no prior in {weights} to go on with")
    network = PriorNetwork(tokenizer.codebook_sizes, tokenizer.strides, shape)
    try:
        network.from_arrays({name.removeprefix(PREFIX): array for name, array in arrays.items()})
    except ValueError:
        raise MissingData(f"the prior in {weights} has another shape; train a new one, without --go-on") from None
    return network


def with_prior(weights: Path, prior: Path, out: Path) -> Path:
    """Weight file of a model, of a prior -> one file with both, without the static tables: `out`."""
    metadata, tensors = read_weights(weights, "pt", lambda name: not name.startswith(("tables.", PREFIX)))
    metadata.pop("base", None)  # its tensors are in this file
    return write_weights(tensors | load_file(prior), metadata, out)


def model_weights(model: str) -> Path:
    """Name of a model of the family t1d, or its weight file -> the file. Raises: MissingData, WrongWeights."""
    card = None if model.endswith(".safetensors") else card_by_name(model)
    family = card.family if card else read_model(Path(model), lambda name: False)[0].get("family")
    if family != "t1d":
        raise WrongWeights(f"{model} is no model of the family t1d, which alone has a learned prior and fine levels")
    return weight_path(card) if card else Path(model)


def read_model(
    path: Path, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """What `store.read_weights` reads from a weight file that a user named. Raises: MissingData."""
    try:
        return read_weights(path, "pt", wanted)
    except (OSError, SafetensorError) as error:
        raise MissingData(f"no model to start from in {path} ({str(error).splitlines()[0]})") from None


def _tokens(
    folder: Path, tokenizer: T1DTokenizer, sources: list[str], validation: list[str], rounds: int, seed: int
) -> tuple[TokenSet, TokenSet]:
    """The training and validation tokens in a folder, made from the pictures where they are not there yet."""
    paths = [folder / TRAINING, folder / VALIDATION]
    if not all(path.exists() for path in paths):
        files, held_out = split_sources(sources, validation)
        folder.mkdir(parents=True, exist_ok=True)
        side = min(8, MAX_CELLS) * tokenizer.config.patch
        for name, path, chosen in (("validation", paths[1], held_out), ("train", paths[0], files)):
            pictures = load_pictures(chosen, folder / f"{name}.u8", side)
            centred = name == "validation"
            tokenize(tokenizer, pictures, 1 if centred else rounds, seed, centred, name).save(path)
    sets = [TokenSet.load(path) for path in paths]
    weights = contents_sha256(tokenizer.state_dict())
    for path, found in zip(paths, sets):
        if found.model != weights:
            raise MissingData(f"{path} holds tokens of another model; name theirs with --model, or another folder")
    return sets[0], sets[1]
