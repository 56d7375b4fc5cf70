"""Quantizers of one index a latent: known answers, gradients, indices and vectors one to one."""

from __future__ import annotations

import math

import pytest
import torch

from tok1d_codec.tokenizer.codebooks import FSQ, IDLE, LFQ, Codebook, fsq_counts, latent_dim, make_quantizer

KINDS = [Codebook(32, 5), Codebook(32, 5, normalize=True), FSQ((8, 4)), FSQ((5, 3)), LFQ(32)]


@pytest.mark.parametrize("quantizer", KINDS, ids=lambda q: f"{type(q).__name__}{q.size}")
def test_codes_are_those_of_the_indices(quantizer):
    torch.manual_seed(0)
    z = 2 * torch.randn(3, 7, quantizer.dim)
    codes, loss, index = quantizer(z)
    assert codes.shape == z.shape and index.shape == (3, 7) and index.dtype == torch.int64 and loss.ndim == 0
    assert 0 <= index.min() and index.max() < quantizer.size
    assert torch.equal(index, quantizer.nearest(z))
    assert torch.allclose(codes, quantizer.look_up(index), atol=1e-5)


@pytest.mark.parametrize("quantizer", [FSQ((8, 4)), FSQ((5, 3)), LFQ(32)], ids=["fsq84", "fsq53", "lfq"])
def test_indices_of_a_fixed_grid_and_its_vectors_are_one_to_one(quantizer):
    every = torch.arange(quantizer.size)
    codes = quantizer.look_up(every)
    assert len(codes.unique(dim=0)) == quantizer.size and codes.abs().max() <= 1
    z = 3 * torch.randn(4000, quantizer.dim)
    found, _, index = quantizer(z)
    assert torch.equal(index.unique(), every)
    same = torch.cdist(found.detach(), codes).argmin(1)  # which vector it is, without the index
    assert torch.equal(same, index)


def test_a_vector_takes_the_nearest_code_and_the_loss_of_the_paper():
    book = Codebook(3, 2, beta=0.25)
    book.embedding.weight.data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    z = torch.tensor([[0.6, 0.2], [0.1, 1.9]], requires_grad=True)
    codes, loss, index = book(z)
    assert index.tolist() == [1, 2] and torch.allclose(codes, torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    squared = (0.4**2 + 0.2**2 + 0.1**2 + 0.1**2) / 4
    assert loss.item() == pytest.approx(1.25 * squared)
    loss.backward()
    assert torch.allclose(z.grad, 0.25 * 2 * (z.detach() - codes.detach()) / 4)
    assert torch.allclose(book.embedding.weight.grad[1], torch.tensor([2 * 0.4 / 4, -2 * 0.2 / 4]))
    assert not book.embedding.weight.grad[0].any()


def test_fsq_rounds_each_number():
    quantizer = FSQ((5, 4))
    z = torch.tensor([[0.0, 0.0], [9.0, 9.0], [-9.0, -9.0], [math.atanh(0.5), 0.0]])
    codes, loss, index = quantizer(z)
    assert torch.allclose(codes, torch.tensor([[0.0, 0.0], [1.0, 0.5], [-1.0, -1.0], [0.5, 0.0]]))
    assert index.tolist() == [2 + 5 * 2, 4 + 5 * 3, 0, 3 + 5 * 2] and loss == 0 and not loss.requires_grad


def test_lfq_reads_bits_and_wants_all_codes_used():
    quantizer = LFQ(8)
    codes, _, index = quantizer(torch.tensor([[0.3, -2.0, 0.1], [-0.3, -0.1, 5.0]]))
    assert index.tolist() == [0b101, 0b100] and codes.tolist() == [[1, -1, 1], [-1, -1, 1]]
    every = quantizer.look_up(torch.arange(8))
    one = every[:1].expand(8, 3)
    assert quantizer(every)[1] < quantizer(one)[1]  # as sure, but of more codes
    expected = -0.1 * 3 * math.log(2)  # latents are sure, the batch is even, nothing to commit to
    assert quantizer(20 * every / 20)[1].item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("quantizer", [KINDS[0], LFQ(32)], ids=["vq", "lfq"])
def test_gradients_go_straight_through(quantizer):
    z = torch.randn(2, 3, 5, requires_grad=True)
    push = torch.randn(2, 3, 5)
    codes, _, _ = quantizer(z)
    (gradient,) = torch.autograd.grad((codes * push).sum(), z)
    assert torch.equal(gradient, push)


def test_gradients_of_fsq_are_those_of_its_bound():
    z = torch.randn(2, 3, 3, requires_grad=True)
    codes, _, _ = FSQ((5, 5, 7))(z)
    (gradient,) = torch.autograd.grad(codes.sum(), z)
    reach = torch.tensor([2, 2, 3]) * 0.999
    assert torch.allclose(gradient, reach * (1 - torch.tanh(z) ** 2) / torch.tensor([2, 2, 3]), atol=1e-5)


def test_idle_codes_become_latents():
    torch.manual_seed(0)
    book = Codebook(8, 2)
    book.start_from(torch.randn(50, 2))
    book.embedding.weight.data[3] = 1e3  # nothing is ever near it
    z = torch.randn(8, 2)
    for _ in range(IDLE):  # each time as many latents as there are codes
        assert book.embedding.weight[3, 0] == 1e3
        book.revive(z, book.nearest(z))
    assert (z == book.embedding.weight[3]).all(1).any()


def test_sizes():
    assert fsq_counts(8192) == (8, 8, 8, 4, 4) and fsq_counts(4096) == (8, 8, 8, 8) and fsq_counts(4) == (4,)
    for kind, dim in (("vq", 32), ("fsq", 5), ("lfq", 13)):
        assert latent_dim(kind, 8192, 32) == dim
        made = make_quantizer(kind, 8192, dim)
        assert (made.size, made.dim) == (8192, dim)
    with pytest.raises(ValueError, match="power of two"):
        latent_dim("lfq", 1000, 10)
    with pytest.raises(ValueError, match="5 numbers, not 32"):
        make_quantizer("fsq", 8192, 32)
    with pytest.raises(ValueError, match="known: vq, fsq, lfq"):
        make_quantizer("rvq", 8192, 32)
