"""Models put together from others."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tok1d_codec.cli import main
from tok1d_codec.models.cards import card_by_name
from tok1d_codec.models.store import load_tokenizer, weight_path


@pytest.fixture
def pair(tmp_path, tiny_model):
    """Weight files a and b, which differ in one tensor of the decoder; that tensor's name."""
    tensors = {name: value.contiguous() for name, value in tiny_model.tokenizer.state_dict().items()}
    name = next(k for k in tensors if k.startswith("decoder.") and k.endswith("weight"))
    said = {"family": "t1d", "config": tiny_model.tokenizer.config.to_json()}
    for folder, value in (("a", tensors[name]), ("b", tensors[name] + 1)):
        (tmp_path / folder).mkdir()
        save_file({k: v.half() if k == name else v for k, v in (tensors | {name: value}).items()},
                  tmp_path / folder / "model.safetensors", said)  # fmt: skip
    return tmp_path, name


def test_decoders_are_mixed(pair, capsys):
    folder, name = pair
    a, b, out = (str(folder / x) for x in ("a/model.safetensors", "b/model.safetensors", "mix.safetensors"))
    command = ["train", "average", a, b, "--out", out]
    assert main([*command, "--share", "0.25"]) == 0 and "MB" in capsys.readouterr().out
    found, first = load_file(out), load_file(a)
    assert found[name].dtype == torch.float16
    assert torch.allclose(found[name].float(), first[name].float() + 0.25, atol=2e-3)
    assert found.keys() == first.keys() and all(torch.equal(found[k], first[k]) for k in found if k != name)
    assert main([*command, "--share", "0.5"]) == 4 and main([*command, "--share", "1.5"]) == 2
    assert torch.equal(load_file(out)[name], found[name])


def test_models_of_other_tokens_are_not_mixed(pair, tiny_model, capsys):
    folder, _ = pair
    path = folder / "b" / "model.safetensors"
    tensors = load_file(path)
    code = next(k for k in tensors if k.startswith("quantizer."))
    save_file(tensors | {code: tensors[code] + 1}, path, {"family": "t1d", "config": tiny_model.tokenizer.config.to_json()})
    assert main(["train", "average", str(folder / "a/model.safetensors"), str(path), "--share", "1", "--out", "x"]) == 21
    assert "more than their decoders" in capsys.readouterr().err


def test_a_model_that_reads_from_another_is_mixed_too(tmp_path):
    path = tmp_path / "mixed.safetensors"
    assert main(["train", "average", "t1d-11", "t1d-12", "--share", "0.5", "--out", str(path)]) == 0
    mixed, a, b = (load_tokenizer(p).state_dict() for p in (path, *(weight_path(card_by_name(f"t1d-{n}")) for n in (11, 12))))
    assert mixed.keys() == a.keys() == b.keys()
    assert all(torch.allclose(mixed[k], (a[k] + b[k]) / 2, atol=1e-2) for k in mixed if k.startswith("decoder."))
    with safe_open(path, "pt") as file:
        assert not any(k.startswith("quantizer.codebook6") for k in file.keys()) and "base" not in file.metadata()
