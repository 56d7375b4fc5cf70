"""Which patches keep more levels than others."""

from __future__ import annotations

import torch

from tok1d_codec.tokenizer.allocation import allocate, urgency


def _errors() -> torch.Tensor:
    """Five levels of a picture with a quiet left and a busy right half; each level halves the remainder."""
    torch.manual_seed(0)
    left_over = torch.rand(2, 1, 4, 6) + 0.5
    left_over[..., :3] *= 0.04
    return left_over * 0.25 ** torch.arange(4)[:, None, None]


def test_busy_patches_go_deeper_at_the_same_mean():
    need = urgency(_errors(), torch.zeros(2))
    depth = allocate(need, torch.tensor([2.5, 4.0]))
    assert depth.shape == (2, 1, 4, 6) and depth.min() >= 1 and depth.max() <= 5
    assert depth[0].sum() == 60 and depth[1].sum() == 96  # 24 patches
    assert depth[0, ..., 3:].float().mean() > depth[0, ..., :3].float().mean() + 1


def test_relative_urgency_is_an_even_depth():
    depth = allocate(urgency(_errors(), torch.ones(2)), torch.tensor([3.0, 2.0]))
    assert (depth[0] == 3).all() and (depth[1] == 2).all()


def test_a_larger_mean_only_adds_levels():
    need = urgency(_errors(), torch.zeros(2))
    depths = [allocate(need, torch.full((2,), mean)) for mean in (1.0, 1.7, 3.2, 5.0, 9.0)]
    assert (depths[0] == 1).all() and (depths[-1] == 5).all()
    assert all((a <= b).all() for a, b in zip(depths, depths[1:]))
