"""Pictures as arrays of pixels, tokens as a file holds them <-> the tensors that networks take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitstream.errors import LimitExceeded
from bitstream.header import MAX_PIXELS, MAX_SIDE, scaled

from .errors import BadPicture

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .tokenizer.base import Tokenizer


def checked_size(pixels: np.ndarray) -> tuple[int, int]:
    """A picture -> height, width. Raises: BadPicture, LimitExceeded."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise BadPicture(f"a picture of dtype {pixels.dtype} and shape {pixels.shape}; give uint8 (H, W, 3)")
    height, width = pixels.shape[:2]
    check_limits(height, width)
    return height, width


def check_limits(height: int, width: int) -> None:
    """Sides of a picture in pixels -> nothing. Raises: LimitExceeded if no file can hold it."""
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise LimitExceeded(
            f"a picture of {width}x{height}; at most {MAX_SIDE} a side and {MAX_PIXELS} pixels; shrink it"
        )


def to_image(pixels: np.ndarray, device: torch.device | str = "cpu", scale: int = 0) -> Tensor:
    """Picture -> the same, made smaller by 2**scale, (1, 3, h, w) in [0, 1] on `device`."""
    import torch
    from PIL import Image

    from .device import move

    if scale:
        size = scaled(pixels.shape[1], scale), scaled(pixels.shape[0], scale)
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return move(torch.from_numpy(np.array(pixels)), device).permute(2, 0, 1)[None].float().div_(255)


def to_indices(levels: list[np.ndarray], device: torch.device) -> list[Tensor]:
    """Tokens as a file holds them -> as a tokenizer takes them, on `device`."""
    import torch

    return [torch.from_numpy(level.astype(np.int64))[None].to(device) for level in levels]


def render(levels: list[np.ndarray], tokenizer: Tokenizer, height: int, width: int, scale: int = 0) -> np.ndarray:
    """Tokens, -1 for absent, of a picture made smaller by 2**scale -> the picture, uint8 (H, W, 3) RGB."""
    import torch

    indices = to_indices(levels, tokenizer.device)
    with torch.inference_mode():  # rounding in place: a large picture is not held twice as floats
        image = tokenizer.decode(indices, scaled(height, scale), scaled(width, scale))
        if scale:
            size = height, width
            image = torch.nn.functional.interpolate(image, size, mode="bicubic", align_corners=False).clamp_(0, 1)
        image = image[0].mul_(255).round_()
        return image.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
