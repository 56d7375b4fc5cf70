"""Weight files -> models. Only `load_model` and `Model` need torch, and import it when they run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from bitstream.counts import CountsModel, checked_counts

from ..errors import MissingData, WrongWeights
from ..prior.integer import PREFIX, IntegerPrior
from ..prior.static import StaticTables
from .cards import OWN_ID, WEIGHT_FILE, ModelCard, card_by_name, file_sha256

if TYPE_CHECKING:
    from ..tokenizer.base import Tokenizer

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """A loaded model: what its files say of it, its networks, and what the range coder knows of its tokens."""

    card: ModelCard
    tokenizer: Tokenizer
    prior: CountsModel


@cache
def weight_path(card: ModelCard) -> Path:
    """Card -> its weight file, once its sha256 has been checked.

    Raises:
        MissingData: the file is not there. WrongWeights: it is not the file that the card names.
    """
    path = FOLDER / card.file
    if not path.is_file():
        raise MissingData(f"no weights for model {card.name}: {card.file} is not installed; reinstall t1d")
    found = file_sha256(path)
    if found != card.sha256:
        raise WrongWeights(
            f"{card.file} has sha256 {found[:12]}..., model {card.name} needs {card.sha256[:12]}...; reinstall t1d"
        )
    return path


def read_weights(
    path: Path, framework: str, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, str], dict[str, Any]]:
    """A weight file -> its metadata and its tensors of `wanted` names.

    Where the metadata name a `base`, another bundled model, the tensors that the file lacks are that one's.

    Args:
        framework: "pt" for torch tensors, "np" for numpy arrays.

    Raises: OSError, SafetensorError for a file that cannot be read; as `weight_path` for its base.
    """
    with safe_open(path, framework=framework) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys() if wanted(name)}
    if "base" in metadata:
        inherited = read_weights(_base_path(metadata["base"]), framework, wanted)[1]
        tensors = {**inherited, **tensors}
    return metadata, tensors


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """A weight file -> the shapes of what `read_weights` reads from it. Raises: as that."""
    with safe_open(path, framework="np") as file:
        base = (file.metadata() or {}).get("base")
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    return {**read_shapes(_base_path(base)), **shapes} if base else shapes


def _base_path(name: str) -> Path:
    """Raises: WrongWeights for a model of one's own, which could name itself; UnknownModel."""
    if name.endswith(WEIGHT_FILE):
        raise WrongWeights(f"a weight file that is based on {name}; only a bundled model is a base")
    return weight_path(card_by_name(name))


def load_prior(card: ModelCard) -> CountsModel:
    """Card -> its learned prior, or the static tables of a model that has none (numpy only).

    Raises: as `weight_path`; WrongWeights also where they are not of the codebooks that the card names.
    """
    if card.family == "titok":
        from .imported import imported_tables

        return imported_tables(card)
    try:
        _, tensors = read_weights(weight_path(card), "np", lambda name: name.startswith(("tables.", PREFIX)))
        learned = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        if not learned:
            tables = enumerate(card.codebook_sizes)
            return StaticTables([checked_counts(tensors[f"tables.{level}"], 0, size) for level, size in tables])
        prior = IntegerPrior(learned, card.strides)
        if prior.codebook_sizes != card.codebook_sizes:
            raise ValueError(f"it has {prior.codebook_sizes} codes, the model {card.codebook_sizes}")
        return prior
    except (KeyError, TypeError, ValueError) as error:
        raise WrongWeights(f"the prior in {card.file} is damaged or of another model ({error})") from None


def load_model(name: str | os.PathLike = "t1d", device: str = "auto", compiled: bool = False) -> Model:
    """Name, or weight file of one's own, and device ("auto", "cpu", "cuda", "mps") -> model in float32, ready to run.

    Args:
        compiled: have `torch.compile` fuse the networks the first time they run. It takes a minute and a C++
            compiler, so it pays for many pictures of one size only.

    Raises:
        UnknownModel, MissingData, WrongWeights, DeviceUnavailable.
    """
    import torch

    from ..device import pick_device

    card, chosen = card_by_name(name), pick_device(device)
    if chosen.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # ten bits of mantissa would show in tokens and pixels
    with torch.inference_mode(False):  # weights made in that mode could never be differentiated through
        if card.family == "titok":
            from .imported import load_imported

            model = load_imported(card.name, device)
        else:
            model = Model(card, load_tokenizer(weight_path(card)).to(chosen), load_prior(card))
    if compiled:
        for network in model.tokenizer.networks():
            network.compile()
    return model


def shared_model(name: str | os.PathLike, device: str = "auto") -> Model:
    """As `load_model`, but once for a model and a device, by whatever names they go."""
    from ..device import pick_device

    return _load_once(card_by_name(name), str(pick_device(device)))


@cache
def _load_once(card: ModelCard, device: str) -> Model:
    return load_model(card.file if card.id == OWN_ID else card.name, device)


def load_tokenizer(path: Path) -> Tokenizer:
    """Safetensors file -> tokenizer; its networks are made without weights first, so none is set twice.

    Raises: WrongWeights if tensors are missing; as `read_weights` and `read_config`.
    """
    import torch

    from ..tokenizer import FAMILIES

    metadata, weights = read_weights(path, "pt", lambda name: not name.startswith(("tables.", PREFIX)))
    try:
        with torch.device("meta"):
            tokenizer = FAMILIES[metadata["family"]](read_config(metadata))
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        raise WrongWeights(f"{path} describes no network that can be ({error})") from None
    own = tokenizer.state_dict()  # a base may have codes that this model has no use for
    if wrong := sorted(k for k, due in own.items() if k not in weights or weights[k].shape != due.shape):
        raise WrongWeights(f"{path} lacks {', '.join(wrong[:3])}, or has another shape; give a whole model.safetensors")
    tokenizer.load_state_dict({name: weights[name].float() for name in own}, assign=True)
    return tokenizer.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def read_config(metadata: dict[str, str]) -> object:
    """Metadata of a tokenizer's weight file -> the configuration of its family. Raises: WrongWeights."""
    from ..tokenizer import FAMILIES

    try:
        return FAMILIES[metadata["family"]].Config.from_json(metadata["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise WrongWeights(f"the model's configuration is damaged or of another release of t1d ({error})") from None
