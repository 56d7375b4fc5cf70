"""A model that somebody trained: its weight file -> its card."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..config import TokenizerConfig
from ..errors import MissingData, WrongWeights
from ..prior.integer import PREFIX
from .cards import OWN_ID, ModelCard

URGENCY_RANGE = (0.35, 0.004)  # as the bundled models of today have it


def own_card(path: Path) -> ModelCard:
    """The weight file of a trained model of the family t1d, with its prior -> its card, of the id OWN_ID.

    Its files decode with this very weight file only, which whoever decodes them has to name.
    Raises: MissingData: no such file. WrongWeights: something else, or a model without a prior.
    """
    try:
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        with safe_open(path, framework="np") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
    except (FileNotFoundError, IsADirectoryError):
        raise MissingData(f"no weight file {str(path)!r}; `t1d models` lists the names of models") from None
    except SafetensorError as error:
        raise WrongWeights(f"{path} is no safetensors file, or damaged ({error})") from None
    if metadata.get("family") != "t1d" or "config" not in metadata:
        raise WrongWeights(f"{path} holds no model of the family t1d; give a model.safetensors of t1d train")
    if "base" not in metadata and not any(name.startswith((PREFIX, "tables.")) for name in names):
        raise WrongWeights(f"{path} has no prior yet; train one with t1d train prior --model {path}")
    config = TokenizerConfig.from_json(metadata["config"])
    return ModelCard(
        id=OWN_ID, name=path.absolute().parent.name if path.stem == "model" else path.stem, family="t1d",
        file=str(path.absolute()), sha256=sha256, patch=config.cell, strides=config.token_strides,
        codebook_sizes=config.token_codes, licence="", trained="", urgency_range=URGENCY_RANGE,
    )  # fmt: skip
