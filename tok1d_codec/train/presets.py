"""Named settings of a training run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from ..config import PatchVQConfig, Settings, TiTokConfig, TokenizerConfig
from ..tokenizer import FAMILIES
from ..tokenizer.codebooks import latent_dim


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Settings of `t1d train tokenizer`. Time decides the schedule: progress = minutes trained / minutes.

    `shown`, `depth_odds` and `even_depth` mean something to the family t1d only.
    """

    model: TokenizerConfig | TiTokConfig | PatchVQConfig = field(default_factory=TokenizerConfig)
    family: str = "t1d"
    minutes: float = 120.0
    batch: int = 16  # pictures a step and process
    crop: int = 256  # pixels
    shown: int = 6  # patches a side of a crop that family t1d turns into pixels; all tokens are decoded with them
    window: int = 128  # side of the pictures that the perceptual losses and the discriminator see
    coefficient_share: float = 0.06  # first stage: share of the time spent on squared error only
    rate: float = 6e-4  # peak learning rate
    weight_decay: float = 0.02
    warmup_steps: int = 400
    squared_weight: float = 4.0
    plain_weight: float = 40.0  # of the squared error where the original is plain: there texture is seen
    lattice_weight: float = 1.0  # of what repeats from patch to patch
    fine_weight: float = 1.5  # of finer detail than the original has
    border_weight: float = 1.0  # of more invented steps across patch borders than within patches
    weave_weight: float = 3.0  # of texture that repeats itself unlike the original's
    alex_weight: float = 1.2
    vgg_weight: float = 0.3
    commitment_weight: float = 4.0  # of what the quantizer asks for
    adversarial_weight: float = 0.05  # of the pixels' gradient; 0.15 raised the squared error by a fifth
    adversarial_start: float = 0.25  # progress at which the discriminator joins
    branch_only: bool = False  # nothing learns but the decoder's branch for fine levels
    freeze_encoder: float = 0.85  # progress from which encoder and codebooks stand still
    ema: float = 0.999
    start_pictures: int = 1500  # sample for PCA and the first codes
    depth_odds: tuple[float, ...] = (1.3, 1.8, 1.6, 1.3, 1.2, 1.0, 1.0, 1.0, 0.8, 0.8, 0.6, 0.6, 0.5, 0.6)
    even_depth: float = 0.25  # share of pictures where all patches keep the same levels
    face_share: float = 0.0  # share of the crops that are placed on a face
    text_share: float = 0.0  # and on a line of text
    validation_pictures: int = 48
    validation_minutes: float = 25.0
    checkpoint_minutes: float = 5.0

    @classmethod
    def read(cls, values: dict[str, Any]) -> dict[str, Any]:
        family = FAMILIES[values.get("family", "t1d")]
        model = family.Config.from_json(json.dumps(values["model"]))
        branch_only = bool(getattr(model, "fine_channels", 0))  # older runs, which do not say so, trained that alone
        return {"branch_only": branch_only, **values, "model": model}


_TINY_MODEL = TokenizerConfig(
    components=48, width=32, heads=2, encoder_layers=1, decoder_layers=1, code_dim=16,
    codebook_sizes=(16, 32, 32), strides=(2, 1, 1), head_channels=(16, 16, 8, 8), head_blocks=(1, 0, 0, 0),
)  # fmt: skip

# The small presets cost about as much as `base`, which takes 8.6 GFLOP forward for a picture of 256x256
# (torch's FlopCounterMode; attention as matrix products), and spend 768 bits on it.
_TITOK_SMALL = TiTokConfig(  # 8.1 GFLOP, 10.9 M parameters
    tokens=64, codebook_size=4096, code_dim=16, normalize=True, encoder=(256, 6, 8), decoder=(256, 7, 8),
    legacy=False, tail_drop=0.5,
)  # fmt: skip
_PATCH_VQ_SMALL = PatchVQConfig(  # 8.2 GFLOP, 63.3 M parameters
    patch=32, width=512, heads=8, encoder_layers=8, decoder_layers=11, codebook_size=4096, code_dim=32
)
_TILES = TrainConfig(commitment_weight=1.0, start_pictures=128)
_TINY = replace(
    _TILES, minutes=0.2, batch=2, window=64, warmup_steps=5, start_pictures=4,
    validation_pictures=2, validation_minutes=0.1, checkpoint_minutes=0.05,
)  # fmt: skip

# the first preset of a family is its default
PRESETS = {
    "base": TrainConfig(model=TokenizerConfig(decoder_layers=8, smooth_chroma=True, remove_repeats=True)),
    "tiny": TrainConfig(
        model=_TINY_MODEL, minutes=0.2, batch=4, crop=128, window=64, warmup_steps=5, start_pictures=64,
        adversarial_weight=0.15, depth_odds=(1.0, 1.0, 1.0), validation_pictures=4, validation_minutes=0.1,
        checkpoint_minutes=0.05,
    ),
    "titok-small": replace(_TILES, family="titok", model=_TITOK_SMALL),
    "titok-tiny": replace(
        _TINY, family="titok",
        model=TiTokConfig(8, 64, 8, True, (32, 1, 2), (32, 1, 2), legacy=False, tail_drop=0.5),
    ),
    "patch-vq-small": replace(_TILES, family="patch-vq", model=_PATCH_VQ_SMALL),
    # the plain design: 10.6 GFLOP, 338 M parameters, 16 tokens; meant for a GPU
    "simple-1d": replace(_TILES, family="patch-vq", model=PatchVQConfig(), rate=1e-4, start_pictures=512),
    "patch-vq-tiny": replace(
        _TINY, family="patch-vq", model=PatchVQConfig(64, 32, 2, 1, 1, codebook_size=64, code_dim=8)
    ),
}  # fmt: skip


def default_preset(family: str) -> str:
    """Name of a family -> name of the preset that is taken unless another is asked for."""
    return next(name for name, config in PRESETS.items() if config.family == family)


def with_quantizer(config: TrainConfig, kind: str) -> TrainConfig:
    """Settings of any family but t1d, "vq", "fsq" or "lfq" -> the same with that quantizer."""
    model = config.model
    dim = latent_dim(kind, model.codebook_size, model.code_dim)
    return replace(config, model=replace(model, quantizer=kind, code_dim=dim))
