"""Where text is: a network says of each pixel how sure it is that a line of text goes through it."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .blocks import pad_to_multiples

WEIGHTS = Path(__file__).parents[1] / "models" / "text.safetensors"
"""Of PP-OCRv6_small_det of PaddleOCR, as rapidocr 3.10.0 has it (Apache-2.0; see NOTICE), float16."""

AREA = 2**20  # pixels; a larger picture is made smaller, which bounds time and memory
CELL = 32  # pixels a side of what the network has one value for where it is coarsest
WITHIN = 0.3  # how sure it is of a pixel that lies within a line
SURE = 0.8  # how sure it is of a line, on average
SMALLEST = 12  # pixels of a line's core, which is all that is marked, so that lines do not touch
TALL = 0.12  # of the picture's short side: cores that are thicker are hardly ever text
LEGIBLE = 64  # pixels of the picture: thicker cores are of letters as large as four patches, which need no help
BAR = math.sqrt(3) / 2  # thickness of a long bar over the minor axis of the ellipse that stands for it
MARGIN = 0.6  # of a core's thickness, around it


class TextNetwork(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1], sides multiples of CELL -> (B, H, W) in [0, 1], near 1 within lines of text.

    Source: the weights' own graph; Liao et al., "Real-time Scene Text Detection with Differentiable Binarization",
    arXiv:1911.08947.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Stem()
        self.stages = nn.ModuleList([
            nn.Sequential(_Mixer(48, squeezed=True), _Mixer(48)),
            nn.Sequential(_Mixer(48, 96), _Mixer(96, squeezed=True), _Mixer(96)),
            nn.Sequential(
                _Mixer(96, 192), _Mixer(192, squeezed=True), _Mixer(192), _Mixer(192, squeezed=True), _Mixer(192)
            ),
            nn.Sequential(_Mixer(192, 384), _Mixer(384, squeezed=True), _Mixer(384)),
        ])  # fmt: skip
        self.sides = nn.ModuleList(_Weighted(nn.Conv2d(c, 96, 1, bias=False), 96) for c in (384, 192, 96, 48))
        self.smooth = nn.ModuleList(
            _Weighted(nn.Sequential(nn.Conv2d(96, 96, 7, 1, 3, groups=96), nn.Conv2d(96, 24, 1, bias=False)), 24)
            for _ in self.sides
        )
        self.head = nn.Sequential(
            nn.Conv2d(96, 24, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(24, 24, 2, 2), nn.ReLU(),
            nn.ConvTranspose2d(24, 1, 2, 2), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            maps.insert(0, x)  # the coarsest first
        above, found = 0, []
        for i, (side, smooth, x) in enumerate(zip(self.sides, self.smooth, maps)):
            x = side(x) + above
            above = F.interpolate(x, scale_factor=2.0)
            found.append(F.interpolate(smooth(x), scale_factor=2.0 ** (3 - i)))
        return self.head(torch.cat(found, dim=1))[:, 0]


class _Stem(nn.Module):
    """Pictures (B, 3, H, W) -> (B, 48, H/4, W/4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 24, 3, 2, 1)
        self.second, self.third = nn.Conv2d(24, 12, 2), nn.Conv2d(12, 24, 2)
        self.fourth, self.fifth = nn.Conv2d(48, 24, 3, 2, 1), nn.Conv2d(24, 48, 1)

    def forward(self, images: Tensor) -> Tensor:
        def padded(x: Tensor) -> Tensor:
            return F.pad(x, (0, 1, 0, 1))

        x = self.first(images).relu_()
        fine = self.third(padded(self.second(padded(x)).relu_())).relu_()
        x = torch.cat([F.max_pool2d(padded(x), 2, 1), fine], dim=1)  # after relu: zeros change no maximum
        return self.fifth(self.fourth(x).relu_()).relu_()


class _Weights(nn.Module):
    """Maps (B, C, H, W) -> how much each channel counts, by what the whole picture has of all (B, C, 1, 1)."""

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.up(self.down(x.mean((2, 3), keepdim=True)).relu_())
        return (weights * self.slope + 0.5).clamp_(0, 1)


class _Mixer(nn.Module):
    """Convolutions of each channel by itself, then of all at each pixel; given `out`, maps of half the size."""

    def __init__(self, channels: int, out: int | None = None, squeezed: bool = False) -> None:
        super().__init__()
        self.shrinks = out is not None
        self.depthwise = nn.Conv2d(channels, channels, 3, 2 if self.shrinks else 1, 1, groups=channels)
        self.weights = _Weights(channels, 1 / 6) if squeezed else None
        self.expand, self.project = nn.Conv2d(channels, 2 * channels, 1), nn.Conv2d(2 * channels, out or channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(x)
        if self.weights:
            x = x * self.weights(x)
        mixed = self.project(F.gelu(self.expand(x)))
        return mixed if self.shrinks else x + mixed


class _Weighted(nn.Module):
    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__()
        self.layer, self.weights = layer, _Weights(channels, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return x + x * self.weights(x)


@cache
def _network() -> TextNetwork:
    network = TextNetwork().eval().requires_grad_(False)
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return network.to(memory_format=torch.channels_last)  # a third less time


@torch.inference_mode()
def find_text(image: Tensor) -> list[tuple[int, int, int, int]]:
    """A picture (1, 3, H, W) in [0, 1] -> boxes (left, top, right, bottom) in pixels that cover its lines of text.

    A line has one for each CELL pixels or so, so that they follow lines that slant. Runs on the CPU.
    """
    height, width = image.shape[-2:]
    shrunk = max(1.0, math.sqrt(height * width / AREA))
    size = [max(1, round(side / shrunk)) for side in (height, width)]
    image = F.interpolate(image.cpu(), size, mode="area") * 2 - 1
    image = pad_to_multiples(image, CELL).contiguous(memory_format=torch.channels_last)
    sure = _network()(image)[0, : size[0], : size[1]].numpy()
    boxes = _boxes(sure, min(TALL * min(size), LEGIBLE / shrunk)) * np.tile([width / size[1], height / size[0]], 2)
    low, high = np.floor(boxes[:, :2]).clip(0), np.ceil(boxes[:, 2:]).clip(None, (width, height))
    return [tuple(map(int, box)) for box in np.concatenate([low, high], axis=1)]


def _boxes(sure: np.ndarray, thickest: float) -> np.ndarray:
    """What the network says of a picture (H, W) -> boxes (n, 4) that cover cores of up to a thickness, and margins."""
    within = sure > WITHIN
    if not within.any():
        return np.zeros((0, 4))
    from skimage.measure import label, regionprops  # takes a while

    found = []
    for core in regionprops(label(within), sure):
        if core.area < SMALLEST or core.intensity_mean < SURE:
            continue
        thickness = BAR * core.axis_minor_length
        if thickness > thickest:
            continue
        squares, of = np.unique(core.coords // CELL, axis=0, return_inverse=True)
        for square in range(len(squares)):
            part, margin = core.coords[of == square], MARGIN * thickness
            (top, left), (bottom, right) = part.min(0) - margin, part.max(0) + 1 + margin
            found.append((left, top, right, bottom))
    return np.array(found).reshape(-1, 4)
