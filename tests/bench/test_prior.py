"""What the prior saves, on the tiny model and its static tables."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from bench import prior
from bench.datasets import Dataset
from tok1d_codec.codec import GUESSES


def test_savings_and_guesses_are_measured_and_written(tiny_model, photo, tmp_path, monkeypatch, capsys):
    Image.fromarray(np.tile(photo, (2, 3, 1))).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prior, "open_dataset", lambda name, data: Dataset("kodak", (tmp_path / "a.png",)))
    monkeypatch.setattr(prior, "load_model", lambda name, device: tiny_model)
    monkeypatch.setattr(prior, "CUT_LEVELS", 3)
    monkeypatch.setattr("sys.argv", ["prior", "--data", str(tmp_path), "--count", "1"])
    prior.main()
    found = json.loads((tmp_path / "t1d-bench" / "prior.json").read_text())
    assert json.loads(capsys.readouterr().out) == found and found["pictures"] == 1
    assert list(found["levels"]) == ["1", "2", "3"]  # what the model has of LEVELS
    rows = list(found["levels"].values())
    assert all(0 < row["coded_bytes"] <= row["packed_bytes"] and row["off_bytes"] <= 2 for row in rows)
    assert rows[0]["bpp"] < rows[1]["bpp"] < rows[2]["bpp"]
    guesses = found["partial_lpips_alex"]
    assert list(guesses) == [str(cut) for cut in prior.CUTS]
    assert all(list(row) == list(GUESSES) and min(row.values()) > 0 for row in guesses.values())
