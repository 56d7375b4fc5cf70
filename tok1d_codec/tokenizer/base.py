"""What a tokenizer family must offer: images -> indices -> images."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Tokenizer(nn.Module, ABC):
    """Images <-> levels of token indices, coarse to fine.

    Level i is an int64 array (B, rows, cols) of indices below `codebook_sizes[i]`. Every prefix of the
    levels decodes. A family whose tokens lie on no grid uses one level of (B, tiles, tokens).
    """

    codebook_sizes: tuple[int, ...]

    @abstractmethod
    def encode(self, images: Tensor, levels: int | None = None) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1], any size -> indices of the first `levels` levels (all, if None)."""

    @abstractmethod
    def decode(self, indices: list[Tensor], height: int, width: int) -> Tensor:
        """Indices of a prefix of the levels -> (B, 3, height, width) in [0, 1]."""
