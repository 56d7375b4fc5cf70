from __future__ import annotations

import pytest
import torch

from tok1d_codec.nn.attention import NeighborhoodAttention


@pytest.fixture
def attention() -> NeighborhoodAttention:
    torch.manual_seed(0)
    layer = NeighborhoodAttention(16, heads=2, radius=3)
    torch.nn.init.normal_(layer.bias)
    return layer.eval()


@pytest.mark.parametrize("at_once", [1, 4, 64])
@pytest.mark.parametrize("h, w", [(1, 1), (3, 5), (8, 8), (17, 9), (16, 24)])
@torch.no_grad()
def test_blocks_give_what_the_dense_form_gives(attention, h, w, at_once, monkeypatch):
    monkeypatch.setattr("tok1d_codec.nn.attention.CPU_BLOCKS", at_once)  # GPUs take several
    x = torch.randn(2, h, w, 16)
    assert torch.allclose(attention._blockwise(x), attention._dense(x), atol=1e-5)


@torch.no_grad()
def test_a_token_sees_its_neighbourhood_and_no_more(attention):
    x = torch.randn(1, 20, 20, 16)
    changed = x.clone()
    changed[0, 10, 10] += 1
    seen = (attention(changed) - attention(x)).abs().amax(-1)[0] > 1e-7
    rows, cols = torch.nonzero(seen, as_tuple=True)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (7, 13, 7, 13)


@torch.no_grad()
def test_the_result_moves_with_the_picture(attention):
    x = torch.randn(1, 24, 24, 16)
    moved = attention(x.roll((5, 3), (1, 2)))
    assert torch.allclose(moved[:, 8:21, 6:21], attention(x).roll((5, 3), (1, 2))[:, 8:21, 6:21], atol=1e-5)
