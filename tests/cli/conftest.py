"""A tiny model `t1d` that is a PCA transform coder of one photograph, installed like any other."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file

from bitstream.counts import total
from tok1d_codec.cli import main
from tok1d_codec.config import TokenizerConfig
from tok1d_codec.models import cards, store
from tok1d_codec.tokenizer.t1d import T1DTokenizer

CONFIG = TokenizerConfig(
    patch=16, components=32, width=16, heads=2, encoder_layers=1, decoder_layers=1, radius=1, code_dim=16,
    codebook_sizes=(64, 32, 32, 16, 16), strides=(2, 1, 1, 1, 1), head_channels=(16, 8), head_blocks=(1, 1),
)  # fmt: skip


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Folder of the weight file, and its card."""
    torch.manual_seed(0)
    tokenizer = T1DTokenizer(CONFIG)
    photo = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None] / 127.5 - 1
    tokenizer.start_from(photo)
    tensors = {name: value.contiguous() for name, value in tokenizer.state_dict().items()}
    for level, size in enumerate(CONFIG.codebook_sizes):
        table = np.full(size, total(size) // size)
        table[0] += total(size) - table.sum()
        tensors[f"tables.{level}"] = torch.from_numpy(table).int()
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_file(tensors, path, metadata={"family": "t1d", "config": CONFIG.to_json()})
    card = cards.ModelCard(
        id=200, name="t1d", family="t1d", file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        patch=CONFIG.patch, strides=CONFIG.strides, codebook_sizes=CONFIG.codebook_sizes,
        licence="Apache-2.0", trained="for a test", urgency_range=(0.35, 0.006),
    )  # fmt: skip
    return path.parent, card


@pytest.fixture
def model(weights, monkeypatch):
    """The card of the tiny model, which is the only one installed."""
    folder, card = weights
    monkeypatch.setattr(store, "FOLDER", folder)
    monkeypatch.setattr(cards, "CARDS", (card,))
    store.weight_path.cache_clear()
    yield card
    store.weight_path.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the current one, with the photograph cat.png of 90 x 60 pixels."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(skimage.data.chelsea()[90:150, 150:240]).save("cat.png")
    return tmp_path


@pytest.fixture
def t1d_file(model, folder):
    """cat.t1d, four levels of cat.png."""
    assert main(["encode", "cat.png", "cat.t1d", "--levels", "4"]) == 0
    return folder / "cat.t1d"


@pytest.fixture
def run(capfd):
    """Arguments -> (exit code, stdout, stderr) of the command, run in this process."""

    def run(*args: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        return (code, *capfd.readouterr())

    return run
