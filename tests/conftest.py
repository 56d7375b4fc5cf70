"""A tiny random model, so that the path of a picture is tested without the bundled weights."""

from __future__ import annotations

import hashlib

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
    from tok1d_codec.train.presets import preset

    config = preset("tiny").model
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
        licence="none", trained="never",
    )  # fmt: skip
    return Model(card, tokenizer.eval().requires_grad_(False), tables)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph that scikit-image ships, uint8 (96, 160, 3)."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:96, 150:310])
