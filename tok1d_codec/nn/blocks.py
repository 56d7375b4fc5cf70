"""Building blocks: a transformer block for tokens; a residual block, an upsampler, filters and padding for maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import NeighborhoodAttention


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP on (B, h, w, C); starts as the identity."""

    def __init__(self, width: int, heads: int, radius: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = NeighborhoodAttention(width, heads, radius)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width)
        )
        zero_init(self.attention.out)
        zero_init(self.mlp[2])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions on (B, C, H, W), added to the input; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        zero_init(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.nn.functional.silu(self.conv1(torch.nn.functional.silu(x)))
        return x + self.conv2(y)


class Upsample(nn.Module):
    """(B, C, H, W) -> (B, C', 2H, 2W): 1x1 convolution and pixel shuffle.

    The four sub-pixels start equal, as nearest-neighbour upsampling, which avoids checkerboards
    (Aitken et al., "Checkerboard artifact free sub-pixel convolution", arXiv:1707.02937).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, 4 * channels_out, 1)
        with torch.no_grad():
            self.conv.weight.copy_(self.conv.weight[::4].repeat_interleave(4, dim=0))
            self.conv.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def zero_init(layer: nn.Module) -> None:
    """Set weight and bias of a layer to zero, in place."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def enlarged(x: Tensor, factor: int) -> Tensor:
    """(B, C, h, w) -> (B, C, factor * h, factor * w), bilinear."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def box_mean(x: Tensor, radius: int) -> Tensor:
    """(B, C, h, w) -> the same shape, each place the mean of those within `radius`; the edge is repeated outwards."""
    return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1, stride=1)


def steps(x: Tensor, dim: int) -> Tensor:
    """(B, C, H, W) -> differences to the next pixel along `dim`, same shape, 0 at the end."""
    return x.diff(dim=dim, append=x.narrow(dim, -1, 1))


def pad_to_multiples(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) -> right and bottom sides padded to multiples of `side` by repeating the edge."""
    h, w = images.shape[-2:]
    return F.pad(images, (0, -w % side, 0, -h % side), mode="replicate")
