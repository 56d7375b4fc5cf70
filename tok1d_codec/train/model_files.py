"""Weight files of models: read where a user names one, put together from parts, written whole."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import MissingData, WrongWeights
from ..models.cards import WEIGHT_FILE, card_by_name, file_sha256
from ..models.store import read_config, read_weights, weight_path
from ..models.writing import whole
from ..prior.integer import PREFIX
from ..tokenizer import FAMILIES


def model_weights(model: str) -> Path:
    """Name of a model of the family t1d, or its weight file -> the file.

    Raises: UnknownModel, MissingData, WrongWeights.
    """
    card = None if model.endswith(WEIGHT_FILE) else card_by_name(model)
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


def with_prior(weights: Path, prior: Path, out: Path) -> Path:
    """Weight file of a model, of a prior -> one file with both, without the static tables: `out`."""
    metadata, tensors = read_weights(weights, "pt", lambda name: not name.startswith(("tables.", PREFIX)))
    metadata.pop("base", None)  # its tensors are in this file
    return write_weights(tensors | load_file(prior), metadata, out)


def keep_prior(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Tensors of a model -> those of its prior in a file of their own; no file, also none of before, if it has none."""
    prior = {k: v for k, v in weights.items() if k.startswith(PREFIX)}
    if prior:
        with whole(path) as partial:
            save_file(prior, partial)
    else:
        path.unlink(missing_ok=True)


def keep_old(model: Path) -> None:
    """A finished model that will be replaced -> a copy beside it, said on stderr: files made with it need it."""
    if model.exists():
        kept = model.with_stem(f"{model.stem}-{file_sha256(model)[:8]}")
        shutil.copyfile(model, kept)
        said = f"t1d: the earlier {model.name} is kept as {kept}: files made with it decode with nothing else"
        print(said, file=sys.stderr)


def lean(model: Path, base: str, out: Path) -> None:
    """A model file -> `out`, without the tensors that the bundled model `base` has alike: they are read from there."""
    metadata, tensors = read_weights(model, "pt")
    shared = read_weights(weight_path(card_by_name(base)), "pt")[1]
    own = {k: v for k, v in tensors.items() if k not in shared or v.dtype != shared[k].dtype or not torch.equal(v, shared[k])}
    write_weights(own, metadata | {"base": base}, out)


def average(first: str, second: str, share: float, out: Path) -> Path:
    """Two models, names or weight files -> `out`, `share` of the way from the decoder of the first to that of the second.

    Raises: as `model_weights`; WrongWeights where their tokens do not mean the same.
    """
    (metadata, mine), (other, theirs) = (read_model(model_weights(name)) for name in (first, second))
    with torch.device("meta"):
        network = FAMILIES[metadata["family"]](read_config(metadata)).state_dict()
    needed = [*network, *(k for k in mine if k.startswith(PREFIX))]  # a base may have codes that nobody needs
    learnt = {k for k in needed if k.startswith("decoder.")}
    if read_config(metadata) != read_config(other) or any(
        k not in theirs or k not in learnt and not torch.equal(mine[k], theirs[k]) for k in needed
    ):
        raise WrongWeights(
            f"{first} and {second} differ in more than their decoders; train the second with --init and --decoder-only"
        )
    mixed = {k: torch.lerp(mine[k].float(), theirs[k].float(), share).to(mine[k].dtype) for k in learnt}
    kept = {k: v for k, v in mine.items() if k in needed or k.startswith("tables.")}
    return write_weights(kept | mixed, {k: v for k, v in metadata.items() if k != "base"}, out)


def write_weights(tensors: dict[str, torch.Tensor], metadata: dict[str, str], out: Path) -> Path:
    """Tensors -> the safetensors file `out`; a kill at any moment leaves none or a whole one."""
    with whole(out) as partial:
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, metadata=metadata)
    return out
