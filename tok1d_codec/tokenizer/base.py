"""What a tokenizer family must offer: images -> indices -> images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..boxes import Box

# originals (B, 3, h, w) in [0, 1] -> reconstructions like them -> (B,), with a gradient
Loss = Callable[[Tensor], Callable[[Tensor], Tensor]]


class Attempt(NamedTuple):
    """Tokens of a picture, and the loss of what they decode to, if it is known."""

    indices: list[Tensor]
    loss: float | None


class Tokenizer(nn.Module, ABC):
    """Images <-> levels of token indices, coarse to fine.

    Level i is an int64 array (B, rows, cols) of indices below `codebook_sizes[i]`. Every prefix of the
    levels decodes. A family whose tokens lie on no grid uses one level of (B, tiles, tokens).
    """

    Config: ClassVar[Any]  # the class of the family's configuration, with `to_json` and `from_json`
    codebook_sizes: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        """Where the weights are, and pictures and tokens should be."""
        return next(self.parameters()).device

    @property
    def plain_levels(self) -> int:
        """How many of the first levels `rank` gives of the whole picture, whatever the boxes."""
        return len(self.codebook_sizes)

    def networks(self) -> list[nn.Module]:
        """The parts whose `forward` takes most of the time, for `torch.compile`."""
        return []

    @abstractmethod
    def encode(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1], any size -> indices of all levels, each the nearest; files hold those of `rank`."""

    def rank(self, images: Tensor, boxes: Sequence[Box] | None = None) -> tuple[list[Tensor], list[Tensor] | None]:
        """(B, 3, H, W) in [0, 1] -> the best tokens, and which are due first: the larger, the sooner.

        A level is (B, rows, cols), or (B, depths, rows, cols) where tokens depend on how many levels a place
        keeps: what stands at one that keeps 1, 2, ... of them, -1 where it does not keep this one. Which levels
        these are `rate.depth_groups` says. Ranks (B, rows, cols) are given for each level after the first, and never
        grow with the level. A family that cannot leave tokens out gives what `encode` gives, and None.

        Args:
            boxes: (left, top, right, bottom) in pixels, where levels are wanted that take time and pay only in few places;
                None is everywhere. Elsewhere their tokens are -1 and their ranks 0 or less; without boxes they are missing.
        """
        return self.encode(images), None

    @abstractmethod
    def decode(self, indices: list[Tensor], height: int, width: int) -> Tensor:
        """Indices of a prefix of the levels -> (B, 3, height, width) in [0, 1].

        A family that ranks its tokens takes -1 for one that is absent.
        """

    def refine(
        self, images: Tensor, indices: list[Tensor], loss: Loss, steps: int, progress: bool = False
    ) -> list[Attempt]:
        """Search for tokens that decode to less `loss` than `indices`; as many, at the same places.

        Args:
            images: one picture, (1, 3, H, W) in [0, 1].
            indices: the tokens of the picture that are kept, (1, rows, cols) a level, -1 for absent.
            loss: how far reconstructions are from given originals.
            steps: how many times the decoder is run forward and back.
            progress: show a bar on stderr.

        Returns:
            What to try, the most promising first, `indices` last; nothing, for a family that cannot do it.
        """
        return []
