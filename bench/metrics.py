"""Original + reconstruction -> how far they are apart.

Pictures are uint8 (H, W, 3), both of one size; figures are those of 8-bit pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from skimage.filters import gaussian
from torch import Tensor

from tok1d_codec.effort import LEAST_SIDE
from tok1d_codec.nn.lpips import ALEX_WEIGHTS, LPIPS

PEAK = 255.0
WINDOW, SIGMA = 11, 1.5
SPAN = 5  # patches a side that `repeat_share` compares
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first
METRICS = ("psnr-rgb", "ms-ssim-rgb", "lpips-alex", "border-ratio", "repeat-share", "colour-error")


class Reference:
    """One original, prepared for comparison with many reconstructions.

    LPIPS runs on the CPU, so that figures do not depend on the codec's device.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self._features = _lpips_features(pixels)

    def compare(self, reconstruction: np.ndarray) -> dict[str, float]:
        """Reconstruction, uint8 (H, W, 3) -> {metric: value} for each of METRICS."""
        values = (psnr_rgb(self.pixels, reconstruction), ms_ssim_rgb(self.pixels, reconstruction),
                  self.lpips_alex(reconstruction), border_ratio(reconstruction),
                  repeat_share(reconstruction), colour_error(self.pixels, reconstruction))
        return dict(zip(METRICS, values, strict=True))

    def lpips_alex(self, reconstruction: np.ndarray) -> float:
        """-> LPIPS v0.1 with AlexNet, 0 for equal pictures.

        Differs: pictures with a side under 32 have their last row and column repeated up to 32.
        """
        _check(self.pixels, reconstruction)
        return _alex().distance(self._features, _lpips_features(reconstruction)).item()


def psnr_rgb(original: np.ndarray, reconstruction: np.ndarray) -> float:
    """-> dB, from the mean squared error over all pixels and channels; infinite for equal pictures."""
    _check(original, reconstruction)
    error = np.square(original.astype(np.float64) - reconstruction).mean()
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def ms_ssim_rgb(original: np.ndarray, reconstruction: np.ndarray) -> float:
    """-> MS-SSIM, at most 1: computed in each of R, G and B, then averaged.

    Five scales, each half the size of the last (means of 2x2; an odd side keeps its last line), Gaussian
    window of 11 with sigma 1.5, only where the window fits.

    Source: Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality assessment".
    Differs: a contrast-structure term below 0 counts as 0. Where the shorter side is under 161, only those
        scales are taken whose sides are at least 11, with their weights divided by their sum; where it
        is under 11, one scale, its window cut to the picture. Such values do not compare with the usual ones.
    """
    _check(original, reconstruction)
    weights = np.array(SCALE_WEIGHTS[:_scales(min(original.shape[:2]))])
    if len(weights) < len(SCALE_WEIGHTS):  # all five stay as published, though their sum is 1.0001
        weights /= weights.sum()
    channels = (_ms_ssim(original[..., c], reconstruction[..., c], weights.tolist()) for c in range(3))
    return sum(channels) / 3


def border_ratio(reconstruction: np.ndarray, patch: int = 32) -> float:
    """How far the borders of patches show: about 1 where they do not, more where they do.

    The mean absolute step between neighbouring pixels across patch borders, over that at all other columns
    and rows. Patches start at the top left corner. NaN where there is no border, or no step elsewhere.
    """
    levels = reconstruction.astype(np.int16)
    sums, counts = np.zeros(2), np.zeros(2)
    for axis in (0, 1):
        other_axes = tuple({0, 1, 2} - {axis})
        steps = np.abs(np.diff(levels, axis=axis)).mean(axis=other_axes, dtype=np.float64)
        at_border = np.arange(1, len(steps) + 1) % patch == 0
        for kind, chosen in enumerate((at_border, ~at_border)):
            size = levels.shape[1 - axis]  # a column of a tall picture holds more steps than a row
            sums[kind] += steps[chosen].sum() * size
            counts[kind] += chosen.sum() * size
    if not counts.all() or not sums[1]:
        return math.nan
    border, elsewhere = sums / counts
    return float(border / elsewhere)


def repeat_share(reconstruction: np.ndarray, patch: int = 32) -> float:
    """How much of the detail is woven in step with the patches: 1/25 for none, as in photographs, 1 for all of it.

    Detail is the luma (mean of R, G, B) less its Gaussian mean of sigma 4. Its mean over 5 x 5 patches, at each
    place within them, keeps what repeats: the share is the energy of such means over that of the detail there.
    Patches start at the top left corner. NaN for fewer than 5 whole patches a side, or without detail.
    """
    rows, cols = (side // patch for side in reconstruction.shape[:2])
    if min(rows, cols) < SPAN:
        return math.nan
    luma = reconstruction.mean(axis=2)
    detail = (luma - gaussian(luma, 4))[: rows * patch, : cols * patch]
    cells = detail.reshape(rows, patch, cols, patch)
    means, squares = (sliding_window_view(x, (SPAN, SPAN), axis=(0, 2)).mean(axis=(-2, -1)) for x in (cells, cells**2))
    energy = squares.mean()
    return float(np.square(means).mean() / energy) if energy > 1e-6 else math.nan  # less is rounding


def colour_error(original: np.ndarray, reconstruction: np.ndarray, area: int = 32) -> float:
    """-> grey levels by which the mean colours of squares of `area` pixels are off, mean over squares and channels.

    Squares start at the top left corner; those at the right and bottom may be cut.
    """
    _check(original, reconstruction)
    error = reconstruction.astype(np.float64) - original
    for axis in (0, 1):
        starts = np.arange(0, error.shape[axis], area)
        counts = np.diff([*starts, error.shape[axis]])
        error = np.add.reduceat(error, starts, axis) / np.expand_dims(counts, tuple({0, 1, 2} - {axis}))
    return float(np.abs(error).mean())


def _check(original: np.ndarray, reconstruction: np.ndarray) -> None:
    for pixels in (original, reconstruction):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"pictures are uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    if original.shape != reconstruction.shape:
        raise ValueError(f"a reconstruction of {reconstruction.shape} for an original of {original.shape}")


def _ms_ssim(original: np.ndarray, reconstruction: np.ndarray, weights: list[float]) -> float:
    """One colour of two pictures, uint8 (H, W) -> MS-SSIM over as many scales as there are weights."""
    x, y = (torch.from_numpy(plane.astype(np.float64))[None, None] for plane in (original, reconstruction))
    product = 1.0
    for number, weight in enumerate(weights, start=1):
        similarity, contrast = _ssim(x, y)
        last = number == len(weights)
        product *= max(0.0, similarity if last else contrast) ** weight
        if not last:
            x, y = (F.avg_pool2d(plane, 2, ceil_mode=True) for plane in (x, y))
    return product


def _scales(side: int) -> int:
    """Shorter side in pixels -> how many of the five scales are at least as large as the window."""
    number = 1
    while number < len(SCALE_WEIGHTS) and math.ceil(side / 2**number) >= WINDOW:
        number += 1
    return number


def _ssim(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Planes (1, 1, H, W) in 0..255 -> mean SSIM and mean contrast-structure term."""
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_x, mean_y, xx, yy, xy = (_blur(z) for z in (x, y, x * x, y * y, x * y))
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * contrast).mean().item(), contrast.mean().item()


def _blur(x: Tensor) -> Tensor:
    """Plane (1, 1, H, W) -> (1, 1, H - 10, W - 10) under the Gaussian window."""
    for axis in (2, 3):
        taps = _gaussian(min(WINDOW, x.shape[axis]))
        reach = x.shape[axis] - len(taps) + 1
        x = sum(tap * x.narrow(axis, start, reach) for start, tap in enumerate(taps))
    return x


@lru_cache
def _gaussian(size: int) -> tuple[float, ...]:
    taps = [math.exp(-((n - (size - 1) / 2) ** 2) / (2 * SIGMA**2)) for n in range(size)]
    return tuple(tap / sum(taps) for tap in taps)


@lru_cache(maxsize=1)
def _alex() -> LPIPS:
    return LPIPS("alex", weights=ALEX_WEIGHTS)


@torch.inference_mode()
def _lpips_features(pixels: np.ndarray) -> list[Tensor]:
    height, width = pixels.shape[:2]
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))
    image = planes[None] / 127.5 - 1  # (1, 3, H, W) in [-1, 1]
    missing = (0, max(0, LEAST_SIDE - width), 0, max(0, LEAST_SIDE - height))
    return _alex().features(F.pad(image, missing, mode="replicate"))
