"""The released TiTok models on the command line, with weights of the same kind but tiny."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tok1d_codec.cli import main


@pytest.fixture
def folder(tiny_release, photo, monkeypatch):
    """The current folder, with tile.png of one tile and large.png of several."""
    monkeypatch.chdir(tiny_release.parent)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save("tile.png")
    Image.fromarray(photo).resize((701, 300)).save("large.png")
    return tiny_release.parent


def test_a_model_that_is_not_imported(folder, capsys):
    assert main(["encode", "tile.png", "tile.t1d", "--model", "titok-l32"]) == 5
    assert "titok-l32" in capsys.readouterr().err


def test_there_and_back(folder, tiny_release, monkeypatch, capsys):
    assert main(["models", "import", "titok-l32", str(tiny_release)]) == 0
    for name in ("tile", "large"):
        assert main(["encode", f"{name}.png", f"{name}.t1d", "--model", "titok-l32"]) == 0
        assert main(["info", f"{name}.t1d"]) == 0
        assert main(["decode", f"{name}.t1d", f"{name}-back.png"]) == 0
        with Image.open(f"{name}-back.png") as back, Image.open(f"{name}.png") as original:
            assert back.size == original.size
    assert (folder / "tile.t1d").stat().st_size <= 62  # 32 tokens of 12 bits are 48 bytes
    assert main(["encode", "large.png", "small.t1d", "--model", "titok-l32", "--size", "100"]) == 0
    assert (folder / "small.t1d").stat().st_size <= 100
    monkeypatch.setenv("T1D_HOME", "elsewhere")
    capsys.readouterr()
    assert main(["info", "tile.t1d"]) == 0 and "unknown (" in capsys.readouterr().out
    assert main(["decode", "tile.t1d", "again.png"]) == 5
