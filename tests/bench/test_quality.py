"""What `-q` stands for, on the tiny model."""

from __future__ import annotations

import json

from PIL import Image

from bench import quality
from bench.datasets import Dataset


def test_rates_by_quality_are_measured_and_written(tiny_model, photo, tmp_path, monkeypatch, capsys):
    files = []
    for name, pixels in (("a", photo), ("b", photo[:40])):
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(pixels).save(files[-1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quality, "open_dataset", lambda name, data: Dataset("kodak", tuple(files)))
    monkeypatch.setattr(quality, "load_model", lambda name, device: tiny_model)
    monkeypatch.setattr("sys.argv", ["quality", "--data", str(tmp_path)])
    quality.main()
    found = json.loads((tmp_path / "t1d-bench" / "quality.json").read_text())
    assert json.loads(capsys.readouterr().out) == found and found["pictures"] == 2
    rates = list(found["bpp"].values())
    assert list(found["bpp"]) == [str(q) for q in quality.QUALITIES]
    assert all(rate["least"] <= rate["mean"] <= rate["most"] for rate in rates)
    assert rates[0]["mean"] < rates[3]["mean"] <= rates[-1]["mean"]
