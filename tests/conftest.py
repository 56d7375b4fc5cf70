"""A tiny random model, so that the path of a picture is tested without the bundled weights."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny_model():
    """`Model` with three levels of tokens, random weights and uneven static tables."""
    import torch

    from tok1d_codec.models.cards import ModelCard
    from tok1d_codec.models.store import Model
    from tok1d_codec.prior.static import StaticTables, table_from_hits
    from tok1d_codec.tokenizer.t1d import T1DTokenizer
    from tok1d_codec.train.presets import PRESETS

    config = PRESETS["tiny"].model
    torch.manual_seed(0)
    tokenizer = T1DTokenizer(config)
    with torch.no_grad():
        for parameter in tokenizer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        for level in range(len(config.strides)):
            tokenizer.quantizer.codebook(level).normal_(std=1.0 / (level + 1))
        tokenizer.encoder.basis.normal_(std=0.05)
    rng = np.random.default_rng(0)
    tables = StaticTables([table_from_hits(rng.integers(1, 1000, n) ** 2) for n in config.codebook_sizes])
    card = ModelCard(
        id=200, name="tiny", family="t1d", file="tiny.safetensors", sha256=hashlib.sha256(b"tiny").hexdigest(),
        patch=config.patch, strides=config.strides, codebook_sizes=config.codebook_sizes,
        licence="none", trained="never", urgency_range=(0.35, 0.006),
    )  # fmt: skip
    return Model(card, tokenizer.eval().requires_grad_(False), tables)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph that scikit-image ships, uint8 (96, 160, 3)."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:96, 150:310])


@pytest.fixture
def to_train_from(tmp_path, tiny_model):
    """A folder of six photographs, two of them named to be held out; the weight file of `tiny_model`, with a static table."""
    import torch
    from PIL import Image
    from safetensors.torch import save_file
    from skimage.data import astronaut

    for i in range(6):
        folder = tmp_path / "photos" / ("val" if i > 3 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(astronaut()[30 * i : 30 * i + 256, 20 * i : 20 * i + 280]).save(folder / f"{i}.png")
    weights = {k: v.contiguous() for k, v in tiny_model.tokenizer.state_dict().items()}
    metadata = {"family": "t1d", "config": tiny_model.tokenizer.config.to_json()}
    save_file(weights | {"tables.0": torch.zeros(16)}, tmp_path / "tiny.safetensors", metadata=metadata)
    return tmp_path / "photos", tmp_path / "tiny.safetensors"


@pytest.fixture
def tiny_release(tmp_path, monkeypatch):
    """A checkpoint of titok-l32, as if that had been released with tiny networks. No model is imported."""
    from dataclasses import replace

    import torch
    from safetensors.torch import save_file

    from tok1d_codec.models import released
    from tok1d_codec.tokenizer.titok import TiTokTokenizer

    monkeypatch.setenv("T1D_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(released.VIT_SIZES, "small", (32, 1, 2))
    values = {
        "codebook_size": 4096, "token_size": 12, "use_l2_norm": True, "num_latent_tokens": 32,
        "vit_enc_model_size": "small", "vit_dec_model_size": "small", "vit_enc_patch_size": 16,
        "vit_dec_patch_size": 16, "finetune_decoder": False, "is_legacy": False,
    }  # fmt: skip
    settings = {"model": {"vq_model": values}, "dataset": {"preprocessing": {"crop_size": 256}}}
    config = released.read_titok_config(settings)
    torch.manual_seed(0)
    weights = TiTokTokenizer(config).state_dict()
    row = released.RELEASED["titok-l32"]
    count = sum(tensor.numel() for tensor in weights.values())
    monkeypatch.setitem(released.RELEASED, "titok-l32", replace(row, config=config, parameters=count))
    folder = tmp_path / "tokenizer_titok_l32"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(settings))
    save_file(weights, folder / "model.safetensors")
    return folder
