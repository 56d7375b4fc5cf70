"""A model of one's own: its weight file instead of a name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tok1d_codec
from bitstream.container import unpack
from tok1d_codec.cli import main
from tok1d_codec.errors import MissingData, UnknownModel, WrongWeights
from tok1d_codec.models.cards import OWN_ID, card_by_name
from tok1d_codec.models.store import load_model
from tok1d_codec.prior.integer import PREFIX
from tok1d_codec.prior.network import PriorNetwork, PriorShape

FILE = sorted((Path(__file__).parent / "golden").glob("*.t1d"))[0]


@pytest.fixture
def weights(tmp_path, tiny_model):
    """`tiny_model` as training leaves it: run/model.safetensors."""
    tensors = {name: value.contiguous() for name, value in tiny_model.tokenizer.state_dict().items()}
    tensors |= {f"tables.{i}": torch.from_numpy(table).int() for i, table in enumerate(tiny_model.prior._tables)}
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "model.safetensors"
    save_file(tensors, path, {"family": "t1d", "config": tiny_model.tokenizer.config.to_json()})
    return path


def test_there_and_back_by_command(weights, tmp_path, photo, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("in.png")
    own = ["--model", "run/model.safetensors"]
    assert main(["encode", "in.png", "out.t1d", *own, "--levels", "2"]) == 0
    data = (tmp_path / "out.t1d").read_bytes()
    assert unpack(data).header.model_id == OWN_ID
    for command in (["decode", "out.t1d", "rec.png"], ["info", "out.t1d"]):
        assert main(command) == 20 and "name its weight file with --model" in capsys.readouterr().err
        assert main([*command, *own]) == 0
    assert "run" in capsys.readouterr().out
    with Image.open("rec.png") as image:
        assert image.size == (160, 96)
    assert main(["decode", "out.t1d", "other.png", "--model", "t1d"]) == 21 and not (tmp_path / "other.png").exists()
    assert "name the weight file that wrote it" in capsys.readouterr().err
    Path("bundled.t1d").write_bytes(FILE.read_bytes())
    assert main(["decode", "out.t1d", "bundled.t1d", "-o", "both", *own]) == 0  # each with the model that it names
    assert main(["info", "bundled.t1d", *own]) == 0 and json.loads(FILE.with_suffix(".json").read_text())["card"]["name"] in (
        capsys.readouterr().out
    )


def test_files_of_python_are_tied_to_the_very_weights(weights, tiny_model, photo, tmp_path):
    model = load_model(str(weights), "cpu")
    assert model.card.name == "run" and model.card.codebook_sizes == tiny_model.card.codebook_sizes
    data = tok1d_codec.encode(photo, str(weights), levels=3)
    assert data == tok1d_codec.encode(photo, model, levels=3) == tok1d_codec.encode(photo, weights, levels=3)
    assert np.array_equal(tok1d_codec.decode(data, str(weights)), tok1d_codec.decode(data, model))
    assert tok1d_codec.info(data, str(weights))["checksum"] == "ok"
    with pytest.raises(UnknownModel):
        tok1d_codec.decode(data)
    tensors = {k: v.contiguous().clone() for k, v in model.tokenizer.state_dict().items()}
    tensors |= {f"tables.{i}": torch.from_numpy(table).int() for i, table in enumerate(model.prior._tables)}
    tensors["decoder.embed.bias"] += 0.1
    other = tmp_path / "other.safetensors"
    save_file(tensors, other, {"family": "t1d", "config": model.tokenizer.config.to_json()})
    with pytest.raises(WrongWeights, match="name the weight file that wrote it"):
        tok1d_codec.decode(data, str(other))


def test_the_card_of_a_bundled_weight_file_says_what_its_own_card_says():
    from tok1d_codec.models.store import weight_path

    card = card_by_name("t1d")
    own = card_by_name(str(weight_path(card)))
    for field in ("sha256", "patch", "strides", "codebook_sizes", "family", "urgency_range", "name"):
        assert getattr(own, field) == getattr(card, field), field


def test_what_is_no_model_is_refused(weights, tmp_path):
    with pytest.raises(MissingData, match="no weight file"):
        card_by_name(str(tmp_path / "nothing.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(WrongWeights, match="no safetensors file"):
        card_by_name(str(tmp_path / "bad.safetensors"))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"family": "titok", "config": "{}"})
    with pytest.raises(WrongWeights, match="no model of the family t1d"):
        card_by_name(str(tmp_path / "other.safetensors"))
    model = load_model(str(weights), "cpu")
    bare = tmp_path / "bare.safetensors"
    tensors = {k: v.contiguous() for k, v in model.tokenizer.state_dict().items()}
    save_file(tensors, bare, {"family": "t1d", "config": model.tokenizer.config.to_json()})
    with pytest.raises(WrongWeights, match="no prior yet; train one with t1d train prior"):
        card_by_name(str(bare))
    config = model.tokenizer.config
    for text, said in (
        (json.dumps({**asdict(config), "news": 1}), "another release"), ("{", "another release"),
        ("[]", "another release"), ("[" * 100_000, "another release"), ('{"strides": ["a"]}', "another release"),
        ('{"heads": 0}', "another release"),
        (replace(config, codebook_sizes=(4,) * 16, strides=(1,) * 16).to_json(), "16 levels; a file holds 15"),
    ):  # fmt: skip
        save_file(tensors, bare, {"family": "t1d", "config": text})
        with pytest.raises(WrongWeights, match=said):
            card_by_name(str(bare))
    tables = {f"tables.{i}": torch.from_numpy(table).int() for i, table in enumerate(model.prior._tables)}
    save_file({k: v for k, v in (tensors | tables).items() if k != "encoder.embed.bias"}, bare,
              {"family": "t1d", "config": config.to_json()})  # fmt: skip
    with pytest.raises(WrongWeights, match="encoder.embed.bias"):
        load_model(str(bare), "cpu")


def test_what_does_not_fit_its_configuration_is_refused(weights, tmp_path):
    tensors, path = load_file(weights), tmp_path / "wrong.safetensors"
    with safe_open(weights, framework="np") as file:
        metadata = file.metadata()
    shape = PriorShape(features=8, near=4, hidden=8, blocks=1, code=8)
    other = PriorNetwork((16, 32, 16), (2, 1, 1), shape).to_arrays()
    for change, more, said in (
        ({"encoder.embed.bias": torch.zeros(3)}, {}, "lacks encoder.embed.bias, or has another shape"),
        ({"tables.0": tensors["tables.0"] + 1}, {}, "must have the sum"),
        ({"tables.0": tensors["tables.0"].float()}, {}, "must be integers"),
        ({"tables.1": tensors["tables.1"][None]}, {}, "counts have shape"),
        ({PREFIX + k: torch.from_numpy(v) for k, v in other.items()}, {}, r"the model \(16, 32, 32\)"),
        ({}, {"base": str(path)}, "only a bundled model is a base"),
    ):  # fmt: skip
        save_file(tensors | change, path, metadata | more)
        with pytest.raises(WrongWeights, match=said):
            load_model(str(path), "cpu")
