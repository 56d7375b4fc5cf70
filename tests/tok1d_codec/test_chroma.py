from __future__ import annotations

import torch

from tok1d_codec.tokenizer.chroma import smooth_chroma

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
RED, GREEN = torch.tensor([0.4, -0.4, -0.5])[:, None, None], torch.tensor([-0.4, 0.0074446, -0.5])[:, None, None]
ALL = torch.ones(1, 1, 128, 128)


def steps(images: torch.Tensor, column: int = 64) -> torch.Tensor:
    """Largest difference of the two columns on each side of `column`, for each channel."""
    return (images[..., column] - images[..., column - 1]).abs().amax((0, 2))


def two_halves(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.cat([left.expand(3, 128, 64), right.expand(3, 128, 64)], dim=2)[None]


def test_an_edge_of_colour_alone_becomes_a_slope():
    images = two_halves(RED, GREEN)
    smooth = smooth_chroma(images, ALL, 32)
    assert (steps(smooth) < 0.2 * steps(images)[:1]).all()
    assert torch.allclose(smooth[..., :16], images[..., :16], atol=1e-4)  # far from it nothing changes


def test_an_edge_that_the_luma_has_too_stays_for_the_most():
    images = two_halves(RED, -RED)
    assert (steps(smooth_chroma(images, ALL, 32)) > 0.6 * steps(images)).all()


def test_a_small_difference_of_colour_stays():
    images = two_halves(RED, RED + 0.02 * (GREEN - RED))
    assert (steps(smooth_chroma(images, ALL, 32))[:2] > 0.8 * steps(images)[:2]).all()


def test_luma_stays_and_so_does_what_has_no_share():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 128, 128) * 2 - 1
    smooth = smooth_chroma(images, ALL, 32)
    assert (smooth - images).abs().max() > 0.1
    assert torch.allclose((smooth * LUMA).sum(1), (images * LUMA).sum(1), atol=1e-5)
    assert torch.equal(smooth_chroma(images, 0 * ALL, 32), images)
    half = smooth_chroma(images, ALL / 2, 32)
    assert torch.allclose(half - images, (smooth - images) / 2, atol=1e-5)


def test_a_single_patch_and_autocast_are_served():
    images, share = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = smooth_chroma(images, share, 32)
    assert torch.equal(inside, smooth_chroma(images, share, 32))
