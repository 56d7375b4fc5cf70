"""What training punishes, on pictures made to have it or not."""

from __future__ import annotations

from dataclasses import replace

import torch

from tok1d_codec.train.losses import PixelLosses, border_excess, fine_excess, lattice_error, plain_error, weave_error
from tok1d_codec.train.presets import PRESETS


def test_the_lattice_error_sees_fixed_patterns_and_only_those(photo):
    image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1  # (1, 3, 96, 160)
    rows, cols = torch.arange(96)[:, None], torch.arange(160)
    weave = 0.05 * ((rows + cols) % 8 < 4)
    blocks = 0.2 * (rows // 32 + cols // 32)  # steps of one sign: those of random sign cancel in a small picture
    noise = 0.05 * torch.randn_like(image)
    assert lattice_error(image, image, 32) == 0
    assert lattice_error(image + 0.3, image, 32) < 1e-6
    harmless = lattice_error(image + noise, image, 32)
    assert lattice_error(image + weave, image, 32) > 3 * harmless
    assert lattice_error(image + blocks, image, 32) > 3 * harmless


def test_the_plain_error_counts_what_nothing_hides():
    image = torch.zeros(1, 3, 64, 128)
    image[..., 64:] = torch.rand(1, 3, 64, 64)  # the right half is busy
    left, right = image.clone(), image.clone()
    left[..., 8:40] += 0.1
    right[..., 80:112] += 0.1
    assert plain_error(left, image) > 20 * plain_error(right, image) > 0


def test_invented_fine_detail_counts_and_lost_detail_does_not(photo):
    image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1  # (1, 3, 96, 160)
    smooth = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    rows, cols = torch.arange(96)[:, None], torch.arange(160)
    screen, stripes = 0.05 * ((rows + cols) % 2), 0.2 * (cols % 2)
    assert fine_excess(smooth, image) < 0.3 * fine_excess(smooth + screen, image)
    assert fine_excess(smooth, smooth) < 0.1 * fine_excess(smooth + stripes, smooth)
    assert fine_excess(image + stripes, image) > fine_excess(image, image) > 0  # the checkerboard band is all unwanted


def test_a_weave_counts_and_other_texture_of_the_same_kind_does_not():
    torch.manual_seed(0)
    natural, other = (torch.nn.functional.avg_pool2d(torch.randn(1, 3, 128, 128), 3, 1, 1) for _ in range(2))
    rows, cols = torch.arange(128)[:, None] * torch.pi / 2, torch.arange(128) * torch.pi / 2
    weave = (rows.sin() + cols.sin()).expand(1, 3, 128, 128)  # period 4
    assert weave_error(natural, natural) == 0
    assert weave_error(weave, natural) > 20 * weave_error(other, natural)
    assert weave_error(0.001 * weave, torch.zeros_like(weave)) < 0.01 * weave_error(weave, torch.zeros_like(weave))


def test_invented_steps_count_across_patch_borders_only(photo):
    image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1  # (1, 3, 96, 160)
    blocks = 0.2 * torch.rand(1, 3, 3, 5).repeat_interleave(32, 2).repeat_interleave(32, 3)
    assert border_excess(image, image, 32) == 0
    assert border_excess(torch.zeros_like(image), image, 32) == 0  # what is lost was not invented
    found = border_excess(image + blocks, image, 32)
    assert found > 0.05
    moved = torch.roll(blocks, (16, 16), (2, 3))
    assert border_excess(image + moved, image, 32) < 0.05 * found


def test_with_fine_levels_borders_of_patches_and_of_blocks_count(photo):
    config = PRESETS["tiny"]
    config = replace(config, model=replace(config.model, fine_levels=2, letter_levels=2))
    losses = PixelLosses(config, None, False)
    images = torch.from_numpy(photo[:96, :96].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    restored = images.clone()
    restored[..., 32:64] += 0.3  # steps where patches meet
    off = torch.autocast("cpu", enabled=False)
    _, parts = losses.gradient(restored, images, torch.Generator().manual_seed(0), False, off)
    of_blocks, of_patches = (border_excess(restored, images, side).item() for side in (16, 32))
    assert of_patches > 1.5 * of_blocks > 0
    assert abs(parts["border"] - of_blocks - of_patches) < 1e-5
