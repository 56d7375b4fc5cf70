"""Texture that is itself, patch after patch: taken out where it is only the decoder's habit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nn.blocks import enlarged

CELL = 8  # pixels; detail is what their means, interpolated, do not show
SPAN = 5  # patches along a column, and along a row, that are compared
REACH = SPAN // 2


def remove_repeats(images: Tensor, share: Tensor, patch: int) -> Tensor:
    """Take out detail that stands at the same place in most rows of a neighbourhood, in most patches of each.

    Patches that hold few tokens get much the same texture from the decoder, in step with the patch grid:
    together it looks woven. What a photograph has in a patch, or in two rows or columns of them, is not in
    most: the median over a column, then over a row of patches passes it by. Pictures of fewer than SPAN
    patches a side stay as they are.

    Args:
        images: (B, 3, H, W), about [-1, 1], sides multiples of `patch`.
        share: (B, 1, H, W), how much of it is taken out, 0 to 1.
    """
    b, c, h, w = images.shape
    if min(h, w) < SPAN * patch:
        return images
    detail = images - enlarged(F.avg_pool2d(images, CELL), CELL)
    cells = detail.view(b, c, h // patch, patch, w // patch, patch)
    common = _median_of_neighbours(_median_of_neighbours(cells, 2), 4).view_as(images)
    return images - common * share


def _median_of_neighbours(x: Tensor, dim: int) -> Tensor:
    """-> the same shape: medians of SPAN neighbours along `dim`, near the ends those of the last SPAN."""
    medians = _Medians.apply(x, dim)
    nearest = torch.arange(x.shape[dim], device=x.device).sub(REACH).clamp(0, medians.shape[dim] - 1)
    return medians.index_select(dim, nearest)


class _Medians(torch.autograd.Function):
    """Medians of SPAN neighbours along a dimension, which so loses 2 * REACH.

    The gradient of a median is that of the neighbour that it is, or a share of it for each that is equal. Found
    by comparing: through the minima and maxima it would take four times as long.
    """

    @staticmethod
    def forward(ctx, x: Tensor, dim: int) -> Tensor:
        a, b, c, d, e = _neighbours(x, dim)
        low = torch.maximum(torch.minimum(a, b), torch.minimum(c, d))
        high = torch.minimum(torch.maximum(a, b), torch.maximum(c, d))
        # the middle one of `low`, `high` and the fifth
        medians = torch.maximum(torch.minimum(low, high), torch.minimum(torch.maximum(low, high), e))
        ctx.dim = dim
        ctx.save_for_backward(x, medians)
        return medians

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        x, medians = ctx.saved_tensors
        chosen = [neighbour == medians for neighbour in _neighbours(x, ctx.dim)]
        gradient = gradient / sum(mask.to(gradient) for mask in chosen)
        back = torch.zeros_like(x)
        for mask, part in zip(chosen, _neighbours(back, ctx.dim)):
            part.addcmul_(gradient, mask.to(gradient))
        return back, None


def _neighbours(x: Tensor, dim: int) -> list[Tensor]:
    """-> SPAN views of x, each along `dim` one place further than the one before."""
    inner = x.shape[dim] - 2 * REACH
    return [x.narrow(dim, start, inner) for start in range(SPAN)]
