"""Import of a released checkpoint: what fits is stored whole, what does not is named, nothing is executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tok1d_codec.errors import BadCheckpoint, MissingData, OutputExists, UnknownModel, WrongWeights
from tok1d_codec.models.checkpoints import read_yaml
from tok1d_codec.models.fetch import fetch
from tok1d_codec.models.imported import import_titok, imported_card, load_imported, model_folder, read_record
from tok1d_codec.models.released import RELEASED, read_titok_config

NAME = "titok-l32"
YAML = """
experiment:
    tokenizer_checkpoint: "tokenizer_titok_l32.bin"  # a comment
model:
    vq_model:
        codebook_size: 4096
        token_size: 12
        use_l2_norm: True
        # vit arch
        vit_enc_model_size: "small"
        vit_dec_model_size: 'small'
        vit_enc_patch_size: 16
        vit_dec_patch_size: 16
        num_latent_tokens: 32
        finetune_decoder: False
        is_legacy: False
        some_list:
          - 1

optimizer:
    learning_rate: 1e-4
"""


@pytest.fixture
def weights(tiny_release):
    return load_file(tiny_release / "model.safetensors")


def files() -> list[str]:
    """What is in the folder of the user's models."""
    return sorted(os.listdir(model_folder())) if model_folder().is_dir() else []


def test_a_folder_is_imported_and_runs(tiny_release, weights):
    assert read_record(NAME) is None
    path = import_titok(NAME, tiny_release)
    assert path == tiny_release.parent / "home" / "titok-l32.safetensors" and path.is_file()
    assert files() == ["titok-l32.json", "titok-l32.safetensors"]
    record = read_record(NAME)
    assert record["parameters"] == RELEASED[NAME].parameters and record["licence"] == "Apache-2.0"
    card = imported_card(NAME)
    assert (card.id, card.family, card.sha256) == (64, "titok", record["sha256"])
    model = load_imported(NAME, "cpu")
    assert model.card == card and model.prior.codebook_sizes == (4096,)
    for key, tensor in model.tokenizer.state_dict().items():
        assert torch.equal(tensor, weights[key])

    with pytest.raises(OutputExists, match="imported before"):
        import_titok(NAME, tiny_release)
    import_titok(NAME, tiny_release, force=True)
    assert imported_card(NAME) == card


@pytest.mark.parametrize("settings", ["tokenizer_titok_l32.yaml", "titok_l32.yaml", "config.json", None])
def test_a_bin_gives_the_same_model(tiny_release, weights, tmp_path, settings):
    import_titok(NAME, tiny_release)
    expected = imported_card(NAME)
    path = tmp_path / "tokenizer_titok_l32.bin"
    torch.save(weights, path)
    if settings:
        text = (tiny_release / "config.json").read_text() if settings == "config.json" else YAML
        (tmp_path / settings).write_text(text)
    import_titok(NAME, path, force=True)
    assert imported_card(NAME) == expected


def test_what_is_missing_extra_or_of_another_shape_is_named(tiny_release, weights):
    del weights["encoder.ln_pre.bias"]
    for i in range(5):
        weights[f"ema.{i}"] = torch.zeros(1)
    weights["latent_tokens"] = torch.zeros(32, 31)
    weights["decoder.ln_pre.bias"] = torch.zeros(32, dtype=torch.int64)
    save_file(weights, tiny_release / "model.safetensors")
    with pytest.raises(BadCheckpoint) as caught:
        import_titok(NAME, tiny_release)
    for words in ("1 missing (encoder.ln_pre.bias)", "5 extra (ema.0, ema.1, ema.2, ...)",
                  "1 of another shape (latent_tokens (32, 31), not (32, 32))",
                  "1 not floats (decoder.ln_pre.bias)"):  # fmt: skip
        assert words in str(caught.value)
    assert "\n" not in str(caught.value) and files() == []


class Evil:
    def __reduce__(self):
        return open, (os.environ["EVIL_FILE"], "w")


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_bin_that_would_run_code_is_refused(tiny_release, weights, tmp_path, monkeypatch, write):
    trace = tmp_path / "executed"
    monkeypatch.setenv("EVIL_FILE", str(trace))
    write(weights | {"latent_tokens": Evil()}, tmp_path / "evil.bin")
    with pytest.raises(BadCheckpoint, match="nothing in it was executed"):
        import_titok(NAME, tmp_path / "evil.bin")
    assert not trace.exists() and files() == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x02}.", b"text"])
@pytest.mark.parametrize("file", ["a.bin", "model.safetensors"])
def test_damaged_files_are_refused(tiny_release, file, content):
    path = tiny_release / file
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint):
        import_titok(NAME, path)


def test_other_kinds_are_refused_by_name_settings_or_keys(tiny_release, weights, tmp_path):
    for name, said in (("titok-bl64-vae-c16", "continuous"), ("tatitok-bl32-vq", "caption")):
        with pytest.raises(BadCheckpoint, match=said):
            import_titok(name, tiny_release)
    with pytest.raises(UnknownModel, match="titok-s128"):
        import_titok("titok-x", tiny_release)
    with pytest.raises(BadCheckpoint, match="another model than titok-s128"):
        import_titok("titok-s128", tiny_release)

    settings = json.loads((tiny_release / "config.json").read_text())
    for key, value, said in (
        ("quantize_mode", "vae", "continuous"), ("quantize_mode", "fsq", "only vq"),
        ("text_embed_dim", 768, "caption"), ("vit_enc_patch_size", 8, "vit_enc_patch_size 8"),
        ("finetune_decoder", True, "finetune_decoder"), ("vit_dec_model_size", "giant", "giant"),
        ("token_size", "many", "many"),
    ):  # fmt: skip
        with pytest.raises(BadCheckpoint, match=said):
            read_titok_config({"model": {"vq_model": settings["model"]["vq_model"] | {key: value}}})
    with pytest.raises(BadCheckpoint, match="num_latent_tokens"):
        del settings["model"]["vq_model"]["num_latent_tokens"]
        read_titok_config(settings)
    torch.save(weights | {"decoder.text_guidance_proj.weight": torch.zeros(1)}, tmp_path / "a.bin")
    with pytest.raises(BadCheckpoint, match="caption"):
        import_titok(NAME, tmp_path / "a.bin")


def test_defaults_of_absent_settings_are_those_of_the_first_models():
    values = read_yaml(YAML)
    for key in ("finetune_decoder", "is_legacy"):
        del values["model"]["vq_model"][key]
    values["model"]["vq_model"] |= {"vit_enc_model_size": "large", "vit_dec_model_size": "large"}
    assert read_titok_config(values) == RELEASED[NAME].config
    assert values["optimizer"]["learning_rate"] == 1e-4
    assert values["experiment"]["tokenizer_checkpoint"] == "tokenizer_titok_l32.bin"


def test_missing_files(tiny_release):
    with pytest.raises(MissingData, match="no file"):
        import_titok(NAME, tiny_release / "none")
    with pytest.raises(BadCheckpoint, match="no checkpoint"):
        import_titok(NAME, tiny_release / "config.json")
    (tiny_release / "config.json").unlink()
    with pytest.raises(MissingData, match="config.json"):
        import_titok(NAME, tiny_release)
    with pytest.raises(MissingData, match="t1d models fetch titok-l32"):
        load_imported(NAME, "cpu")
    assert imported_card(NAME).token_shapes(300, 40) == [(2, 32)]  # known without the weights


def test_an_interrupted_import_leaves_nothing(tiny_release, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(os, "fsync", fail)
        import_titok(NAME, tiny_release)
    assert files() == [] and read_record(NAME) is None
    import_titok(NAME, tiny_release)
    before = read_record(NAME)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(os, "fsync", fail)
        import_titok(NAME, tiny_release, force=True)
    assert before and read_record(NAME) == before


def test_a_stored_file_that_changed_is_not_run(tiny_release):
    path = import_titok(NAME, tiny_release)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WrongWeights, match="import titok-l32 again"):
        load_imported(NAME, "cpu")
    path.write_bytes(data[:-1])
    assert read_record(NAME) is None


def test_the_folder_is_the_users_own_unless_named(monkeypatch):
    import platformdirs

    monkeypatch.delenv("T1D_HOME", raising=False)
    assert model_folder() == Path(platformdirs.user_data_dir("t1d"))


def test_fetch_downloads_and_imports(tiny_release, tmp_path, monkeypatch):
    asked = []

    def download(repo_id: str, filename: str) -> str:
        asked.append((repo_id, filename))
        (tmp_path / "hub").mkdir(exist_ok=True)
        return shutil.copy(tiny_release / filename, tmp_path / "hub")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    assert fetch(NAME).is_file() and read_record(NAME)
    repository = "yucornetto/tokenizer_titok_l32_imagenet"
    assert asked == [(repository, "config.json"), (repository, "model.safetensors")]
    with pytest.raises(OutputExists):
        fetch(NAME)
    assert len(asked) == 2  # nothing is fetched for it


def test_fetch_says_what_to_do_without_the_package_or_the_network(tiny_release, monkeypatch):
    def download(**_):
        raise ConnectionError("no route\nto host")

    for module, said in (
        (None, "not installed; pip install huggingface_hub, or download config.json"),
        (SimpleNamespace(hf_hub_download=download), r"\(no route to host\); when offline, download"),
    ):
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        with pytest.raises(MissingData, match=said) as caught:
            fetch(NAME)
        assert "t1d models import titok-l32 FOLDER" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_fetched(tiny_release, monkeypatch):
    hub = SimpleNamespace(hf_hub_download=lambda **_: pytest.fail("fetched"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setattr(os, "access", lambda path, mode: path != model_folder())  # who runs the tests may be root
    for import_it in (fetch, lambda name: import_titok(name, tiny_release)):
        with pytest.raises(PermissionError):
            import_it(NAME)
        assert files() == []
