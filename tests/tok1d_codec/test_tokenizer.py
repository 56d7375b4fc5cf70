from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from tok1d_codec.config import TokenizerConfig
from tok1d_codec.errors import WrongWeights
from tok1d_codec.nn.blocks import pad_to_multiples
from tok1d_codec.tokenizer.t1d import FEW, HALO, MANY, NEAR, T1DTokenizer
from tok1d_codec.train.presets import PRESETS


@pytest.mark.parametrize("height, width", [(1, 1), (31, 33), (64, 64), (100, 37), (288, 416)])
def test_any_size_and_every_prefix_of_levels(tiny_model, height, width):
    tokenizer, card = tiny_model.tokenizer, tiny_model.card
    image = torch.rand(2, 3, height, width)
    indices = tokenizer.encode(image)
    assert [tuple(i.shape[1:]) for i in indices] == card.token_shapes(height, width)
    assert all(0 <= i.min() and i.max() < n for i, n in zip(indices, card.codebook_sizes))
    pictures = [tokenizer.decode(indices[:k], height, width) for k in range(1, 4)]
    for picture in pictures:
        assert picture.shape == image.shape and 0 <= picture.min() and picture.max() <= 1
    assert not torch.equal(pictures[0], pictures[2])


@torch.no_grad()
def test_tiles_leave_no_trace(tiny_model, monkeypatch):
    monkeypatch.setattr("tok1d_codec.tokenizer.t1d.TILE", 3)
    decoder = tiny_model.tokenizer.decoder
    rows, cols = 2 * HALO + 5, 2 * HALO + 4
    whole = torch.randn(1, rows, cols, 32), torch.randn(1, rows, cols, 48), torch.randint(1, 4, (1, 1, rows, cols))
    for filters in ((False, False), (True, False), (False, True), (True, True)):
        monkeypatch.setattr(decoder, "smooth_chroma", filters[0])
        monkeypatch.setattr(decoder, "remove_repeats", filters[1])
        assert torch.allclose(decoder.pixels_tiled(*whole), decoder.pixels(*whole), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["smooth_chroma", "remove_repeats"])
def test_filters_go_over_patches_of_few_levels(tiny_model, monkeypatch, name):
    decoder = tiny_model.tokenizer.decoder
    features = torch.randn(1, 6, 6, 32), torch.randn(1, 6, 6, 48)
    few, many = (torch.full((1, 1, 6, 6), levels) for levels in (FEW, MANY))
    plain = decoder.pixels(*features, few)
    monkeypatch.setattr(decoder, name, True)
    assert (decoder.pixels(*features, few) - plain).abs().mean() > 1e-3
    assert torch.equal(decoder.pixels(*features, many), plain)


@torch.no_grad()
def test_the_halo_covers_what_the_bundled_design_sees():
    torch.manual_seed(0)
    config = TokenizerConfig(
        width=32, heads=2, head_channels=(16, 12, 8, 8), smooth_chroma=True, remove_repeats=True, fine_levels=1, fine_channels=8
    )  # fmt: skip
    decoder = T1DTokenizer(config).decoder
    for parameter in decoder.head.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    x, coefficients, added = torch.randn(1, 23, 5, 32), torch.randn(1, 23, 5, 384), torch.randn(1, 3, 23 * 32, 5 * 32)

    def reached(row: int, levels: int = FEW) -> torch.Tensor:
        """-> the lines of pixels that a row of patches, all of which have so many levels, has a part in."""
        changed, depth = x.clone(), torch.full((1, 1, 23, 5), levels)
        changed[:, row] += 1
        before, after = (decoder.pixels(features, coefficients, depth, added) for features in (x, changed))
        return torch.nonzero((after - before).abs().amax((0, 1, 3)))

    inner = reached(11)
    assert (11 - HALO) * 32 <= inner.min() and inner.max() < (12 + HALO) * 32
    inner = reached(11, MANY)
    assert (11 - NEAR) * 32 <= inner.min() and inner.max() < (12 + NEAR) * 32
    last = len(x[0]) - 1  # at its end a picture looks farther back
    assert reached(last - HALO - 1).max() < last * 32 <= reached(last - HALO + 1).max()


def test_padding_repeats_the_edge():
    padded = pad_to_multiples(torch.arange(6.0).view(1, 1, 2, 3), 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


def test_start_from_is_a_transform_coder(photo):
    torch.manual_seed(0)
    tokenizer = T1DTokenizer(PRESETS["tiny"].model)
    crops = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    shifted = [crops[:, :, y : y + 64, x : x + 128] for y in range(0, 32, 4) for x in range(0, 32, 8)]
    tokenizer.start_from(torch.cat(shifted))
    basis = tokenizer.encoder.basis
    assert torch.allclose(basis.t() @ basis, torch.eye(basis.shape[1]), atol=1e-4)
    restored = tokenizer.decode(tokenizer.encode((crops + 1) / 2), *crops.shape[-2:]) * 2 - 1
    grey = crops.mean((2, 3), keepdim=True).expand_as(crops)
    assert (restored - crops).square().mean() < 0.35 * (grey - crops).square().mean()


def crops_of(photo) -> torch.Tensor:
    crops = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.cat([crops[:, :, y : y + 64, x : x + 128] for y in range(0, 32, 4) for x in range(0, 32, 8)])


@torch.no_grad()
def test_a_model_starts_one_with_wider_codes(photo):
    torch.manual_seed(0)
    crops = crops_of(photo)
    small = replace(PRESETS["tiny"].model, code_dim=8)
    old = T1DTokenizer(small)
    old.start_from(crops)
    for parameter in old.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.02)
    new = T1DTokenizer(replace(small, code_dim=12))
    new.start_from(crops, old.state_dict())
    depth = torch.full((len(crops), 1, 2, 4), 3)
    before, after = (
        t.decoder.pixels(*t.decoder.features(t.latents((crops + 1) / 2), depth), depth) for t in (old, new)
    )  # fmt: skip
    assert (after - before).square().mean() < 0.05 * (before - crops).square().mean()


@torch.no_grad()
def test_a_model_of_the_same_sizes_is_taken_whole(photo):
    torch.manual_seed(0)
    old, new = (T1DTokenizer(PRESETS["tiny"].model) for _ in range(2))
    old.start_from(crops_of(photo))
    for parameter in old.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.02)
    new.start_from(crops_of(photo), old.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(new.state_dict().values(), old.state_dict().values()))
    assert torch.equal(new.quantizer.statistics["ema_sum2"], old.quantizer.codebook(2))
    deeper = T1DTokenizer(replace(old.config, decoder_layers=2))
    deeper.start_from(crops_of(photo), old.state_dict())
    indices = old.encode((crops_of(photo) + 1) / 2)
    assert torch.equal(deeper.decode(indices, 64, 128), old.decode(indices, 64, 128))


@pytest.mark.parametrize("other", [{"width": 64}, {"patch": 16}, {"components": 64}])
def test_weights_to_start_from_must_fit_and_be_of_this_family(photo, other):
    tokenizer = T1DTokenizer(PRESETS["tiny"].model)
    larger = T1DTokenizer(replace(PRESETS["tiny"].model, **other))
    deeper = T1DTokenizer(replace(PRESETS["tiny"].model, decoder_layers=2))
    for weights in (larger.state_dict(), deeper.state_dict(), {"embed.weight": torch.zeros(1)}):
        with pytest.raises(WrongWeights, match="start from"):
            tokenizer.start_from(crops_of(photo), weights)


def test_config_survives_json_and_refuses_nonsense():
    config = TokenizerConfig(width=64, strides=(2, 1), codebook_sizes=(16, 32))
    assert TokenizerConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="strides"):
        TokenizerConfig(strides=(1,))
    with pytest.raises(ValueError, match="components"):
        TokenizerConfig(code_dim=400)
    retired = json.loads(config.to_json()) | {"detail_dims": 0}
    assert TokenizerConfig.from_json(json.dumps(retired)) == config
    with pytest.raises(TypeError, match="detail_dims"):
        TokenizerConfig.from_json(json.dumps(retired | {"detail_dims": 8}))
    with pytest.raises(ValueError, match="heads"):
        TokenizerConfig(width=30)
