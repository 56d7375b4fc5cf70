"""A small training run: it learns, it can be killed and resumed, several processes agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tok1d_codec.cli import main
from tok1d_codec.codec import decode, encode
from tok1d_codec.data.crops import centre_crops, random_crops, to_signed
from tok1d_codec.data.shards import hold_out, list_sources, load_pictures, split_sources
from tok1d_codec.errors import MissingData
from tok1d_codec.models.cards import ModelCard
from tok1d_codec.models.store import Model, load_tokenizer
from tok1d_codec.prior.static import StaticTables
from tok1d_codec.train.loop import Hardware, Trainer
from tok1d_codec.train.presets import PRESETS
from tok1d_codec.train.state import RunFolder
from tok1d_codec.train.validate import Validation


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Training pictures as a tar and held-out ones beside it, cut from scikit-image's photographs."""
    from skimage.data import astronaut, coffee

    root = tmp_path_factory.mktemp("photos")
    for name, pixels in (("train", astronaut()), ("val", coffee())):
        (root / name).mkdir()
        for i in range(4):
            Image.fromarray(pixels[64 * i : 64 * i + 160, 80 * i : 80 * i + 180]).save(root / name / f"{i}.png")
        with tarfile.open(root / f"{name}-000.tar", "w") as tar:
            tar.add(root / name, arcname=".")
    return root


@pytest.fixture
def trainer(folder, tmp_path) -> Trainer:
    """A trainer of the tiny preset that has been started but not run."""
    config = replace(PRESETS["tiny"], minutes=100.0, coefficient_share=0.01)
    pictures = load_pictures([folder / "train-000.tar"], tmp_path / "train.u8", config.crop)
    validation = Validation(centre_crops(pictures, 2, config.crop))
    trainer = Trainer(config, pictures, validation, RunFolder(tmp_path), Hardware(), None)
    trainer.start()
    return trainer


def test_tars_and_folders_hold_the_same_pictures(folder, tmp_path):
    files = list_sources([str(folder / "train")])
    from_tar = load_pictures([folder / "train-000.tar"], tmp_path / "a.u8", 128)
    from_folder = load_pictures(files, tmp_path / "b.u8", 128)
    assert len(from_tar) == len(from_folder) == 4
    for i in range(4):
        assert np.array_equal(from_tar[i], from_folder[i]) and from_tar[i].shape == (160, 180, 3)
    enlarged = load_pictures(files, tmp_path / "c.u8", 200)
    assert enlarged[0].shape == (200, 225, 3)


def test_sources_that_are_not_there(folder, tmp_path):
    with pytest.raises(MissingData, match="no such file"):
        list_sources([str(tmp_path / "nothing")])
    (tmp_path / "bad.tar").write_bytes(b"not a tar file")
    with pytest.raises(MissingData, match="bad.tar"):
        load_pictures([tmp_path / "bad.tar"], tmp_path / "a.u8", 128)
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(MissingData, match="no picture in 1 files"):
        load_pictures([tmp_path / "bad.png"], tmp_path / "a.u8", 128)
    assert {path.name for path in tmp_path.iterdir()} == {"bad.tar", "bad.png"}


def test_a_cache_serves_only_the_files_that_it_was_made_from(folder, tmp_path):
    files = list_sources([str(folder / "train")])
    load_pictures(files, tmp_path / "a.u8", 128)
    made = (tmp_path / "a.u8").stat().st_mtime_ns
    assert len(load_pictures(files, tmp_path / "a.u8", 128)) == 4
    assert (tmp_path / "a.u8").stat().st_mtime_ns == made
    assert len(load_pictures(files[:2], tmp_path / "a.u8", 128)) == 2


def test_a_cache_made_anew_leaves_those_alone_who_read_the_old_one(folder, tmp_path):
    files = list_sources([str(folder / "train")])
    old = load_pictures(files, tmp_path / "a.u8", 128)
    before = [old[i].copy() for i in range(len(old))]
    load_pictures(files[::-1], tmp_path / "a.u8", 128)
    assert all((old[i] == picture).all() for i, picture in enumerate(before))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.u8"]


def test_what_is_held_out(folder):
    train, held = hold_out(list_sources([str(folder)]))
    assert {f.name for f in held} == {"val-000.tar", *(f"{i}.png" for i in range(4))}
    assert all("train" in str(f) for f in train) and len(train) == 5
    numbered = [Path(f"{i:03}.png") for i in range(120)]
    train, held = hold_out(numbered)
    assert held == [Path("049.png"), Path("099.png")] and len(train) == 118
    deep = [Path(f"/val/{part}/{i}/a.png") for part in ("train", "val") for i in range(3)]  # all lie in the first `val`
    assert hold_out(deep) == (deep[:3], deep[3:])


def test_what_is_held_out_by_name_is_not_trained_on_by_another(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    train, held = split_sources([str(folder.resolve())], [f"{folder.name}/train"])
    assert held and not {f.resolve() for f in train} & {f.resolve() for f in held}


def test_crops_are_pieces_of_the_pictures(folder, tmp_path):
    pictures = load_pictures(list_sources([str(folder / "train")]), tmp_path / "a.u8", 128)
    crops = random_crops(pictures, 3, 128, np.random.default_rng(0))
    assert crops.shape == (3, 3, 128, 128) and -1 <= crops.min() < crops.max() <= 1
    centre = to_signed(centre_crops(pictures, 9, 128))
    assert centre.shape == (4, 3, 128, 128)
    assert torch.equal(centre[0], to_signed(torch.from_numpy(pictures[0][16:144, 26:154].copy())[None])[0])


def test_both_stages_lower_their_loss(trainer):
    torch.nn.init.normal_(trainer.model.decoder.coefficient_head.bias)  # something that it has to unlearn
    first = [trainer.train_step()["mse"] for _ in range(100)]
    assert "alex" not in trainer.train_step()
    assert np.mean(first[-5:]) < 0.8 * np.mean(first[:5])
    trainer.minutes = 20.0  # well into the second stage, before the discriminator
    second = [trainer.train_step() for _ in range(80)]
    assert "discriminator" not in second[0]
    assert np.mean([p["alex"] for p in second[-16:]]) < 0.97 * np.mean([p["alex"] for p in second[:16]])
    trainer.minutes = 60.0
    assert 0 < trainer.train_step()["discriminator"] < 3


def test_a_frozen_encoder_stands_still(trainer):
    trainer.minutes = 90.0
    trainer.optimizer.param_groups[0]["weight_decay"] = 0.0
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer.train_step()
    for name, value in trainer.model.state_dict().items():
        if name.startswith(("encoder.", "quantizer.")):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(trainer.model.decoder.head.out.bias, before["decoder.head.out.bias"])


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(trainer, folder, tmp_path):
    trainer.minutes = 60.0
    for _ in range(3):
        trainer.train_step()
    trainer.save()
    expected = [trainer.train_step() for _ in range(3)]
    again = Trainer(
        trainer.config, trainer.pictures, trainer.validation, trainer.run, Hardware(), None, seed=7
    )
    again.resume()
    assert again.minutes == 60.0
    for before, after in zip(expected, [again.train_step() for _ in range(3)]):
        assert after == pytest.approx(before, rel=1e-3)


def test_the_command_trains_exports_and_resumes(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("T1D_DATA_DIR", raising=False)
    out = tmp_path / "run"
    command = ["train", "tokenizer", "--data", str(folder), "--out", str(out), "--preset", "tiny", "--device", "cpu"]
    assert main([*command, "--resume"]) == MissingData.exit_code
    assert main([*command, "--minutes", "0.05"]) == 0
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    figures = records[-1]["validation"]
    assert figures["levels"] == [1, 2, 3] and len(figures["usage"]) == 3
    assert all(0 < u <= 1 for u in figures["usage"]) and all(5 < p < 40 for p in figures["psnr"])
    assert (out / "progress.png").stat().st_size > 1000
    assert Image.open(next(out.glob("examples-*.png"))).size == (4 * 128, 4 * 128)
    assert main(command) == 4  # it would overwrite the run
    broken = (out / "checkpoint.pt").read_bytes()
    for length in (0, 1000):
        (out / "checkpoint.pt").write_bytes(broken[:length])
        assert main([*command, "--resume"]) == MissingData.exit_code
    (out / "checkpoint.pt").write_bytes(broken)
    prior = ["train", "prior", "--out", str(out), "--resume"]
    capsys.readouterr()
    assert main(prior) == MissingData.exit_code and "of another command" in capsys.readouterr().err
    other = ["train", "tokenizer", "--data", str(folder), "--out", str(out), "--family", "titok", "--resume"]
    assert main(other) == 2 and "trains t1d" in capsys.readouterr().err
    assert main([*command, "--minutes", "0.08", "--resume"]) == 0
    assert "model.safetensors" in capsys.readouterr().out and len(list(out.glob("model-*.safetensors"))) == 1
    later = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert later[: len(records)] == records and later[-1]["step"] > records[-1]["step"]


def test_what_is_exported_encodes_and_decodes(folder, tmp_path, photo):
    from tok1d_codec.train.run import run_training

    file = run_training([str(folder)], [], tmp_path / "run", "tiny", 0.02, device="cpu")
    from safetensors import safe_open

    with safe_open(file, framework="np") as stored:
        tables = StaticTables([stored.get_tensor(f"tables.{i}") for i in range(3)])
    config = PRESETS["tiny"].model
    card = ModelCard(201, "new", "t1d", file.name, "ab" * 32, config.patch, config.strides,
                     config.codebook_sizes, "none", "just now", (0.35, 0.006))  # fmt: skip
    model = Model(card, load_tokenizer(file), tables)
    data = encode(photo, model)
    assert decode(data, model).shape == photo.shape


def test_two_processes_keep_the_same_weights(folder, tmp_path):
    """Two gloo processes on different data: after training, one set of weights and one folder."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys, torch\n"
        "from tok1d_codec.train import loop\n"
        "train = loop.Trainer.train\n"
        "def checked(self):\n"
        "    train(self)\n"
        "    state = {**self.model.state_dict(), **self.losses.discriminator.state_dict()}\n"
        "    for name, value in state.items():\n"
        "        least, most = value.double().clone(), value.double().clone()\n"
        "        torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)\n"
        "        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)\n"
        "        assert torch.equal(least, most), name\n"
        "    print(f'processes agree {self.hardware.world}', flush=True)\n"
        "loop.Trainer.train = checked\n"
        "from tok1d_codec.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script),
        "train", "tokenizer", "--data", str(folder), "--preset", "tiny", "--minutes", "0.03", "--device", "cpu", "--out",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    for name in ("run", "again"):  # once in CI a worker aborted, why was not found; twice in a row is a defect
        out = tmp_path / name
        run = subprocess.run([*command, str(out)], capture_output=True, text=True, timeout=300, env=env)
        if "SIGABRT" not in run.stderr:
            break
    said = "\n".join(line for line in run.stderr.splitlines() if "min/" not in line and "|" not in line)
    assert run.returncode == 0, f"{run.stdout}\n{said}"
    assert run.stdout.count("processes agree 2") == 2
    assert (out / "model.safetensors").exists()


def test_the_decoder_alone_learns_and_tokens_stay(folder, tmp_path, monkeypatch):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    command = ["train", "tokenizer", "--data", str(folder), "--preset", "tiny", "--device", "cpu", "--minutes", "0.02"]
    assert main([*command, "--out", str(tmp_path / "first")]) == 0
    first, tensors = tmp_path / "first.safetensors", load_file(tmp_path / "first" / "model.safetensors")
    with safe_open(tmp_path / "first" / "model.safetensors", framework="pt") as file:
        save_file(tensors | {"prior.exp": torch.ones(3)}, first, metadata=file.metadata())
    assert main([*command, "--out", str(tmp_path / "second"), "--decoder-only"]) == 2
    assert main([*command, "--out", str(tmp_path / "second"), "--decoder-only", "--init", str(first)]) == 0
    resumed = ["--resume", "--minutes", "0.03"]
    assert main([*command[:-2], *resumed, "--out", str(tmp_path / "second")]) == 0
    second = load_file(tmp_path / "second" / "model.safetensors")
    assert torch.equal(second["prior.exp"], torch.ones(3)) and not any(k.startswith("tables.") for k in second)
    kept = {k for k in second if k.startswith(("encoder.", "quantizer."))}
    assert kept and all(torch.equal(second[k], tensors[k]) for k in kept)
    assert not torch.equal(second["decoder.head.out.weight"], tensors["decoder.head.out.weight"])
    plain = tmp_path / "first" / "model.safetensors"  # it has static tables, and no prior to keep
    deeper = replace(PRESETS["tiny"].model, decoder_layers=2)
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], model=deeper))
    assert main([*command, "--out", str(tmp_path / "third"), "--decoder-only", "--init", str(plain)]) == 0
    third = load_file(tmp_path / "third" / "model.safetensors")
    assert "tables.0" in third and third["decoder.blocks.1.mlp.2.weight"].any()
