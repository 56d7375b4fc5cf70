"""The `patch-vq` family without trained weights, and prefixes of tokens of the family `titok`."""

from __future__ import annotations

import pytest
import torch

from tok1d_codec.config import PatchVQConfig, TiTokConfig
from tok1d_codec.image.tiles import tile_count
from tok1d_codec.tokenizer.patch_vq import PatchVQTokenizer
from tok1d_codec.tokenizer.titok import TiTokTokenizer
from tok1d_codec.train.presets import PRESETS, with_quantizer

TINY = PRESETS["patch-vq-tiny"].model


def test_simple_1d_has_the_parameters_of_the_plain_design():
    with torch.device("meta"):
        model = PatchVQTokenizer(PRESETS["simple-1d"].model)
    w, patch, layers = 1024, 3 * 64**2, 12
    block = (3 * w * w + 3 * w) + (w * w + w) + (4 * w * w + 4 * w) + (4 * w * w + w) + 2 * 2 * w
    transformer = 16 * w + layers * block + 2 * w
    codes = (w * w + w) + 8192 * w + (w * w + w)
    expected = (patch * w + w) + transformer + codes + transformer + (w * patch + patch)
    assert sum(p.numel() for p in model.parameters()) == expected == 338_013_184
    assert model.tokens == 16 and model.codebook_sizes == (8192,) and model.quantize.beta == 0.25
    assert len(model.decoder.blocks) == 12 and model.encoder.blocks[0].attn.heads == 16


@pytest.mark.parametrize("quantizer", ["vq", "fsq", "lfq"])
@pytest.mark.parametrize("height, width", [(1, 1), (61, 87), (256, 300)])
def test_any_size(height, width, quantizer):
    torch.manual_seed(0)
    model = PatchVQTokenizer(with_quantizer(PRESETS["patch-vq-tiny"], quantizer).model).eval()
    images = torch.rand(2, 3, height, width)
    (index,) = model.encode(images)
    assert index.shape == (2, tile_count(height, width), 16) and index.dtype == torch.int64
    assert 0 <= index.min() and index.max() < 64
    restored = model.decode([index], height, width)
    assert restored.shape == images.shape and 0 <= restored.min() and restored.max() <= 1
    assert restored.std() > 0.01
    (alone,) = model.encode(images[1:])
    assert torch.equal(alone, index[1:])  # pictures of a batch do not mix


def test_a_token_is_a_patch_and_a_patch_keeps_its_place():
    torch.manual_seed(0)
    model = PatchVQTokenizer(PatchVQConfig(64, 32, 2, 0, 0, 64, 8))  # no blocks: patches do not mix
    picture = torch.rand(1, 3, 256, 256)
    changed = picture.clone()
    changed[..., 64:128, 128:192] = 0.9
    before, after = model.latents(picture), model.latents(changed)
    assert ((before - after).abs().amax((0, 2)) > 1e-6).nonzero().flatten().tolist() == [4 + 2]
    shown = (model.pixels(before) - model.pixels(after)).abs().amax((0, 1)) > 1e-6
    rows, cols = shown.nonzero().T
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (64, 127, 128, 191)


def test_a_tile_of_patches_needs_all_of_them():
    model = PatchVQTokenizer(TINY)
    index = torch.zeros(1, 1, 16, dtype=torch.int64)
    index[..., 5] = -1
    assert (model.decode([index], 40, 40)[0] == 0.5).all()
    with pytest.raises(ValueError, match=r"\(1, 1, 15\)"):
        model.decode([index[..., :15]], 40, 40)


def test_a_prefix_of_titok_tokens_decodes_where_tails_were_dropped():
    torch.manual_seed(0)
    model = TiTokTokenizer(PRESETS["titok-tiny"].model)
    torch.nn.init.normal_(model.absent_code)
    images = torch.rand(1, 3, 100, 300)
    (index,) = model.encode(images)
    whole = model.decode([index], 100, 300)
    previous = None
    for kept in (8, 5, 1):
        masked = index.masked_fill(torch.arange(8) >= kept, -1)
        picture = model.decode([masked], 100, 300)
        assert torch.equal(picture, model.decode([index[..., :kept]], 100, 300))
        assert torch.equal(picture, whole) == (kept == 8)
        assert previous is None or not torch.equal(picture, previous)
        assert picture.std() > 0 and not (picture == 0.5).all()
        previous = picture
    assert (model.decode([torch.full_like(index, -1)], 100, 300) == 0.5).all()


def test_released_models_have_no_code_for_absent_tokens():
    model = TiTokTokenizer(TiTokConfig(8, 64, 8, True, (32, 1, 2), (32, 1, 2), legacy=False))
    assert "absent_code" not in model.state_dict()
    with pytest.raises(ValueError, match=r"\(1, 1, 7\)"):
        model.decode([torch.zeros(1, 1, 7, dtype=torch.int64)], 8, 8)


def test_config_survives_json_and_refuses_nonsense():
    config = PatchVQConfig(patch=32, quantizer="fsq", code_dim=5)
    assert PatchVQConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="heads"):
        PatchVQConfig(width=30)
    with pytest.raises(ValueError, match="do not fill"):
        PatchVQTokenizer(PatchVQConfig(patch=48))
