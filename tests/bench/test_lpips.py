"""LPIPS against the formula written out, against the reference package's values, and as a loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from skimage import data

from tok1d_codec.nn.lpips import ALEX_WEIGHTS, LPIPS

SHIFT, SCALE = np.array([-.030, -.088, -.188]), np.array([.458, .448, .450])


@pytest.fixture(scope="module")
def alex() -> LPIPS:
    return LPIPS("alex", weights=ALEX_WEIGHTS)


def astronaut() -> torch.Tensor:
    """The top left 256x256 pixels of a picture that scikit-image ships, (1, 3, 256, 256) in [-1, 1]."""
    return torch.from_numpy(data.astronaut()[:256, :256].transpose(2, 0, 1)[None] / 127.5 - 1).float()


def plain_lpips(x: np.ndarray, y: np.ndarray) -> float:
    """Two pictures (H, W, 3) in [-1, 1] -> LPIPS, layer by layer in float64."""
    weights = {name: tensor.double() for name, tensor in load_file(ALEX_WEIGHTS).items()}
    convolutions = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))  # number, stride, padding
    pair = [torch.from_numpy(((z - SHIFT) / SCALE).transpose(2, 0, 1)[None]) for z in (x, y)]
    total = 0.0
    for layer, (number, stride, padding) in enumerate(convolutions):
        units = []
        for n, z in enumerate(pair):
            if number in (3, 6):
                z = F.max_pool2d(z, 3, 2)
            kernel, bias = (weights[f"features.{number}.{kind}"] for kind in ("weight", "bias"))
            z = F.conv2d(z, kernel, bias, stride, padding)
            pair[n] = z.clamp(min=0)
            activations = pair[n].numpy()[0]  # (C, h, w)
            units.append(activations / (np.sqrt((activations**2).sum(axis=0)) + 1e-10))
        head = weights[f"lin{layer}.weight"].numpy().reshape(-1, 1, 1)
        total += (head * (units[0] - units[1]) ** 2).sum(axis=0).mean()
    return total


def test_equals_the_formula(alex):
    generator = np.random.default_rng(0)
    for height, width in ((64, 64), (33, 95)):
        x, y = generator.uniform(-1, 1, (2, height, width, 3))
        given = [torch.from_numpy(z.transpose(2, 0, 1)[None]).float() for z in (x, y)]
        assert alex(*given).item() == pytest.approx(plain_lpips(x, y), rel=1e-5)


@pytest.mark.parametrize(("change", "expected"), [
    (lambda x: x.flip(3), 0.63055098),
    (lambda x: -x, 0.44433993),
    (torch.zeros_like, 0.88134155),
    (lambda x: x.roll(1, 3), 0.02878161),
])
def test_equals_the_reference_package(alex, change, expected):
    """Expected values: the package lpips 0.1.4, version 0.1, AlexNet."""
    x = astronaut()
    assert alex(x, change(x)).item() == pytest.approx(expected, rel=1e-5)


def test_one_value_for_each_pair_and_zero_for_equal_pictures(alex):
    x = torch.rand(3, 3, 40, 56) * 2 - 1
    y = x.clone()
    y[1] = -y[1]
    distance = alex(x, y)
    assert distance.shape == (3,)
    assert distance[0] == distance[2] == 0 < distance[1]


def test_features_can_be_kept(alex):
    x, y = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    assert torch.equal(alex.distance(alex.features(x), alex.features(y)), alex(x, y))


def test_no_parameter_is_trained(alex):
    assert not alex.training
    assert not any(parameter.requires_grad for parameter in alex.parameters())


def test_gradient_is_finite_where_all_features_are_zero():
    """A network without bias has zero features for the picture that the scaling layer maps to zero."""
    net = LPIPS("alex", weights=ALEX_WEIGHTS)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    zero = (torch.zeros(1, 3, 64, 64) + net.shift).requires_grad_()
    assert all(not feature.any() for feature in net.features(zero))
    distance = net(zero, torch.rand(1, 3, 64, 64))
    distance.sum().backward()
    assert distance.isfinite().all() and zero.grad.isfinite().all()


def test_autocast_and_channels_last_give_the_same_distance(alex):
    x, y = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    expected = alex(x, y)
    last = [z.to(memory_format=torch.channels_last) for z in (x, y)]
    torch.testing.assert_close(alex(*last), expected, rtol=1e-4, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = alex(x, y)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, expected, rtol=0.05, atol=0)


def test_vgg_takes_torchvision_names_in_half_precision(tmp_path):
    """Layer numbers and widths are those of VGG16 up to relu4_3."""
    widths = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256),
              14: (256, 256), 17: (512, 256), 19: (512, 512), 21: (512, 512)}
    tensors = {f"lin{n}.weight": torch.rand(1, c, 1, 1).half() for n, c in enumerate((64, 128, 256, 512))}
    for number, (after, before) in widths.items():
        kernels = torch.randn(after, before, 3, 3) * (2 / before) ** .5 / 3
        tensors[f"features.{number}.weight"] = kernels.half()
        tensors[f"features.{number}.bias"] = torch.zeros(after).half()
    save_file(tensors, tmp_path / "vgg.safetensors")
    vgg = LPIPS("vgg", weights=tmp_path / "vgg.safetensors")
    x = torch.rand(1, 3, 32, 48) * 2 - 1
    features = vgg.features(x)
    shapes = [tuple(f.shape[1:]) for f in features]
    assert shapes == [(64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6)]
    assert all(f.dtype == torch.float32 for f in features)
    assert vgg(x, -x) > 0 == vgg(x, x)


def test_wrong_net_and_wrong_weights_are_errors():
    with pytest.raises(ValueError, match="alex, vgg"):
        LPIPS("squeeze", weights=ALEX_WEIGHTS)
    with pytest.raises(RuntimeError):
        LPIPS("vgg", weights=ALEX_WEIGHTS)
