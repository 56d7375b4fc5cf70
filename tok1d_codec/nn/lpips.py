"""LPIPS: how different two pictures look, from the features of a classification network.

The metric of the benchmark and what `--effort` descends (net "alex"), and a loss in training (either net).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

ALEX_WEIGHTS = Path(__file__).parents[1] / "models" / "lpips_alex.safetensors"
"""AlexNet features (torchvision, BSD-3-Clause) and LPIPS v0.1 heads (BSD-2-Clause), float32; installed with t1d."""

EPSILON = 1e-10
# Stands in for a zero under the square root: far too small to change a value, but with a finite slope.
SMALLEST_SQUARE = 1e-36


class LPIPS(nn.Module):
    """Two batches of pictures -> one distance for each pair, 0 for equal pictures; parameters frozen.

    Convolutions follow autocast; normalisation and distances are always float32.

    Args:
        net: "alex" (AlexNet, five layers: the metric) or "vgg" (VGG16 up to relu4_3, four layers: a loss).
        weights: safetensors file with `features.N.weight`, `features.N.bias` and `linK.weight`.
    Raises:
        ValueError: unknown net. FileNotFoundError: no such file. RuntimeError: weights of another net.
    Source: Zhang et al., arXiv:1801.03924, section 3, with the linear weights of version 0.1.
    Differs: "vgg" leaves out the fifth layer, so its values do not compare with published ones.
    """

    def __init__(self, net: str = "alex", *, weights: str | Path) -> None:
        super().__init__()
        if net not in _NETS:
            raise ValueError(f"unknown LPIPS net {net!r} (known: {', '.join(_NETS)})")
        self.backbone, self.taps, widths = _NETS[net]()
        for number, width in enumerate(widths):
            self.add_module(f"lin{number}", nn.Conv2d(width, 1, 1, bias=False))
        # The published scaling layer: ImageNet mean and deviation, restated for input in [-1, 1].
        self.register_buffer("shift", _per_channel(-0.030, -0.088, -0.188), persistent=False)
        self.register_buffer("scale", _per_channel(0.458, 0.448, 0.450), persistent=False)
        tensors = load_file(weights)
        self.load_state_dict({name.replace("features.", "backbone."): t for name, t in tensors.items()})
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Pictures x and y, float (B, 3, H, W) in [-1, 1], H and W at least 32 -> distance, float32 (B,)."""
        return self.distance(self.features(x), self.features(y))

    def features(self, x: Tensor) -> list[Tensor]:
        """Pictures, float (B, 3, H, W) in [-1, 1] -> unit-length features, float32 (B, C, h, w) per layer.

        Keep those of the originals where one original is compared with many reconstructions.
        """
        return [_unit_length(activation.float()) for activation in self.activations(x)]

    def activations(self, x: Tensor) -> list[Tensor]:
        """Pictures, float (B, 3, H, W) in [-1, 1] -> what `features` normalises, in the dtype of autocast."""
        x, found = (x - self.shift) / self.scale, []
        for number, layer in enumerate(self.backbone):
            x = layer(x)
            if number in self.taps:
                found.append(x)
        return found

    def distance(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Two results of `features` -> LPIPS, float32 (B,): the sum over layers of the spatial means."""
        total = 0
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            weight = self.get_submodule(f"lin{number}").weight  # (1, C, 1, 1)
            total = total + ((a - b).square() * weight).sum(dim=1).mean(dim=(1, 2))
        return total


def _unit_length(x: Tensor) -> Tensor:
    """(B, C, h, w) -> the same, each pixel's C values divided by (their length + EPSILON)."""
    # sqrt has an infinite slope at 0: clamped, all-zero features get slope 0 there and keep their value, 0.
    length = x.square().sum(dim=1, keepdim=True).clamp(min=SMALLEST_SQUARE).sqrt()
    return x / (length + EPSILON)


def _per_channel(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def _alexnet() -> tuple[nn.Sequential, tuple[int, ...], tuple[int, ...]]:
    """-> layers numbered as in torchvision's AlexNet, the numbers of those compared, their channels."""
    layers = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )
    return layers, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)


def _vgg16() -> tuple[nn.Sequential, tuple[int, ...], tuple[int, ...]]:
    """-> layers numbered as in torchvision's VGG16 up to relu4_3, the numbers of those compared, channels."""
    widths, layers, taps, before = (64, 128, 256, 512), [], [], 3
    for width, repeats in zip(widths, (2, 2, 3, 3)):
        if layers:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(repeats):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        taps.append(len(layers) - 1)
    return nn.Sequential(*layers), tuple(taps), widths


_NETS = {"alex": _alexnet, "vgg": _vgg16}
