"""How legacy `titok` models make pixels: a convolutional decoder of 16 x 16 feature vectors.

Modules and parameters have the names that the released state dicts use, so that those load as they are.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 256  # numbers in a code of pixel features
CHANNELS = (128, 128, 256, 256, 512)  # of stage i, at 256 / 2**i pixels a side; the last one runs first


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions, (B, C, H, W) -> (B, C', H, W).

    Differs from the usual block, as the released weights want it: where the number of channels changes,
    it is the block's own result that goes through the 1x1 shortcut, not its input.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = _norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm2 = _norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        if channels_in != channels_out:
            self.nin_shortcut = nn.Conv2d(channels_out, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.nin_shortcut(y) if hasattr(self, "nin_shortcut") else x)


class Stage(nn.Module):
    """Two residual blocks and, unless it is the last to run, a doubling of the sides."""

    def __init__(self, channels_in: int, channels_out: int, upsample: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            [ResidualBlock(channels_in, channels_out), ResidualBlock(channels_out, channels_out)]
        )
        self.upsample = upsample
        if upsample:
            self.upsample_conv = nn.Conv2d(channels_out, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        if not self.upsample:
            return x
        return self.upsample_conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class PixelDecoder(nn.Module):
    """(B, FEATURES, h, w) -> (B, 3, 16 h, 16 w), about [0, 1].

    Source: Chang et al., "MaskGIT", arXiv:2202.04200 (its VQGAN decoder).
    """

    def __init__(self) -> None:
        super().__init__()
        widest = CHANNELS[-1]
        self.conv_in = nn.Conv2d(FEATURES, widest, 3, padding=1)
        self.mid = nn.ModuleList(ResidualBlock(widest, widest) for _ in range(2))
        before = (*CHANNELS[1:], widest)
        self.up = nn.ModuleList(
            Stage(channels_in, channels_out, upsample=i > 0)
            for i, (channels_in, channels_out) in enumerate(zip(before, CHANNELS, strict=True))
        )
        self.norm_out = _norm(CHANNELS[0])
        self.conv_out = nn.Conv2d(CHANNELS[0], 3, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.conv_in(features)
        for block in self.mid:
            x = block(x)
        for stage in reversed(self.up):
            x = stage(x)
        return self.conv_out(F.silu(self.norm_out(x)))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)
