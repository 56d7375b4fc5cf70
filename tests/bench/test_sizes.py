"""Small pictures beside WebP, on the tiny model."""

from __future__ import annotations

import json

from PIL import Image

from bench import sizes
from bench.datasets import Dataset


def test_small_pictures_are_measured_and_written(tiny_model, photo, tmp_path, monkeypatch, capsys):
    Image.fromarray(photo).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sizes, "open_dataset", lambda name, data: Dataset("kodak", (tmp_path / "a.png",)))
    monkeypatch.setattr(sizes, "load_model", lambda name, device: tiny_model)
    monkeypatch.setattr("sys.argv", ["sizes", "--data", str(tmp_path)])
    sizes.main()
    found = json.loads((tmp_path / "t1d-bench" / "sizes.json").read_text())
    assert json.loads(capsys.readouterr().out) == found and found["pictures"] == 1
    assert list(found["results"]) == [str(side) for side in sizes.LONG_SIDES]
    for rates in found["results"].values():
        assert [rate["bytes"] for rate in rates.values()] == sorted(rate["bytes"] for rate in rates.values())
        assert all(0 < rate["lpips-alex"] and 0 < rate["webp-lpips-alex"] for rate in rates.values())
    smallest, largest = found["results"]["96"]["50"], found["results"]["384"]["50"]
    assert smallest["bytes"] < largest["bytes"] and largest["webp-bytes"] > 0
