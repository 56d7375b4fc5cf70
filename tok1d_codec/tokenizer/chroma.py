"""Colour that follows brightness: no steps of colour along the borders of patches that hold few tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import without_autocast
from ..nn.blocks import box_mean, enlarged

CELLS = 8  # a patch side, at which the filter is computed
RADIUS = 3  # cells
EPSILON = 4e-3  # variance of luma in [-1, 1] that counts as an edge
OWN = 2e-3  # variance of chroma beyond what follows from luma, at which half of the filter is applied
TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # BT.601
FROM_CHROMA = ((0.0, 1.402), (-0.344136, -0.714136), (1.772, 0.0))


def smooth_chroma(images: Tensor, share: Tensor, patch: int) -> Tensor:
    """Filter the chroma, with the luma as guide.

    Two tokens tell the colour of a patch, not where in it an edge runs: without this, edges of colour alone
    end in steps of a patch. In each neighbourhood the filtered chroma is a linear function of the luma: it
    keeps edges that the luma has too. Where the chroma varies little on its own it stays.

    Source: He and Sun, "Fast Guided Filter", arXiv:1505.00996. Differs: the share that is filtered.

    Args:
        images: RGB (B, 3, H, W), about [-1, 1].
        share: (B, 1, H, W), how much of the change is made, 0 to 1.
    """
    with without_autocast(images.device):
        return images + _mix(_change(*_mix(images, TO_YCBCR).split((1, 2), dim=1), patch) * share, FROM_CHROMA)


def _change(y: Tensor, chroma: Tensor, patch: int) -> Tensor:
    """Luma (B, 1, H, W), chroma (B, 2, H, W) -> what to add to the chroma."""
    cell = patch // CELLS
    guide, colour = F.avg_pool2d(y, cell), F.avg_pool2d(chroma, cell)
    products = torch.cat([guide, colour, guide**2, guide * colour, colour**2], dim=1)
    mean_y, mean_c, yy, yc, cc = box_mean(products, RADIUS).split((1, 2, 1, 2, 2), dim=1)
    covariance = yc - mean_y * mean_c
    slope = covariance / (yy - mean_y**2 + EPSILON)
    own = (cc - mean_c**2 - slope * covariance).sum(1, keepdim=True).clamp_min(0)
    line = box_mean(torch.cat([slope, mean_c - slope * mean_y], dim=1), RADIUS)
    slope, offset, own = enlarged(torch.cat([line, own / (own + OWN)], dim=1), cell).split((2, 2, 1), dim=1)
    return own * (slope * y + offset - chroma)


def _mix(images: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """(B, C, H, W), a row for each new channel -> (B, rows, H, W)."""
    return torch.einsum("ij,bjhw->bihw", images.new_tensor(matrix), images)
