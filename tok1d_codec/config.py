"""Shapes of a `t1d` tokenizer: plain numbers, written to and read from JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

SIDE = 2  # blocks of fine levels along a side of a patch, see `tokenizer.fine`
SECOND_FIRST = 1e3  # what the second level's urgency is raised by, above every other, see `tokenizer.allocation`
RETIRED = {"detail_dims", "detail_level"}  # weight files of t1d-3 to t1d-5 name them; no network has them any more


@dataclass(frozen=True)
class TokenizerConfig:
    """Every number that fixes the networks of the `t1d` family.

    `codebook_sizes[i]` and `strides[i]` describe level i of the residual quantizer, coarse to fine:
    a level of stride s holds one token for s x s patches.
    """

    patch: int = 32  # pixels
    components: int = 384  # PCA components that a patch is described by
    width: int = 320
    heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 5
    radius: int = 3  # a token attends to tokens at most this far away, in patches
    code_dim: int = 160
    codebook_sizes: tuple[int, ...] = (1024, 512) + (1024,) * 12
    strides: tuple[int, ...] = (2,) + (1,) * 13
    head_channels: tuple[int, ...] = (192, 128, 96, 48)  # at 2, 4, 8, 16 cells a patch side
    head_blocks: tuple[int, ...] = (2, 2, 2, 1)
    smooth_chroma: bool = False  # `tokenizer.chroma`, last
    remove_repeats: bool = False  # `tokenizer.repeats`, after the convolutional head
    fine_levels: int = 0  # after those of `codebook_sizes`; see `tokenizer.fine`
    fine_components: int = 64
    fine_codes: int = 1024
    fine_channels: int = 0  # of the convolutions that fit the picture to fine levels; 0 is none

    def __post_init__(self) -> None:
        if len(self.codebook_sizes) != len(self.strides):
            raise ValueError(f"{len(self.codebook_sizes)} codebook sizes for {len(self.strides)} strides")
        if len(self.head_channels) != len(self.head_blocks):
            raise ValueError(f"{len(self.head_channels)} head channels for {len(self.head_blocks)} head blocks")
        if self.code_dim > self.components:
            raise ValueError(f"codes of {self.code_dim} dimensions, but only {self.components} components")
        if self.fine_channels and not self.fine_levels:
            raise ValueError(f"{self.fine_channels} fine channels, but no fine levels")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")

    @property
    def cell(self) -> int:
        """Pixels along a side of what a token of the last level stands for."""
        return self.patch // SIDE if self.fine_levels else self.patch

    @property
    def token_strides(self) -> tuple[int, ...]:
        """How many cells a side a token of each level stands for, fine levels too."""
        return tuple(SIDE * s for s in self.strides) + (1,) * self.fine_levels if self.fine_levels else self.strides

    @property
    def token_codes(self) -> tuple[int, ...]:
        """Codebook sizes of all levels, fine ones too."""
        return self.codebook_sizes + (self.fine_codes,) * self.fine_levels

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TokenizerConfig:
        """JSON text -> configuration; unknown keys are an error (TypeError), but for RETIRED ones that are 0."""
        values = {k: v for k, v in json.loads(text).items() if v or k not in RETIRED}
        tuples = {f.name for f in fields(cls) if "tuple" in str(f.type)}
        return cls(**{k: tuple(v) if k in tuples else v for k, v in values.items()})
