"""Patch discriminator: does a neighbourhood of pixels look like a photograph?"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> one score for each neighbourhood of 46 pixels (B, 1, H/8, W/8).

    Source: Isola et al., "Image-to-Image Translation", arXiv:1611.07004 (PatchGAN), with the spectral
    norm of Miyato et al., arXiv:1802.05957, instead of batch norm.
    """

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        widths = [3, channels, 2 * channels, 4 * channels]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:]):
            layers += [spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        layers.append(spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Scores of photographs and of reconstructions -> loss of the discriminator (scalar)."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
