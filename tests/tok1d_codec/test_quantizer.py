from __future__ import annotations

import pytest
import torch

from tok1d_codec.tokenizer.quantizer import ResidualVQ


@pytest.fixture
def quantizer() -> ResidualVQ:
    torch.manual_seed(0)
    vq = ResidualVQ(4, (8, 16, 16), (2, 1, 1))
    vq.start_from(torch.randn(8, 4, 8, 8))
    return vq


def test_every_index_is_the_nearest_code(quantizer):
    z = torch.randn(2, 4, 5, 7)
    first, second, _ = quantizer.encode(z)
    assert first.shape == (2, 3, 4) and second.shape == (2, 5, 7)
    rest = z - quantizer.look_up(0, first, (5, 7))
    for row, col in [(0, 0), (4, 6), (2, 3)]:
        distances = (quantizer.codebook(1) - rest[1, :, row, col]).norm(dim=1)
        assert distances.argmin() == second[1, row, col]


def test_a_strided_level_codes_the_mean_of_the_cells_that_exist(quantizer):
    z = torch.randn(1, 4, 3, 3)  # the last cell of the 2 x 2 grid covers a single latent
    index = quantizer.encode(z)[0]
    assert index[0, 1, 1] == (quantizer.codebook(0) - z[0, :, 2, 2]).norm(dim=1).argmin()
    assert index[0, 0, 0] == (quantizer.codebook(0) - z[0, :, :2, :2].mean((1, 2))).norm(dim=1).argmin()


def test_each_level_lowers_the_error_of_what_it_was_started_on(quantizer):
    torch.manual_seed(0)
    z = torch.randn(8, 4, 8, 8)
    indices = quantizer.encode(z)
    errors = [(quantizer.decode(indices[:k], (8, 8)) - z).square().mean() for k in (1, 2, 3)]
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]


def test_training_pass_gives_every_prefix_and_a_loss_that_pulls_the_latents(quantizer, monkeypatch):
    monkeypatch.setattr(quantizer, "_follow", lambda *_: None)
    z = torch.randn(2, 4, 4, 4, requires_grad=True)
    (sums, commitment), indices = quantizer(z), quantizer.encode(z)
    assert sums.shape == (3, 2, 4, 4, 4) and not sums.requires_grad
    for level in range(3):
        assert torch.allclose(sums[level], quantizer.decode(indices[: level + 1], (4, 4)), atol=1e-5)
    (gradient,) = torch.autograd.grad(commitment, z)
    assert commitment > 0 and (gradient * (z - sums[-1])).sum() > 0


def test_codebooks_follow_the_latents_and_dead_codes_come_back(quantizer):
    torch.manual_seed(1)
    quantizer.codebook(1)[3] = 1e3  # nothing is ever near it
    quantizer.statistics["ema_count1"][3] = 0.0
    quantizer.statistics["ema_sum1"][3] = 0.0
    z = torch.randn(8, 4, 8, 8) + 3  # not where k-means started
    before = quantizer(z)[1]
    for _ in range(300):
        after = quantizer(z)[1]
    assert after < 0.5 * before
    assert quantizer.codebook(1)[3].norm() < 20


def test_an_absent_token_adds_nothing(quantizer):
    indices = quantizer.encode(torch.randn(1, 4, 4, 4))
    without = [i.clone() for i in indices]
    without[2][0, 1, 3] = -1
    whole, less, two = (quantizer.decode(i, (4, 4)) for i in (indices, without, indices[:2]))
    assert torch.equal(less[..., 1, 3], two[..., 1, 3])
    less[..., 1, 3] = whole[..., 1, 3]
    assert torch.equal(less, whole)


def test_too_few_latents_to_start_from():
    with pytest.raises(ValueError, match="more pictures"):
        ResidualVQ(4, (64,), (1,)).start_from(torch.randn(1, 4, 2, 2))
