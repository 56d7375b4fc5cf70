"""Reading: a recogniser that reads what is dark, on pictures with and without text."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench import reading
from bench.datasets import Dataset
from tok1d_codec.errors import MissingData

CORNERS = np.array([[16, 16], [80, 16], [80, 48], [16, 48]], np.float32)


class Fake:
    """Finds a line where there is black, and reads the first letters of it that are dark enough."""

    def find(self, pixels: np.ndarray) -> list[reading.Line]:
        return [reading.Line(CORNERS, "abcd")] if pixels.min() == 0 else []

    def read(self, pixels: np.ndarray, corners: np.ndarray) -> str:
        parts = np.split(pixels[16:48, 16:80].mean((0, 2)), 4)
        return "".join(letter for letter, part in zip("abcd", parts) if part.mean() < 128)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    for name, shade in (("text", 0), ("none", 90)):
        picture = Image.new("RGB", (128, 96), (200, 210, 220))
        ImageDraw.Draw(picture).rectangle((16, 16, 79, 47), fill=(shade,) * 3)
        picture.save(tmp_path / f"{name}.png")
    return Dataset("signs", (tmp_path / "none.png", tmp_path / "text.png"))


def test_lines_are_read_again_in_both_codecs(dataset, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "RATES_BPP", (0.02, 0.08))
    monkeypatch.setattr(reading, "Recogniser", Fake)
    monkeypatch.setattr(reading, "open_dataset", lambda name, data: dataset)
    monkeypatch.setattr("sys.argv", ["reading", "--dataset", "signs", "--effort", "0"])
    reading.main()
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((tmp_path / "t1d-bench" / "reading-signs.json").read_text())
    assert (said["pictures"], said["lines"], said["effort"]) == (1, 1, 0)
    assert said["results"]["0.08"] == {"t1d-letters": 1, "t1d-lines": 1, "webp-letters": 1, "webp-lines": 1}


def test_pictures_without_text_have_no_figures(dataset):
    found = reading.measure(Dataset("none", dataset.files[:1]), Fake(), effort=0)
    assert found["lines"] == 0 and set(found["results"]["0.01"].values()) == {None}


def test_letters_count_by_edits():
    assert reading.plain("Été, No. 7!") == "éténo7"
    assert reading.right("abcd", "abcd") == 1 and reading.right("abcd", "") == 0
    assert reading.right("abcd", "abxd") == reading.right("abcd", "abd") == reading.right("abcd", "abcde") == 0.75
    assert reading.right("abc", "uvwxyz") == 0


def test_without_the_recogniser_its_name_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(MissingData, match="rapidocr"):
        reading.Recogniser()


def test_the_recogniser_reads_print():
    pytest.importorskip("rapidocr")
    picture = Image.new("RGB", (320, 120), "white")
    ImageDraw.Draw(picture).text((30, 30), "Station", fill="black", font_size=44)
    pixels, recogniser = np.asarray(picture), reading.Recogniser()
    (line,) = recogniser.find(pixels)
    assert line.text == "station" == recogniser.read(pixels, line.corners)
    assert recogniser.read(np.full_like(pixels, 255), line.corners) == ""
    assert [found.text for found in recogniser.find(pixels)] == ["station"]
    assert recogniser.find(np.full_like(pixels, 255)) == []
