"""Shapes of a `patch-vq` tokenizer: plain numbers, written to and read from JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class PatchVQConfig:
    """Every number that fixes the networks of the `patch-vq` family; the defaults are the preset `simple-1d`.

    `quantizer` is "vq" (a learned codebook), "fsq" or "lfq" (fixed grids): with these `code_dim` follows
    from `codebook_size`, see `tokenizer.codebooks.latent_dim`.

    Source: the plain design of github.com/AndrewBoessen/simple-1d-tokenizer.
    Differs: the design says nothing of the length of a code; here it is the width.
    """

    patch: int = 64  # pixels a side; one token each
    width: int = 1024
    heads: int = 16
    encoder_layers: int = 12
    decoder_layers: int = 12
    codebook_size: int = 8192
    code_dim: int = 1024
    quantizer: str = "vq"
    beta: float = 0.25  # weight of the commitment loss

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PatchVQConfig:
        """JSON text -> configuration; unknown keys are an error (TypeError)."""
        return cls(**json.loads(text))
