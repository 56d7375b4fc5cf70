"""Which patches keep more levels than others."""

from __future__ import annotations

import torch

from tok1d_codec.tokenizer.allocation import allocate, urgency


def _latents() -> tuple[torch.Tensor, torch.Tensor]:
    """A latent map with a quiet left and a busy right half, and sums that halve the remainder each level."""
    torch.manual_seed(0)
    z = torch.randn(2, 8, 4, 6)
    z[..., :3] *= 0.2
    return z, torch.stack([z * (1 - 0.5**level) for level in range(1, 6)])


def test_busy_patches_go_deeper_at_the_same_mean():
    z, sums = _latents()
    need = urgency(z, sums, torch.zeros(2))
    depth = allocate(need, torch.tensor([2.5, 4.0]))
    assert depth.shape == (2, 1, 4, 6) and depth.min() >= 1 and depth.max() <= 5
    assert depth[0].sum() == 60 and depth[1].sum() == 96  # 24 patches
    assert depth[0, ..., 3:].float().mean() > depth[0, ..., :3].float().mean() + 1


def test_relative_urgency_is_an_even_depth():
    z, sums = _latents()
    depth = allocate(urgency(z, sums, torch.ones(2)), torch.tensor([3.0, 2.0]))
    assert (depth[0] == 3).all() and (depth[1] == 2).all()


def test_a_larger_mean_only_adds_levels():
    z, sums = _latents()
    need = urgency(z, sums, torch.zeros(2))
    depths = [allocate(need, torch.full((2,), mean)) for mean in (1.0, 1.7, 3.2, 5.0, 9.0)]
    assert (depths[0] == 1).all() and (depths[-1] == 5).all()
    assert all((a <= b).all() for a, b in zip(depths, depths[1:]))
