"""How many levels each patch keeps: busy patches more than plain ones, at a given mean."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import SECOND_FIRST, SIDE

POWER = 0.25  # of `urgency`, by LPIPS on validation pictures
PRIORITY = 0.01  # of the squared error, in [0, 1], that a fine token takes away, beside the urgency of coarse ones


def urgency(errors: Tensor, power: Tensor, second_first: Tensor | None = None) -> Tensor:
    """What a patch still lacks before each level after the first: the larger, the sooner that level is due.

    Args:
        errors: (B, levels - 1, h, w), mean squared error of the latents after 1, 2, ... levels.
        power: (B,) 0 to 1. 0 compares squared errors, so that all patches end at the same error; 1
            compares shares of each patch's own detail, which is nearly the same depth everywhere.
        second_first: (B,), 1 for pictures where the second level is due everywhere before the third anywhere:
            its mask then costs nothing. None is none of them.

    Returns:
        (B, levels - 1, h, w), never growing with the level.
    """
    errors = errors / (errors[:, :1] + 1e-6) ** power[:, None, None, None]
    ranks = errors.cummin(1).values
    if second_first is not None:
        ranks[:, :1] += SECOND_FIRST * second_first.to(ranks)[:, None, None, None]
    return ranks


def coarse_urgency(errors: Tensor) -> Tensor:
    """Errors of the latents after 1, 2, ... coarse levels (B, levels, h, w) -> urgency of all but the first."""
    power = errors.new_full((len(errors),), POWER)
    return urgency(errors[:, :-1], power, torch.ones_like(power))


def fine_urgency(gains: Tensor, last: Tensor) -> Tensor:
    """Gains of fine tokens (B, levels, rows, cols), urgency of the last coarse level (B, h, w) -> that of fine ones.

    Never above that of the patch's last coarse token, so that fine ones come after it. So too for letter levels
    after the last fine one.
    """
    blocks = last.repeat_interleave(SIDE, -2).repeat_interleave(SIDE, -1)
    return torch.minimum(PRIORITY * gains.cummin(1).values, blocks[:, None, : gains.shape[2], : gains.shape[3]])


def allocate(urgency: Tensor, mean_depth: Tensor) -> Tensor:
    """Urgencies (B, levels - 1, h, w), mean depth (B,) 1 to levels -> depth of each patch (B, 1, h, w) int64.

    Every picture keeps the tokens of the highest urgency, so that the depths average `mean_depth`.
    """
    b, levels, h, w = urgency.shape
    kept = ((mean_depth - 1) * (h * w)).round().long().clamp(0, levels * h * w)
    order = urgency.flatten(1).sort(descending=True, stable=True).indices  # ties: lower levels first
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(levels * h * w, device=order.device).expand(b, -1))
    return 1 + (rank < kept[:, None]).view(b, levels, h, w).sum(1, keepdim=True)
