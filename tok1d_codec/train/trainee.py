"""What the training loop asks of a tokenizer family: how it restores pictures and is validated."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..tokenizer import FAMILIES
from ..tokenizer.base import Tokenizer
from .presets import TrainConfig


class Trainee(ABC):
    """A tokenizer in training: `model`, and what is special to its family."""

    unit: str  # what `prefixes` counts

    def __init__(self, config: TrainConfig, device: str) -> None:
        self.config = config
        self.model: Tokenizer = FAMILIES[config.family](config.model).to(device)

    @property
    @abstractmethod
    def quantizer(self) -> nn.Module:
        """The part whose dict `statistics` training remembers beside the weights."""

    @abstractmethod
    def first_stage(self, images: Tensor, autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        """Pictures -> squared error and auxiliary loss, weighted, and their values for the log.

        Without perceptual losses, in the first `coefficient_share` of the time.
        """

    @abstractmethod
    def restore(self, images: Tensor, progress: float, autocast: torch.autocast) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, H, W) in [-1, 1], progress 0 to 1 -> through the tokens and as they are, auxiliary loss.

        Both may be the same piece of the pictures: that is cheaper, and tokens around it were decoded with it.
        The loss (scalar) is what the quantizer asks for; it has no gradient if that is nothing. From
        progress `freeze_encoder` on, the encoder and the codes stand still.
        """

    @abstractmethod
    def prefixes(self, indices: list[Tensor]) -> dict[int, list[Tensor]]:
        """All tokens of some pictures -> number of levels or tokens kept: those tokens, -1 for absent."""

    def is_frozen(self, progress: float) -> bool:
        return progress >= self.config.freeze_encoder
