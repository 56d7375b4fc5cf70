"""Every family trains with the same loop, resumes, is validated and exported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tok1d_codec.cli import main
from tok1d_codec.data.crops import centre_crops, random_crops
from tok1d_codec.data.shards import load_pictures
from tok1d_codec.errors import WrongWeights
from tok1d_codec.models.store import load_tokenizer
from tok1d_codec.train import loop
from tok1d_codec.train.export import export
from tok1d_codec.train.loop import Hardware, Trainer
from tok1d_codec.train.presets import PRESETS, TrainConfig, default_preset, with_quantizer
from tok1d_codec.train.state import RunFolder
from tok1d_codec.train.validate import Validation

TINY = {"t1d": "tiny", "titok": "titok-tiny", "patch-vq": "patch-vq-tiny"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two photographs to train on and one to validate on."""
    from skimage.data import astronaut, coffee

    root = tmp_path_factory.mktemp("photos")
    for name, pixels in (("a", astronaut()[:256]), ("b", astronaut()[256:]), ("val", coffee()[:256, :300])):
        Image.fromarray(pixels).save(root / f"{name}.png")
    return root


def started(config: TrainConfig, folder: Path, run: Path, start: bool = True) -> Trainer:
    pictures = load_pictures([folder / "a.png", folder / "b.png"], run / "train.u8", config.crop)
    validation = Validation(centre_crops(pictures, 2, config.crop))
    trainer = Trainer(config, pictures, validation, RunFolder(run), Hardware(), None)
    if start:
        trainer.start()
    return trainer


@pytest.mark.parametrize("family", TINY)
def test_a_family_trains_resumes_and_is_exported(family, folder, tmp_path):
    config = replace(PRESETS[TINY[family]], minutes=100.0)
    trainer = started(config, folder, tmp_path)
    assert trainer.model.Config is type(config.model)
    trainer.minutes = 20.0
    trainer.train_step()
    trainer.save()
    before = trainer.train_step()
    assert before["commitment"] > 0 and before["gradient"] > 0
    again = started(trainer.run.planned(), folder, tmp_path, start=False)
    again.resume()
    assert again.train_step() == pytest.approx(before, rel=1e-3)
    trainer.minutes = 95.0
    still = {k: v.clone() for k, v in trainer.model.state_dict().items() if k.startswith(("encoder", "quantize"))}
    trainer.optimizer.param_groups[0]["weight_decay"] = 0.0
    trainer.train_step()
    assert all(torch.equal(v, trainer.model.state_dict()[k]) for k, v in still.items())

    trainer.validate()
    figures = trainer.run.records()[-1]["validation"]
    unit = {"t1d": "levels"}.get(family, "tokens")
    kept, bits = {"t1d": ([1, 2, 3], None), "titok": ([2, 4, 6, 8], 6), "patch-vq": ([16], 6)}[family]
    assert figures["family"] == family and figures[unit] == kept
    if bits:
        assert figures["bpp"] == [round(k * bits / config.crop**2, 5) for k in kept]
    assert all(len(figures[name]) == len(kept) for name in ("bpp", "psnr", "lpips_alex"))
    assert all(5 < p < 40 for p in figures["psnr"]) and all(0 < u <= 1 for u in figures["usage"])
    trainer.save()
    tokenizer = load_tokenizer(export(trainer.run, trainer.pictures, config, rounds=1))
    assert type(tokenizer) is type(trainer.model) and tokenizer.config == config.model
    picture = torch.rand(1, 3, 70, 90)
    assert tokenizer.decode(tokenizer.encode(picture), 70, 90).shape == picture.shape


def test_a_piece_becomes_pixels_and_all_tokens_are_decoded_with_it(folder, tmp_path):
    trainer = started(replace(PRESETS["tiny"], shown=2), folder, tmp_path)
    images = random_crops(trainer.pictures, 2, 128, np.random.default_rng(0))
    patches = [images[..., y : y + 64, x : x + 64] for y in (0, 32, 64) for x in (0, 32, 64)]
    found = set()
    for _ in range(30):
        restored, seen, _ = trainer.trainee.restore(images, 1.0, Hardware().autocast())
        assert restored.shape == seen.shape == (2, 3, 64, 64)
        found |= {i for i, patch in enumerate(patches) if torch.equal(patch, seen)}
    assert len(found) > 5  # of nine places
    for parameter in trainer.model.decoder.blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    inputs = []

    def keep(_module, _inputs, embedded):
        embedded.requires_grad_().retain_grad()
        inputs.append(embedded)

    trainer.model.decoder.embed.register_forward_hook(keep)
    torch.nn.init.normal_(trainer.model.decoder.head.out.weight)
    trainer.trainee.restore(images, 1.0, Hardware().autocast())[0].square().sum().backward()
    assert inputs[0].grad.abs().sum((0, 3)).gt(0).all()  # of 4 x 4 patches


@pytest.mark.parametrize("kind", ["fsq", "lfq"])
@pytest.mark.parametrize("family", ["titok", "patch-vq"])
def test_other_quantizers_train(family, kind, folder, tmp_path):
    config = with_quantizer(replace(PRESETS[TINY[family]], minutes=100.0), kind)
    trainer = started(TrainConfig.from_json(config.to_json()), folder, tmp_path)
    first = trainer.train_step()
    trainer.minutes = 20.0
    second = trainer.train_step()
    assert "alex" in second and "alex" not in first
    assert all(np.isfinite(list(p.values())).all() and p["gradient"] > 0 for p in (first, second))
    assert type(trainer.model.quantize).__name__.lower() == kind


def test_training_lowers_the_error_and_learns_to_do_without_the_tail(folder, tmp_path, monkeypatch):
    trainer = started(replace(PRESETS["titok-tiny"], minutes=100.0, rate=3e-3), folder, tmp_path)
    batch = random_crops(trainer.pictures, 2, 256, np.random.default_rng(0))
    monkeypatch.setattr(loop, "random_crops", lambda *_: batch)
    errors = [trainer.train_step()["mse"] for _ in range(25)]
    assert np.mean(errors[-5:]) < 0.93 * np.mean(errors[:3])
    assert trainer.model.absent_code.abs().max() > 0


def test_weights_to_start_from_must_fit(folder, tmp_path):
    trainer = started(PRESETS["patch-vq-tiny"], folder, tmp_path)
    weights = {k: v.clone() + 1 for k, v in trainer.model.state_dict().items()}
    trainer.start(weights)
    assert all(torch.equal(v, weights[k]) for k, v in trainer.model.state_dict().items())
    weights["from_code.weight"] = torch.zeros(1, 1)
    with pytest.raises(WrongWeights, match="from_code.weight"):
        trainer.start(weights)


def test_settings_survive_json_and_those_of_old_runs_are_of_t1d():
    for config in PRESETS.values():
        assert TrainConfig.from_json(config.to_json()) == config
    values = json.loads(PRESETS["tiny"].to_json())
    del values["family"]
    assert TrainConfig.from_json(json.dumps(values)) == PRESETS["tiny"]
    assert [default_preset(f) for f in TINY] == ["base", "titok-small", "patch-vq-small"]


def test_small_presets_compare_at_one_rate_and_cost():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from tok1d_codec.train.families import trainee

    giga_flops = {}
    for name in ("titok-small", "patch-vq-small", "simple-1d"):
        with torch.device("meta"), torch.no_grad():
            model, tiles = trainee(PRESETS[name], "meta").model, torch.rand(1, 3, 256, 256)
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
                model.pixels(model.latents(tiles))
        giga_flops[name] = round(count.get_total_flops() / 1e9, 1)
    assert giga_flops == {"titok-small": 8.1, "patch-vq-small": 8.2, "simple-1d": 10.6}
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as count:
        model = trainee(PRESETS["base"], "meta").model
        z = model.encoder(model.encoder.coefficients(torch.rand(1, 3, 256, 256)))
        depth = torch.zeros(1, 1, 8, 8, dtype=torch.int64)
        model.decoder.pixels(*model.decoder.features(z, depth), depth)
    assert round(count.get_total_flops() / 1e9, 1) == 8.6


def test_the_command_trains_a_family_and_refuses_what_does_not_fit(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("T1D_DATA_DIR", raising=False)
    command = ["train", "tokenizer", "--data", str(folder), "--device", "cpu", "--minutes", "0.01"]
    assert main([*command, "--out", str(tmp_path / "a"), "--quantizer", "fsq"]) == 2
    assert main([*command, "--out", str(tmp_path / "a"), "--family", "titok", "--preset", "tiny"]) == 2
    assert "known: titok-small, titok-tiny" in capsys.readouterr().err
    out = tmp_path / "run"
    options = ["--family", "patch-vq", "--preset", "patch-vq-tiny", "--quantizer", "lfq"]
    assert main([*command, "--out", str(out), *options]) == 0
    assert RunFolder(out).records()[-1]["validation"]["tokens"] == [16]
    assert RunFolder(out).planned().model.quantizer == "lfq"
    assert (out / "progress.png").exists() and load_tokenizer(out / "model.safetensors").config.code_dim == 6
