"""Pixels <-> pixels that fill a whole grid of patches."""

from __future__ import annotations

import numpy as np


def pad_to_grid(pixels: np.ndarray, multiple: int) -> np.ndarray:
    """Pixels of any size -> pixels whose height and width are multiples of `multiple`.

    The right and the bottom are filled with the mirror image of the picture, its border pixel included
    and as often as it takes, so a model meets no artificial edge there.

    Args:
        pixels: uint8 (H, W, 3), H and W at least 1.
        multiple: side of a grid cell, in pixels.
    Returns:
        uint8 (ceil(H / multiple) * multiple, ceil(W / multiple) * multiple, 3); `pixels` itself is its
        top left corner.
    Raises:
        ValueError: another dtype or shape, an empty picture, or `multiple` below 1.
    Example:
        >>> pad_to_grid(np.zeros((5, 64, 3), np.uint8), 32).shape
        (32, 64, 3)
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; expected uint8 (H, W, 3), not empty")
    if multiple < 1:
        raise ValueError(f"grid cells of {multiple} pixels; expected at least 1")
    height, width, _ = pixels.shape
    return np.pad(pixels, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="symmetric")


def crop(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Padded pixels (H, W, 3) -> their top left corner (height, width, 3), a view.

    Raises:
        ValueError: the corner is larger than the pixels.
    """
    if not (1 <= height <= pixels.shape[0] and 1 <= width <= pixels.shape[1]):
        raise ValueError(f"cannot crop {width}x{height} from {pixels.shape[1]}x{pixels.shape[0]} pixels")
    return pixels[:height, :width]
