from __future__ import annotations

import pytest
import torch

from tok1d_codec.tokenizer import search as search_module
from tok1d_codec.tokenizer.quantizer import ResidualVQ
from tok1d_codec.tokenizer.search import choose, search

SIZES = [(8, 8), (5, 7), (1, 1)]


@pytest.fixture
def quantizer() -> ResidualVQ:
    torch.manual_seed(0)
    vq = ResidualVQ(6, (8, 16, 16, 16), (2, 1, 1, 1))
    vq.start_from(torch.randn(16, 6, 8, 8))
    return vq


def errors_of(quantizer: ResidualVQ, z: torch.Tensor, indices: list[torch.Tensor]) -> torch.Tensor:
    """-> mean squared errors of the latents after 1, 2, ... levels (B, levels, h, w)."""
    prefixes = (quantizer.decode(indices[:k], z.shape[-2:]) for k in range(1, len(indices) + 1))
    return torch.stack([(z - prefix).square().mean(1) for prefix in prefixes], dim=1)


@pytest.mark.parametrize("size", SIZES)
def test_the_tokens_of_each_depth_give_the_error_that_is_told(quantizer, size):
    z = torch.randn(3, 6, *size)
    tokens, errors = search(quantizer, z)
    assert errors.shape == (3, 4, *size)
    for depth in range(1, 5):
        chosen = choose(tokens, torch.full((3, 1, *size), depth))
        assert [bool((t >= 0).all()) for t in chosen] == [True] * depth + [False] * (4 - depth)
        assert all((t < 0).all() for t in chosen[depth:])
        error = (quantizer.decode(chosen, size) - z).square().mean(1)
        assert torch.allclose(error, errors[:, depth - 1], atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_a_search_that_tries_one_code_at_a_time_is_the_plain_encoder(quantizer, size, monkeypatch):
    monkeypatch.setattr(search_module, "CANDIDATES", 1)
    z = torch.randn(3, 6, *size)
    tokens, errors = search(quantizer, z, width=1)
    plain = quantizer.encode(z)
    assert all(torch.equal(a, b) for a, b in zip(choose(tokens, torch.full((3, 1, *size), 4)), plain))
    assert torch.allclose(errors, errors_of(quantizer, z, plain), atol=1e-5)


def test_a_wider_search_comes_closer(quantizer):
    z = torch.randn(8, 6, 8, 8)
    both = search(quantizer, z)[1], errors_of(quantizer, z, quantizer.encode(z))
    found, plain = (errors.mean((0, 2, 3)) for errors in both)
    assert found[1] < 0.98 * plain[1] and found[2] < 0.95 * plain[2] and found[3] < 0.9 * plain[3]
    assert found[0] < 1.1 * plain[0]  # what a shared token costs alone for what it gives with the next


def test_cells_may_differ_in_depth(quantizer):
    tokens, _ = search(quantizer, torch.randn(1, 6, 2, 2), levels=3)
    depth = torch.tensor([[[[1, 2], [3, 3]]]])
    chosen = choose(tokens, depth)
    assert [(t >= 0).int().tolist() for t in chosen] == [[[[1]]], [[[0, 1], [1, 1]]], [[[0, 0], [1, 1]]]]
    assert chosen[1][0, 0, 1] == tokens[1][0, 1, 0, 1]


def test_cells_are_not_searched_deeper_than_they_are_kept(quantizer, monkeypatch):
    monkeypatch.setattr(search_module, "CHUNK", 4)
    z, depth = torch.randn(2, 6, 5, 7), torch.randint(1, 5, (2, 1, 5, 7))
    work = []
    beam = search_module._beam
    monkeypatch.setattr(search_module, "_beam", lambda q, own, x, width: work.append(len(own) * len(x)) or beam(q, own, x, width))
    whole, limited = choose(search(quantizer, z)[0], depth), choose(search(quantizer, z, depth=depth)[0], depth)
    assert all(torch.equal(a, b) for a, b in zip(whole, limited, strict=True))
    assert sum(work) - 3 * depth.numel() < (depth - 1).sum() + 3 * 4  # the first search, then chunks of mixed depths


def test_levels_that_are_all_shared_or_all_own_are_searched_too():
    torch.manual_seed(0)
    z = torch.randn(8, 4, 8, 8)
    for strides in ((2, 2), (1, 1), (4, 2, 1)):
        vq = ResidualVQ(4, (8,) * len(strides), strides)
        vq.start_from(z)
        tokens, errors = search(vq, z)
        error = (vq.decode(choose(tokens, torch.full((8, 1, 8, 8), len(strides))), (8, 8)) - z).square().mean(1)
        assert torch.allclose(error, errors[:, -1], atol=1e-5)


def test_chunks_do_not_show(quantizer, monkeypatch):
    z = torch.randn(2, 6, 7, 9)
    whole, _ = search(quantizer, z)
    monkeypatch.setattr(search_module, "CHUNK", 10)
    assert all(torch.equal(a, b) for a, b in zip(whole, search(quantizer, z)[0]))
