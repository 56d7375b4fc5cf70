"""Named settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
    rate: float = 8e-4  # peak learning rate
    weight_decay: float = 0.02
    warmup_steps: int = 400
    squared_weight: float = 5.0
    alex_weight: float = 0.7
    vgg_weight: float = 0.3
    commitment_weight: float = 4.0
    adversarial_weight: float = 0.15  # of the gradient that the other losses send to the pixels
    adversarial_start: float = 0.55  # progress at which the discriminator joins
    freeze_encoder: float = 0.85  # progress from which encoder and codebooks stand still
    ema: float = 0.999
    start_pictures: int = 1500  # sample for PCA and k-means
    depth_odds: tuple[float, ...] = (1.0, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0, 0.8, 0.8, 1.0)
    mixed_depth: float = 0.3  # share of pictures where some patches keep one level more than the others
    validation_pictures: int = 48
    validation_minutes: float = 25.0
    checkpoint_minutes: float = 5.0


_TINY_MODEL = TokenizerConfig(
    components=48, width=32, heads=2, encoder_layers=1, decoder_layers=1, code_dim=16,
    codebook_sizes=(16, 32, 32), strides=(2, 1, 1), head_channels=(16, 16, 8, 8), head_blocks=(1, 0, 0, 0),
)  # fmt: skip

PRESETS = {
    "base": TrainConfig(),
    "tiny": TrainConfig(
        model=_TINY_MODEL, minutes=0.2, batch=4, crop=128, window=64, warmup_steps=5, start_pictures=64,
        depth_odds=(1.0, 1.0, 1.0), validation_pictures=4, validation_minutes=0.1, checkpoint_minutes=0.05,
    ),
}  # fmt: skip


def preset(name: str, minutes: float | None = None) -> TrainConfig:
    """Name of a preset and, if given, the minutes to train -> its settings."""
    config = PRESETS[name]
    return config if minutes is None else replace(config, minutes=minutes)
