"""Named settings of a training run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from ..config import TokenizerConfig


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `t1d train tokenizer`. Time decides the schedule: progress = minutes trained / minutes."""

    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    minutes: float = 120.0
    batch: int = 16  # pictures a step and process
    crop: int = 256  # pixels
    window: int = 128  # side of the pictures that the perceptual losses and the discriminator see
    coefficient_share: float = 0.06  # first stage: share of the time spent on PCA coefficients only
    rate: float = 6e-4  # peak learning rate
    weight_decay: float = 0.02
    warmup_steps: int = 400
    squared_weight: float = 4.0
    plain_weight: float = 40.0  # of the squared error where the original is plain: there texture is seen
    lattice_weight: float = 1.0  # of what repeats from patch to patch
    alex_weight: float = 1.2
    vgg_weight: float = 0.3
    commitment_weight: float = 4.0
    adversarial_weight: float = 0.0  # of the pixels' gradient; 0.15 raised the squared error by a fifth
    adversarial_start: float = 0.55  # progress at which the discriminator joins
    freeze_encoder: float = 0.85  # progress from which encoder and codebooks stand still
    ema: float = 0.999
    start_pictures: int = 1500  # sample for PCA and k-means
    depth_odds: tuple[float, ...] = (1.0, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0, 1.0, 0.8, 0.8, 0.6, 0.6, 0.5, 0.6)
    even_depth: float = 0.35  # share of pictures where all patches keep the same levels
    validation_pictures: int = 48
    validation_minutes: float = 25.0
    checkpoint_minutes: float = 5.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """What `to_json` wrote -> the same settings."""
        values = json.loads(text)
        model = TokenizerConfig.from_json(json.dumps(values.pop("model")))
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}, model=model)


_TINY_MODEL = TokenizerConfig(
    components=48, width=32, heads=2, encoder_layers=1, decoder_layers=1, code_dim=16,
    codebook_sizes=(16, 32, 32), strides=(2, 1, 1), head_channels=(16, 16, 8, 8), head_blocks=(1, 0, 0, 0),
)  # fmt: skip

PRESETS = {
    "base": TrainConfig(),
    "tiny": TrainConfig(
        model=_TINY_MODEL, minutes=0.2, batch=4, crop=128, window=64, warmup_steps=5, start_pictures=64,
        adversarial_weight=0.15, depth_odds=(1.0, 1.0, 1.0), validation_pictures=4, validation_minutes=0.1, checkpoint_minutes=0.05,
    ),
}  # fmt: skip


def preset(name: str) -> TrainConfig:
    """Name of a preset -> its settings. Raises: ValueError."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r} (known: {', '.join(PRESETS)})")
    return PRESETS[name]
