from __future__ import annotations

import pytest
import torch

from tok1d_codec.image.tiles import OVERLAP, TILE, tile_corners, tile_count, tile_starts
from tok1d_codec.tokenizer.tiling import blend, cut


@pytest.mark.parametrize(
    "side, starts",
    [(1, [0]), (256, [0]), (257, [0, 1]), (480, [0, 224]), (481, [0, 112, 225]), (704, [0, 224, 448])],
)
def test_starts(side, starts):
    assert tile_starts(side) == starts


def test_every_pixel_is_covered_and_neighbours_overlap():
    for side in [*range(1, 2000, 7), 65535]:
        starts = tile_starts(side)
        assert starts[0] == 0 and max(side, TILE) == starts[-1] + TILE
        gaps = [b - a for a, b in zip(starts, starts[1:])]
        assert all(0 < gap <= TILE - OVERLAP for gap in gaps)
        assert len(gaps) < 2 or min(gaps) > TILE / 3  # fades never meet


def test_counts():
    assert [tile_count(*size) for size in [(1, 1), (256, 256), (256, 257), (512, 768)]] == [1, 1, 2, 12]
    assert tile_corners(256, 481) == [(0, 0), (0, 112), (0, 225)]


@pytest.mark.parametrize("height, width", [(40, 300), (481, 257), (500, 256)])
def test_tiles_that_agree_leave_no_seam(height, width, monkeypatch):
    monkeypatch.setattr("tok1d_codec.tokenizer.tiling.BATCH", 3)
    torch.manual_seed(0)
    images = torch.rand(2, 3, height, width)
    tiles = list(cut(images))
    assert max(map(len, tiles)) <= 3 and sum(map(len, tiles)) == 2 * tile_count(height, width)
    assert torch.allclose(blend(tiles, 2, height, width), images, atol=1e-6)
    constant = blend((torch.ones_like(t) for t in tiles), 2, height, width)
    assert torch.allclose(constant, torch.ones_like(images), atol=1e-6)


def test_tiles_that_differ_fade_into_each_other():
    tiles = torch.stack([torch.zeros(3, TILE, TILE), torch.ones(3, TILE, TILE)])
    row = blend([tiles], 1, TILE, 480)[0, 0, 100]
    steps = row.diff()
    assert row[:224].max() == 0 and row[256:].min() == 1
    assert steps.min() >= 0 and steps.max() < 2 / OVERLAP


def test_small_pictures_are_padded_with_their_edge():
    (tile,) = cut(torch.arange(6.0).view(1, 1, 2, 3).expand(1, 3, 2, 3))
    assert tile.shape == (1, 3, TILE, TILE)
    assert tile[0, 0, -1, -1] == 5 and tile[0, 0, 0, -1] == 2 and tile[0, 0, -1, 0] == 3
