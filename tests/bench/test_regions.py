"""Faces, text and skies beside WebP, on random pictures under the names of Kodak."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bench import regions
from bench.datasets import Dataset


@pytest.fixture
def kodak(tmp_path, monkeypatch) -> Dataset:
    """Three smooth pictures, each of which holds the first region of a kind."""
    rng, files = np.random.default_rng(0), []
    for name, (_, _, right, bottom) in (next(iter(boxes.items())) for boxes in regions.REGIONS.values()):
        picture = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((right, bottom))
        files.append(tmp_path / f"{name}.png")
        picture.save(files[-1])
    dataset = Dataset("kodak", tuple(files))
    monkeypatch.setattr(regions, "open_dataset", lambda name, data: dataset)
    return dataset


def test_every_region_lies_on_kodak():
    boxes = [(name, box) for of_kind in regions.REGIONS.values() for name, box in of_kind.items()]
    portrait = {"kodim04", "kodim09", "kodim10", "kodim17", "kodim18", "kodim19"}
    for name, (left, top, right, bottom) in boxes:
        width, height = (512, 768) if name in portrait else (768, 512)
        assert 0 <= left <= right - 128 and right <= width and 0 <= top <= bottom - 128 and bottom <= height


def test_regions_are_measured_shown_and_written(kodak, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(regions, "RATES_BPP", (0.02,))
    monkeypatch.setattr("sys.argv", ["regions", "--count", "1"])
    regions.main()
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((tmp_path / "t1d-bench" / "regions.json").read_text())
    for kind in ("face", "text", "sky"):
        found = said["results"][kind]["0.02"]
        assert 0 < found["t1d-lpips-alex"] < 1 and found["worse"] in (0, 1)
        assert found["worse"] == (found["t1d-lpips-alex"] > found["webp-lpips-alex"])
    assert Image.open(tmp_path / "t1d-bench" / "regions.webp").height > 6 * 128
