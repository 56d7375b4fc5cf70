"""How long the encoder searches for tokens that look better, and what it takes for looking better."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .tokenizer.base import Loss

STEPS = (0, 1, 2, 3, 5, 7, 10, 14, 21, 32)  # effort 0 to 9 -> passes through the decoder, forward and back
QUICK_SIDE = 1024  # pixels; a picture of no longer sides is refined in one piece, in seconds
SQUARE = 1024  # pixels
LEAST_SIDE = 32  # pixels; AlexNet sees nothing in less
SQUARED_WEIGHT = 12.0  # of squared error beside LPIPS, in [-1, 1]
PLAIN_WEIGHT = 40.0  # more of it where the original is plain: LPIPS hardly feels a streak on a cheek


def check_effort(effort: int) -> None:
    """Raises: ValueError if it is not one of 0 to 9."""
    if effort not in range(len(STEPS)):
        raise ValueError(f"effort is {effort}, must be 0 to {len(STEPS) - 1}")


def default_effort(height: int, width: int) -> int:
    """Size of a picture in pixels -> the effort that it gets where none is asked for."""
    return int(max(height, width) <= QUICK_SIDE)


@cache
def perceptual_loss(device: torch.device) -> Loss:
    """-> a `tokenizer.base.Loss`, 0 for equal pictures."""
    import torch
    from torch.nn.functional import pad

    from .nn.lpips import ALEX_WEIGHTS, LPIPS
    from .nn.plainness import plainness

    with torch.inference_mode(False):
        net = LPIPS("alex", weights=ALEX_WEIGHTS).to(device)

    def signed(images: Tensor) -> Tensor:
        short = [max(0, LEAST_SIDE - side) for side in images.shape[-2:]]
        return pad(images * 2 - 1, (0, short[1], 0, short[0]), mode="replicate")

    def loss_from(originals: Tensor) -> Callable[[Tensor], Tensor]:
        originals = signed(originals)
        with torch.no_grad():
            features = net.features(originals)
        weight = SQUARED_WEIGHT + PLAIN_WEIGHT * plainness(originals)

        def loss(restored: Tensor) -> Tensor:
            restored = signed(restored)
            squared = ((restored - originals).square() * weight).mean((1, 2, 3))
            return squared + net.distance(net.features(restored), features)

        return loss

    return loss_from


def whole_loss(restored: Tensor, original: Tensor) -> float:
    """Pictures (1, 3, H, W) in [0, 1] -> their loss, square by square of SQUARE pixels: bounded memory."""
    import torch

    loss_from, total = perceptual_loss(original.device), 0.0
    with torch.no_grad():
        for top in range(0, original.shape[-2], SQUARE):
            for left in range(0, original.shape[-1], SQUARE):
                place = (..., slice(top, top + SQUARE), slice(left, left + SQUARE))
                total += loss_from(original[place])(restored[place]).item() * original[place][0, 0].numel()
    return total / original[0, 0].numel()
