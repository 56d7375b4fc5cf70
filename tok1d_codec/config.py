"""Shapes of the tokenizers of all families: plain numbers, written to and read from JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

SIDE = 2  # blocks of fine levels along a side of a patch, and of letter levels along one of those, see `tokenizer.fine`
SECOND_FIRST = 1e3  # what the second level's urgency is raised by, above every other, see `tokenizer.allocation`
MOST = 2**16  # that a number of a configuration may be
RETIRED = {"detail_dims", "detail_level"}  # weight files of t1d-3 to t1d-5 name them; no network has them any more
TITOK_PATCH = 16  # pixels; every released model has 16 x 16 patches in a tile
VIT_SIZES = {"small": (512, 8, 8), "base": (768, 12, 12), "large": (1024, 24, 16)}  # width, layers, heads


class Settings:
    """A frozen dataclass that is written to and read from JSON."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote -> the same settings. Raises: TypeError for unknown keys, ValueError for what is no mapping."""
        try:
            values = json.loads(text)
        except RecursionError:  # brackets in brackets, very many
            values = None
        if not isinstance(values, dict):
            raise ValueError("settings are a mapping of names to values")
        values = cls.read(values)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @classmethod
    def read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What stands in JSON, of older releases too -> arguments, but for lists that are to be tuples."""
        return values


@dataclass(frozen=True)
class TokenizerConfig(Settings):
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
    letter_levels: int = 0  # after the fine ones
    letter_components: int = 40
    letter_codes: int = 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(n, int) and 0 <= n <= MOST for n in numbers):
                raise ValueError(f"{field.name} is {value!r:.40}; numbers of 0 to {MOST} are known")
        if min(self.patch, self.components, self.width, self.heads, *self.codebook_sizes, *self.strides) < 1:
            raise ValueError("patches, widths, heads, codes and strides are at least 1")
        if len(self.codebook_sizes) != len(self.strides):
            raise ValueError(f"{len(self.codebook_sizes)} codebook sizes for {len(self.strides)} strides")
        if len(self.head_channels) != len(self.head_blocks):
            raise ValueError(f"{len(self.head_channels)} head channels for {len(self.head_blocks)} head blocks")
        if self.code_dim > self.components:
            raise ValueError(f"codes of {self.code_dim} dimensions, but only {self.components} components")
        if not self.fine_levels and (self.fine_channels or self.letter_levels):
            raise ValueError(f"{self.fine_channels} fine channels and {self.letter_levels} letter levels, but no fine levels")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")

    @property
    def cell(self) -> int:
        """Pixels along a side of what a token of the last level stands for."""
        return self.patch // SIDE ** self._halvings

    @property
    def block(self) -> int:
        """Pixels along a side of a block of fine levels; of a patch, if there are none."""
        return self.patch // SIDE ** bool(self.fine_levels)

    @property
    def _halvings(self) -> int:
        return bool(self.fine_levels) + bool(self.letter_levels)

    @property
    def token_strides(self) -> tuple[int, ...]:
        """How many cells a side a token of each level stands for, fine and letter levels too."""
        coarse = tuple(SIDE**self._halvings * s for s in self.strides)
        return coarse + (SIDE ** bool(self.letter_levels),) * self.fine_levels + (1,) * self.letter_levels

    @property
    def token_codes(self) -> tuple[int, ...]:
        """Codebook sizes of all levels, fine and letter ones too."""
        return self.codebook_sizes + (self.fine_codes,) * self.fine_levels + (self.letter_codes,) * self.letter_levels

    @classmethod
    def read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Without RETIRED keys that are 0."""
        return {k: v for k, v in values.items() if v or k not in RETIRED}


@dataclass(frozen=True)
class TiTokConfig(Settings):
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
        return TITOK_PATCH

    @property
    def bits_per_tile(self) -> int:
        return self.tokens * (self.codebook_size - 1).bit_length()


@dataclass(frozen=True)
class PatchVQConfig(Settings):
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
