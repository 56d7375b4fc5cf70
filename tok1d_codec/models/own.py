"""A model that somebody trained: its weight file -> its card."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from bitstream.header import MAX_LEVELS

from ..config import TokenizerConfig
from ..errors import MissingData, WrongWeights
from ..prior.integer import PREFIX
from .cards import OWN_ID, ModelCard, file_sha256

URGENCY_RANGE = (0.35, 0.004)  # as the bundled models of today have it


def own_card(path: Path) -> ModelCard:
    """The weight file of a trained model of the family t1d, with its prior -> its card, of the id OWN_ID.

    Its files decode with this very weight file only, which whoever decodes them has to name.
    Raises: MissingData: no such file. WrongWeights: something else, or a model without a prior.
    """
    try:
        sha256 = file_sha256(path)
        with safe_open(path, framework="np") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
    except (FileNotFoundError, IsADirectoryError):
        raise MissingData(f"no weight file {str(path)!r}; `t1d models` lists the names of models") from None
    except SafetensorError as error:
        raise WrongWeights(f"{path} is no safetensors file, or damaged ({error})") from None
    if metadata.get("family") != "t1d" or "config" not in metadata:
        raise WrongWeights(f"{path} holds no model of the family t1d; give a model.safetensors of t1d train")
    try:
        config = TokenizerConfig.from_json(metadata["config"])
    except (TypeError, ValueError) as error:
        raise WrongWeights(f"{path} was made by another release of t1d ({error})") from None
    levels = len(config.token_strides)
    if levels > MAX_LEVELS:
        raise WrongWeights(f"{path} has {levels} levels; a file holds {MAX_LEVELS} at most")
    tables = {f"tables.{level}" for level in range(levels)}
    if "base" not in metadata and not tables <= set(names) and not any(name.startswith(PREFIX) for name in names):
        raise WrongWeights(f"{path} has no prior yet; train one with t1d train prior --model {path}")
    return ModelCard(
        id=OWN_ID, name=path.absolute().parent.name if path.stem == "model" else path.stem, family="t1d",
        file=str(path.absolute()), sha256=sha256, patch=config.cell, strides=config.token_strides,
        codebook_sizes=config.token_codes, licence="", trained="", urgency_range=URGENCY_RANGE,
    )  # fmt: skip
