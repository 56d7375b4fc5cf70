"""LPIPS with VGG16, of random weights: which picture is compared with which."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from bench import vgg
from bench.datasets import Dataset
from tok1d_codec.codec import decode
from tok1d_codec.image.io import read_picture


class Squared:
    """Stands for the network: the mean square of the difference of the pixels."""

    def __init__(self, net: str, weights: object) -> None:
        assert net == "vgg"

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 3 and -1 <= x.min() and x.max() <= 1
        return (x - y).square().mean((1, 2, 3))


@pytest.fixture
def dataset(tmp_path, photo) -> Dataset:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    return Dataset("photos", (tmp_path / "photo.png",))


def test_both_codecs_are_measured_in_as_many_bytes(dataset, monkeypatch, tmp_path, capsys):
    written = []
    encode_at = vgg.encode_at
    monkeypatch.setattr(vgg, "encode_at", lambda *given: written.append(encode_at(*given)) or written[-1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vgg, "RATES_BPP", (0.04,))
    monkeypatch.setattr(vgg, "LPIPS", Squared)
    monkeypatch.setattr(vgg, "open_dataset", lambda name, data: dataset)
    monkeypatch.setattr("sys.argv", ["vgg", "--vgg", "weights"])
    vgg.main()
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((tmp_path / "t1d-bench" / "vgg-photos.json").read_text())
    (figures,) = said["results"].values()
    pixels = read_picture(dataset.files[0]).pixels
    for effort, data in enumerate(written):
        error = np.square((decode(data).astype(float) - pixels) / 127.5).mean()
        assert figures[f"t1d-effort{effort}"] == pytest.approx(error, abs=1e-4)
    assert len(written) == 2 and figures["webp"] > 0 and said["pictures"] == 1
