"""Shapes of a `titok` tokenizer: plain numbers, written to and read from JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

PATCH = 16  # pixels; every released model has 16 x 16 patches in a tile
VIT_SIZES = {"small": (512, 8, 8), "base": (768, 12, 12), "large": (1024, 24, 16)}  # width, layers, heads


@dataclass(frozen=True)
class TiTokConfig:
    """Every number that fixes the networks of the `titok` family.

    `encoder` and `decoder` are (width, layers, heads) of the two transformers. `legacy` is the first
    generation of released models: their decoder mixes a codebook of pixel features, which a convolutional
    network turns into pixels; the second generation goes from patches straight to pixels.

    What follows `legacy` concerns training; the released models have the defaults. `quantizer` is as in
    `PatchVQConfig`. With a `tail_drop` above 0 the last tokens of a tile can be left out: that is the share
    of training pictures whose sequence is cut at a random place.
    """

    tokens: int  # of a tile
    codebook_size: int
    code_dim: int
    normalize: bool  # latents and codes are compared, and decoded, on the unit sphere
    encoder: tuple[int, int, int]
    decoder: tuple[int, int, int]
    legacy: bool
    quantizer: str = "vq"
    beta: float = 0.25  # weight of the commitment loss
    tail_drop: float = 0.0

    def __post_init__(self) -> None:
        for width, _, heads in (self.encoder, self.decoder):
            if width % heads:
                raise ValueError(f"width {width} is not a multiple of {heads} heads")

    @property
    def patch(self) -> int:
        return PATCH

    @property
    def bits_per_tile(self) -> int:
        return self.tokens * (self.codebook_size - 1).bit_length()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TiTokConfig:
        """JSON text -> configuration; unknown keys are an error (TypeError)."""
        values = json.loads(text)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
