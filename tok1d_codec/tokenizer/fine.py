"""Fine levels of the `t1d` family: numbers of their own beside the residual codes, and where they enter the pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import TokenizerConfig
from ..nn.blocks import ResidualBlock, TransformerBlock, zero_init

SCALE = 6.0  # brings the PCA coefficients that fine numbers start from to the order of 1
STAGE = 2  # of the pixel head, counted from 0, whose maps fine detail is added to
CHANNELS = 64  # of the convolutions that see it first


class FineEncoder(nn.Module):
    """Patches -> latents of fine detail: some PCA coefficients, corrected by a transformer of their own.

    `FSQ` bounds and rounds them.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.shown = slice(config.fine_start, config.fine_start + config.fine_dim)
        self.embed = nn.Linear(config.components, config.fine_width)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.fine_width, config.heads, config.radius) for _ in range(config.fine_layers)
        )
        self.norm = nn.LayerNorm(config.fine_width)
        self.out = nn.Linear(config.fine_width, config.fine_dim)
        zero_init(self.out)

    def forward(self, coefficients: Tensor) -> Tensor:
        """(B, h, w, components) -> latents (B, fine_dim, h, w), float32."""
        x = self.embed(coefficients)
        for block in self.blocks:
            x = block(x)
        z = SCALE * coefficients[..., self.shown].float() + self.out(self.norm(x)).float()
        return z.permute(0, 3, 1, 2)


class FineBranch(nn.Module):
    """Feature maps of the pixel head, a picture of the fine numbers -> what to add to the maps where there are some."""

    def __init__(self, channels: int, cell: int) -> None:
        """`cell`: pixels a side that a place of the maps stands for."""
        super().__init__()
        self.cell = cell
        self.merge = nn.Conv2d(channels + 3 * cell**2, CHANNELS, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(CHANNELS) for _ in range(2)))
        self.out = nn.Conv2d(CHANNELS, channels, 3, padding=1)
        zero_init(self.out)

    def forward(self, x: Tensor, detail: Tensor, there: Tensor) -> Tensor:
        """(B, C, H, W), (B, 3, cell * H, cell * W), bool (B, 1, h, w) -> (B, C, H, W), 0 in patches without."""
        there = F.interpolate(there.to(x), x.shape[-2:])
        x = torch.cat([x, F.pixel_unshuffle(detail, self.cell)], dim=1)
        return self.out(F.silu(self.blocks(self.merge(x)))) * there
