"""Fine levels: tokens of a grid after the residual ones, and training that adds them to a trained model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from bench import LPIPS_ALEX
from bitstream.container import unpack
from tok1d_codec.cli import main
from tok1d_codec.codec import decode, encode, read_tokens
from tok1d_codec.config import TokenizerConfig
from tok1d_codec.data.shards import load_pictures
from tok1d_codec.models.cards import ModelCard, card_by_name
from tok1d_codec.models.store import Model, _load_tokenizer, read_weights, weight_path
from tok1d_codec.prior.static import StaticTables, table_from_hits
from tok1d_codec.tokenizer.codebooks import FSQ
from tok1d_codec.tokenizer.quantizer import FALL, ResidualVQ
from tok1d_codec.tokenizer.search import choose, search
from tok1d_codec.tokenizer.t1d import T1DTokenizer
from tok1d_codec.train.export import lean, write_weights
from tok1d_codec.train.families import T1DTrainee
from tok1d_codec.train.loop import Hardware, Trainer
from tok1d_codec.train.presets import PRESETS, preset
from tok1d_codec.train.state import RunFolder
from tok1d_codec.train.validate import Validation

BASE = replace(preset("tiny").model, codebook_sizes=(16, 32, 32, 32), strides=(2, 1, 1, 1))
FINE = replace(
    BASE, codebook_sizes=(16, 32, 15, 15), fine_levels=2, fine_counts=(5, 3), fine_width=16, fine_layers=1
)


@pytest.fixture
def crops(photo) -> torch.Tensor:
    """(64, 3, 64, 128) in [-1, 1]"""
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.cat([image[:, :, y : y + 64, x : x + 128] for y in range(0, 32, 4) for x in range(0, 32, 4)])


@pytest.fixture
def trained(crops) -> T1DTokenizer:
    """A model without fine levels."""
    torch.manual_seed(0)
    model = T1DTokenizer(BASE)
    model.start_from(crops)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def test_each_fine_level_codes_its_own_numbers():
    torch.manual_seed(0)
    vq = ResidualVQ(4, (16, 32), (2, 1, 1, 1), FSQ((5, 3)))
    z = torch.randn(8, 8, 8, 8)
    vq.start_from(z[:, :4])
    indices, errors = vq.encode(z)
    assert errors.shape == (8, 4, 8, 8) and torch.allclose(errors[:, 3], errors[:, 1] * FALL**2)
    changed = z.clone()
    changed[:, 4:6] = torch.randn(8, 2, 8, 8)
    again, _ = vq.encode(changed)
    assert [torch.equal(a, b) for a, b in zip(indices, again)] == [True, True, False, True]
    whole = vq.decode(indices, (8, 8))
    assert torch.equal(vq.decode(indices[:2], (8, 8))[:, :4], whole[:, :4]) and not vq.decode(indices[:2], (8, 8))[:, 4:].any()
    for level, numbers in ((2, slice(4, 6)), (3, slice(6, 8))):
        assert torch.equal(whole[:, numbers].movedim(1, -1), vq.grid.look_up(indices[level]))
        assert vq.codes(level).shape == (15, 8) and torch.equal(vq.codes(level)[:, numbers], vq.grid.look_up(torch.arange(15)))
    assert torch.equal(vq.codes(1)[:, :4], vq.codebook(1)) and vq.codes(1).shape == (32, 8)


def test_search_finds_fine_tokens_for_every_depth_that_has_them():
    torch.manual_seed(0)
    vq = ResidualVQ(4, (16, 32), (2, 1, 1, 1), FSQ((5, 3)))
    z = torch.randn(2, 8, 5, 7)
    vq.start_from(torch.randn(8, 4, 8, 8))
    tokens, errors = search(vq, z)
    assert [t.shape[1] for t in tokens] == [3, 4, 4, 4] and errors.shape == (2, 4, 5, 7)
    nearest = vq.encode(z)[0]
    for depth in (1, 2, 3, 4):
        chosen = choose(tokens, torch.full((2, 1, 5, 7), depth))
        assert all((chosen[level] == -1).all() for level in range(max(depth, 1), 4))
        assert all(torch.equal(chosen[level], nearest[level]) for level in range(2, depth))
    assert torch.equal(tokens[1][:, 1], tokens[1][:, 3])
    assert all(torch.equal(a[:, :3] if a.dim() == 4 else a, b) for a, b in zip(tokens, search(vq, z, 3)[0]))


@torch.no_grad()
def test_a_model_without_fine_levels_starts_one_that_has_them(trained, crops):
    fine = T1DTokenizer(FINE)
    fine.start_from(crops, trained.state_dict())
    images = (crops[:2] + 1) / 2
    old, new = trained.encode(images), fine.encode(images)
    assert all(torch.equal(a, b) for a, b in zip(old[:2], new[:2]))
    assert torch.equal(trained.decode(old[:2], 64, 128), fine.decode(new[:2], 64, 128))
    assert fine.latents(images).shape == (2, 20, 2, 4) and len(new) == 4
    fine.decoder.head.fine.out.weight.normal_()
    assert not torch.equal(fine.decode(new, 64, 128), fine.decode(new[:3], 64, 128))


@torch.no_grad()
def test_the_head_is_shown_the_coefficients_that_fine_numbers_start_from(trained, crops):
    model = T1DTokenizer(FINE)
    model.start_from(crops, trained.state_dict())
    encoder, numbers = model.encoder, model.latents((crops[:2] + 1) / 2)[:, 16:]
    shown = F.pixel_shuffle(model.decoder.fine_pixels(numbers.movedim(1, -1)).movedim(-1, 1), 32)
    patches = (F.pixel_unshuffle(crops[:2], 32).movedim(1, -1) - encoder.mean) @ encoder.basis
    patches[..., :16], patches[..., 20:] = 0, 0
    projected = F.pixel_shuffle((patches @ encoder.basis.t()).movedim(-1, 1), 32)
    assert torch.allclose(shown, projected, atol=1e-4) and projected.abs().max() > 0.1
    z, depth = torch.cat([torch.zeros(2, 16, 2, 4), numbers], dim=1), torch.full((2, 1, 2, 4), 4)
    before = model.decoder(z, depth)
    model.decoder.head.fine.out.weight.normal_(std=0.1)
    after = model.decoder(z, depth)
    assert not torch.equal(after, before)
    z[:, 16:] = 0
    assert not torch.equal(model.decoder(z, depth), after)
    mixed = depth.clone()
    mixed[..., 0] = 2  # patches without fine tokens: only where they meet others something changes
    after = model.decoder(z, mixed)
    model.decoder.head.fine.out.weight.zero_()
    changed = (model.decoder(z, mixed) - after).abs().sum(1)
    assert changed[..., 64:].gt(0).any() and changed[..., :8].eq(0).all()


def test_files_of_fine_levels_decode_to_what_the_encoder_saw(trained, crops, photo):
    model = T1DTokenizer(FINE)
    model.start_from(crops, trained.state_dict())
    model.eval().requires_grad_(False)
    torch.nn.init.normal_(model.decoder.head.fine.out.weight, std=0.1)
    tables = StaticTables([table_from_hits(np.ones(n, np.int64)) for n in FINE.codebook_sizes])
    card = ModelCard(201, "fine", "t1d", "", "ab" * 32, 32, FINE.strides, FINE.codebook_sizes, "none", "", (0.35, 0.006))
    made = Model(card, model, tables)
    for wanted in ({"levels": 4}, {"levels": 2}, {"quality": 70}, {"quality": 70, "effort": 1}):
        data = encode(photo, made, **wanted)
        tokens = [torch.from_numpy(t.astype(np.int64))[None] for t in read_tokens(unpack(data), card, tables).levels]
        expected = model.decode(tokens, *photo.shape[:2])[0].permute(1, 2, 0).mul(255).round().byte().numpy()
        assert np.array_equal(decode(data, made), expected)
    assert max(len(encode(photo, made, levels=k)) for k in (1, 2, 3)) < len(encode(photo, made, levels=4))


def test_gradients_reach_what_is_sent_of_fine_latents(trained, crops):
    trainee = T1DTrainee(replace(preset("tiny"), model=FINE, keep_base=True, even_depth=1.0), "cpu")
    trainee.model.start_from(crops, trained.state_dict())
    torch.nn.init.normal_(trainee.model.decoder.head.fine.out.weight)
    autocast = torch.autocast("cpu", enabled=False)
    for depth in (2, 3, 4):
        odds = tuple(float(level + 1 == depth) for level in range(4))
        trainee.config = replace(trainee.config, depth_odds=odds)
        trainee.model.zero_grad()
        restored, _, _ = trainee.restore(crops[:2], 0.0, autocast)
        restored.square().mean().backward()
        learns = trainee.model.fine.out.weight.grad.any(1)
        assert learns.tolist() == [depth > 2] * 2 + [depth > 3] * 2
        assert trainee.model.encoder.out.weight.grad is None
        assert all(("fine" in name) >= (p.grad is not None) for name, p in trainee.model.named_parameters())


def test_both_stages_train_from_nothing(crops, tmp_path):
    pictures = load_pictures([save(crops, tmp_path)], tmp_path / "train.u8", 128)
    config = replace(preset("tiny"), model=FINE, depth_odds=(0.1, 0.1, 1.0, 1.0), start_pictures=32, minutes=100.0)
    trainer = Trainer(config, pictures, Validation(torch.zeros(0)), RunFolder(tmp_path), Hardware(), LPIPS_ALEX, None)
    trainer.start()
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    assert "alex" not in trainer.train_step()
    trainer.minutes = 20.0
    assert all(np.isfinite(list(trainer.train_step().values())).all() for _ in range(3))
    changed = {k for k, v in trainer.model.state_dict().items() if not torch.equal(v, before[k])}
    assert {"fine.out.weight", "encoder.out.weight", "quantizer.codebook1", "decoder.fine_pixels.weight"} <= changed


def save(crops, folder) -> Path:
    pixels = crops[0].permute(1, 2, 0).add(1).mul(127.5).round().byte().numpy()
    Image.fromarray(pixels).resize((320, 160)).save(folder / "photo.png")
    return folder / "photo.png"


def test_the_command_adds_fine_latents_and_keeps_the_rest(photo, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    data = tmp_path / "photos"
    data.mkdir()
    for name, rows in (("a", slice(0, 64)), ("b", slice(32, 96)), ("val", slice(16, 80))):
        Image.fromarray(photo[rows]).resize((320, 160)).save(data / f"{name}.png")
    command = ["train", "tokenizer", "--data", str(data), "--preset", "tiny", "--device", "cpu", "--minutes", "0.02"]
    tiny = replace(PRESETS["tiny"], model=BASE, depth_odds=(1.0,) * 4)
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    assert main([*command, "--out", str(tmp_path / "first")]) == 0
    before = tmp_path / "first" / "model.safetensors"
    command += ["--out", str(tmp_path / "second"), "--keep-base"]
    assert main([*command, "--init", str(before)]) == 2  # the preset has none
    monkeypatch.setitem(PRESETS, "tiny", replace(tiny, model=FINE))
    assert main(command) == 2
    assert main([*command, "--init", str(before), "--decoder-only"]) == 2
    assert main([*command, "--init", str(before), "--family", "titok", "--preset", "titok-tiny"]) == 2
    assert main([*command, "--init", str(before)]) == 0
    old, new = load_file(before), load_file(tmp_path / "second" / "model.safetensors")
    left_out = {"quantizer.codebook2", "quantizer.codebook3", *(f"tables.{level}" for level in range(4))}
    assert all(torch.equal(old[k], new[k]) for k in old if k not in left_out)
    assert new["decoder.fine_pixels.weight"].any() and "quantizer.codebook2" not in new
    assert [len(new[f"tables.{level}"]) for level in range(4)] == [16, 32, 15, 15]


def test_a_model_with_fine_levels_can_rest_on_a_bundled_one_without(tmp_path):
    model = T1DTokenizer(preset("base").model)
    model.start_from(torch.zeros(0), read_weights(weight_path(card_by_name("t1d-6")), "pt")[1])
    metadata = {"format": "t1d tokenizer", "family": "t1d", "config": model.config.to_json()}
    weights = {name: tensor.half() for name, tensor in model.state_dict().items()}
    lean(write_weights(weights, metadata, tmp_path / "whole.safetensors"), "t1d-6", tmp_path / "lean.safetensors")
    assert (tmp_path / "lean.safetensors").stat().st_size < 8e6
    loaded = _load_tokenizer(tmp_path / "lean.safetensors").state_dict()
    assert loaded.keys() == weights.keys() and all(torch.equal(loaded[name].half(), weights[name]) for name in weights)


def test_sizes_of_fine_levels_are_checked():
    assert (FINE.coarse_levels, FINE.fine_dim) == (2, 4) and (BASE.coarse_levels, BASE.fine_dim) == (4, 0)
    assert TokenizerConfig.from_json(FINE.to_json()) == FINE
    with pytest.raises(ValueError, match="fine levels"):
        replace(FINE, fine_counts=(5, 5))
    with pytest.raises(ValueError, match="4 fine numbers from component 46"):
        replace(FINE, fine_start=46)
    with pytest.raises(ValueError, match="fine width 15"):
        replace(FINE, fine_width=15)
