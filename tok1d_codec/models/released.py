"""The released TiTok tokenizers: the facts of each, and how their configurations are read. Needs no torch.

Facts: github.com/bytedance/1d-tokenizer, commit 942a96f, Apache-2.0; arXiv:2406.07550.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..config import TITOK_PATCH, VIT_SIZES, TiTokConfig
from ..errors import BadCheckpoint, UnknownModel
from ..image.tiles import TILE


@dataclass(frozen=True)
class Released:
    """One released model, for ever: `id` is what a t1d file calls it."""

    id: int
    name: str
    config: TiTokConfig
    parameters: int
    hub: str  # its repository on the Hugging Face hub
    licence: str = "Apache-2.0"


def _released(
    id: int, name: str, tokens: int, encoder: str, decoder: str, legacy: bool, parameters: int
) -> Released:
    """A row of the table below: all models of a generation have the same kind of codebook."""
    size, dim = (4096, 12) if legacy else (8192, 64)
    config = TiTokConfig(tokens, size, dim, legacy, VIT_SIZES[encoder], VIT_SIZES[decoder], legacy)
    hub = f"yucornetto/tokenizer_{name.replace('-', '_')}_imagenet"
    return Released(id, name, config, parameters, hub)


# Append only: an id is never reused or changed.
RELEASED: dict[str, Released] = {
    row.name: row
    for row in (
        _released(64, "titok-l32", 32, "large", "large", True, 641_054_735),
        _released(65, "titok-b64", 64, "base", "base", True, 204_814_095),
        _released(66, "titok-s128", 128, "small", "small", True, 83_674_639),
        _released(67, "titok-bl64-vq8k", 64, "base", "large", False, 390_016_148),
        _released(68, "titok-bl128-vq8k", 128, "base", "large", False, 390_179_988),
        _released(69, "titok-sl256-vq8k", 256, "small", "large", False, 330_260_884),
    )
}


def released(name: str) -> Released:
    """Name -> the released model.

    Raises:
        UnknownModel: there is none of this name. BadCheckpoint: there is, but its kind is not supported.
    """
    if name not in RELEASED:
        _refuse_other_kinds(name)
        raise UnknownModel(f"no model {name} to import (known: {', '.join(RELEASED)}); give one of these")
    return RELEASED[name]


def read_titok_config(values: dict[str, Any]) -> TiTokConfig:
    """What a released `config.json` or YAML holds -> configuration.

    Keys that may be absent: `finetune_decoder` and `is_legacy`, then true, and `quantize_mode`, then "vq".

    Raises:
        BadCheckpoint: a kind of model that is not supported, or a key that is missing or means nothing here.
    """
    try:
        model = values["model"]["vq_model"]
        crop = values.get("dataset", {}).get("preprocessing", {}).get("crop_size", TILE)
        _refuse_other_kinds(str(values.get("experiment", "")), model)
        legacy, finetuned = model.get("is_legacy", True), model.get("finetune_decoder", True)
        fixed = {
            "crop_size": (crop, TILE),
            "vit_enc_patch_size": (model["vit_enc_patch_size"], TITOK_PATCH),
            "vit_dec_patch_size": (model["vit_dec_patch_size"], TITOK_PATCH),
            "finetune_decoder": (finetuned, legacy),  # one generation has both, the other neither
        }
        for key, (found, wanted) in fixed.items():
            if found != wanted:
                raise BadCheckpoint(f"the configuration has {key} {found}; a released TiTok has {wanted}")
        return TiTokConfig(
            tokens=int(model["num_latent_tokens"]),
            codebook_size=int(model["codebook_size"]),
            code_dim=int(model["token_size"]),
            normalize=bool(model["use_l2_norm"]),
            encoder=VIT_SIZES[model["vit_enc_model_size"]],
            decoder=VIT_SIZES[model["vit_dec_model_size"]],
            legacy=bool(legacy),
        )
    except KeyError as error:
        said = f"the configuration lacks or has an unknown {error}"
        raise BadCheckpoint(f"{said}; give a released one") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise BadCheckpoint(f"not the configuration of a TiTok ({error}); give a released one") from None


def refuse_text_guided(keys: Iterable[str]) -> None:
    """State-dict keys -> nothing. Raises BadCheckpoint if they are those of a TA-TiTok."""
    if any("text_" in key for key in keys):
        raise BadCheckpoint(f"a TA-TiTok: its decoder needs a caption; import one of {', '.join(RELEASED)}")


def _refuse_other_kinds(name: str, model: dict[str, Any] | None = None) -> None:
    """Raises BadCheckpoint for what the reference repository also releases, but is no codec of indices."""
    model, name = model or {}, name.lower().replace("-", "_")
    mode = model.get("quantize_mode", "vq")
    if mode == "vae" or "_vae" in name:
        raise BadCheckpoint(
            "a TiTok of the kind vae has continuous tokens, which no file of indices can hold; "
            f"import one of {', '.join(RELEASED)}"
        )
    if mode != "vq":
        raise BadCheckpoint(f"a TiTok of quantize_mode {mode}; only vq is supported")
    if "tatitok" in name or "ta_titok" in name or any(key.startswith("text_") for key in model):
        refuse_text_guided(["text_"])
