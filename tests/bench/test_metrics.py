"""Metrics against scikit-image, against formulas written out, and by their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import convolve2d
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench import metrics

SIGMA = 1.5


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A photograph, 201x179, and a noisy, flattened version of it."""
    original = data.astronaut()[20:221, 150:329]
    noise = np.random.default_rng(1).normal(0, 12, original.shape)
    return original, np.clip(original // 24 * 24 + noise, 0, 255).astype(np.uint8)


def plain_ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """MS-SSIM of two planes of 176x176, in plain steps."""
    n = np.arange(11) - 5
    window = np.exp(-(n[:, None] ** 2 + n[None] ** 2) / (2 * SIGMA**2))
    window /= window.sum()
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    result = 1.0
    for scale, weight in enumerate(weights):
        mx, my = (convolve2d(z, window, "valid") for z in (x, y))
        sx, sy = (convolve2d(z * z, window, "valid") - m * m for z, m in ((x, mx), (y, my)))
        sxy = convolve2d(x * y, window, "valid") - mx * my
        structure = (2 * sxy + c2) / (sx + sy + c2)
        if scale == 4:
            luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
            return result * (structure * luminance).mean() ** weight
        result *= structure.mean() ** weight
        x, y = (z.reshape(len(z) // 2, 2, len(z) // 2, 2).mean(axis=(1, 3)) for z in (x, y))


def test_psnr_equals_scikit_image(pair):
    assert metrics.psnr_rgb(*pair) == pytest.approx(peak_signal_noise_ratio(*pair, data_range=255), rel=1e-12)


def test_psnr_known_values():
    black = np.zeros((4, 4, 3), np.uint8)
    assert metrics.psnr_rgb(black, black + 255) == 0
    assert metrics.psnr_rgb(black, black) == math.inf
    assert metrics.psnr_rgb(black, black + 1) == pytest.approx(48.1308, abs=1e-4)


def test_one_scale_of_ms_ssim_equals_scikit_image(pair):
    """A side of 20 leaves one scale, which is plain SSIM."""
    x, y = (picture[:20, :20] for picture in pair)
    expected = structural_similarity(x, y, gaussian_weights=True, sigma=SIGMA, use_sample_covariance=False,
                                     data_range=255, channel_axis=2)
    assert metrics.ms_ssim_rgb(x, y) == pytest.approx(expected, rel=1e-9)


def test_five_scales_of_ms_ssim_equal_the_formula(pair):
    x, y = (picture[:176, :176] for picture in pair)
    expected = np.mean([plain_ms_ssim(x[..., c].astype(float), y[..., c].astype(float)) for c in range(3)])
    assert metrics.ms_ssim_rgb(x, y) == pytest.approx(expected, rel=1e-9)


def test_ms_ssim_is_one_for_equal_pictures_and_falls_with_noise(pair):
    original, _ = pair
    noise = np.random.default_rng(2).normal(0, 1, original.shape)
    values = [metrics.ms_ssim_rgb(original, np.clip(original + s * noise, 0, 255).astype(np.uint8))
              for s in (0, 5, 20, 60)]
    assert values[0] == pytest.approx(1) and values == sorted(values, reverse=True)


def test_scales_by_side():
    sides = (1, 10, 20, 21, 41, 81, 160, 161, 4000)
    assert [metrics._scales(side) for side in sides] == [1, 1, 1, 2, 3, 4, 4, 5, 5]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 300), (31, 33), (161, 163)])
def test_every_size_has_every_figure(shape):
    generator = np.random.default_rng(3)
    x, y = generator.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    found = metrics.Reference(x).compare(y)
    assert tuple(found) == metrics.METRICS
    assert all(math.isfinite(found[key]) for key in ("psnr-rgb", "ms-ssim-rgb", "lpips-alex"))
    assert metrics.Reference(x).compare(x)["lpips-alex"] == 0


def test_lpips_of_8_bit_pictures(pair):
    """Expected value: the package lpips 0.1.4 on the same pixels / 127.5 - 1."""
    original = data.astronaut()[:256, :256]
    assert metrics.Reference(original).lpips_alex(original[:, ::-1]) == pytest.approx(0.63055098, rel=1e-5)


def test_border_ratio_finds_patches():
    generator = np.random.default_rng(4)
    smooth = generator.integers(100, 110, (128, 96, 3)).astype(np.uint8)
    assert metrics.border_ratio(smooth) == pytest.approx(1, abs=0.05)
    patches = generator.integers(0, 100, (4, 3, 1)).repeat(32, 0).repeat(32, 1).astype(np.uint8)
    assert metrics.border_ratio(smooth + patches) > 5
    assert metrics.border_ratio(smooth + patches, patch=20) < 1


def test_border_ratio_by_hand():
    row = np.array([0, 2, 4, 14, 16, 18], np.uint8)  # steps 2, 2, 10, 2, 2, the 10 at a border
    pixels = np.broadcast_to(row[None, :, None], (2, 6, 3))
    # Columns: 2 border steps of 10 and 8 of 2; rows: 6 steps of 0, none of them at a border.
    assert metrics.border_ratio(pixels, patch=3) == pytest.approx(10 / (16 / 14))


def test_border_ratio_without_borders_or_steps_is_nan():
    assert math.isnan(metrics.border_ratio(np.zeros((32, 20, 3), np.uint8)))
    assert math.isnan(metrics.border_ratio(np.zeros((64, 64, 3), np.uint8)))


def test_repeat_share_tells_weave_from_chance():
    generator = np.random.default_rng(5)
    chance = generator.integers(0, 100, (224, 288, 3)).astype(np.uint8)
    woven = np.tile(generator.integers(0, 100, (32, 32, 3)).astype(np.uint8), (7, 9, 1))
    assert metrics.repeat_share(chance) == pytest.approx(1 / 25, rel=0.05)
    assert metrics.repeat_share(woven) == pytest.approx(1, abs=0.03)
    # independent parts: their energies add up
    assert metrics.repeat_share(chance + woven) == pytest.approx((1 / 25 + 1) / 2, rel=0.05)
    assert metrics.repeat_share(woven, patch=20) < 0.2


def test_repeat_share_without_patches_or_detail_is_nan():
    assert math.isnan(metrics.repeat_share(np.zeros((128, 320, 3), np.uint8)))
    assert math.isnan(metrics.repeat_share(np.full((160, 160, 3), 7, np.uint8)))


def test_pictures_of_other_sizes_or_types_are_refused():
    black = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="original"):
        metrics.psnr_rgb(black, black[:4])
    with pytest.raises(ValueError, match="uint8"):
        metrics.ms_ssim_rgb(black, black.astype(float))


def test_colour_error_sees_shifts_and_not_detail():
    grey = np.full((70, 40, 3), 100, np.uint8)
    noise = grey + np.random.default_rng(0).integers(-5, 6, grey.shape).astype(np.uint8)
    assert metrics.colour_error(grey, grey) == 0
    assert metrics.colour_error(grey, noise) < 0.7
    shifted = grey.copy()
    shifted[:32, :32, 0] += 12  # one of 3 x 2 squares, one of three channels
    assert metrics.colour_error(grey, shifted) == pytest.approx(12 / 18)
