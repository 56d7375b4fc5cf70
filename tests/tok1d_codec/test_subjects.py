"""Crops that are placed on faces and on text: what is found, where they lie, the options that ask for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut, coffee, page

from tok1d_codec.cli import main
from tok1d_codec.data import subjects as module
from tok1d_codec.data.crops import random_crops
from tok1d_codec.data.shards import Pictures, load_pictures
from tok1d_codec.data.subjects import Pieces, Subjects, find_subjects
from tok1d_codec.errors import MissingData
from tok1d_codec.train.loop import Trainer

FACE = (175, 60, 270, 170)  # of `astronaut`, roughly


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A cup, a face, a page: pictures 0, 1 and 2; and one to hold out."""
    root = tmp_path_factory.mktemp("subjects")
    for name, pixels in (("a", coffee()), ("b", astronaut()), ("c", np.stack([page()] * 3, axis=2)), ("val", coffee())):
        Image.fromarray(pixels).save(root / f"{name}.png")
    return root


@pytest.fixture
def pictures(folder, tmp_path) -> Pictures:
    return load_pictures([folder / f"{name}.png" for name in "abc"], tmp_path / "train.u8", 128)


def test_what_pictures_show_is_found_once(pictures, tmp_path, monkeypatch):
    faces = find_subjects(pictures, "face", tmp_path / "faces.json")
    assert list(faces) == [1]
    left, top, right, bottom = faces[1][0]
    assert FACE[0] - 30 < left < right < FACE[2] + 30 and FACE[1] - 30 < top < bottom < FACE[3] + 30
    text = find_subjects(pictures, "text", tmp_path / "text.json")
    assert 2 in text and 0 not in text and len(text[2]) > 20
    monkeypatch.setattr(module, "KINDS", {})
    assert find_subjects(pictures, "face", tmp_path / "faces.json") == faces


def test_pieces_lie_around_boxes_and_within_pictures(pictures):
    pieces = Pieces(pictures, {1: [FACE, (0, 0, 20, 10)], 2: [(300, 150, 380, 190)]}, 100)
    assert len(pieces) == 3 and {pieces[i].shape for i in range(3)} == {(100, 100, 3)}
    assert np.array_equal(pieces[0], astronaut()[65:165, 172:272])
    assert np.array_equal(pieces[1], astronaut()[:100, :100]) and np.array_equal(pieces[2][..., 0], page()[91:191, 284:384])


def test_other_pictures_are_looked_at_anew(folder, pictures, tmp_path):
    cache = tmp_path / "faces.json"
    find_subjects(pictures, "face", cache)
    others = load_pictures([folder / "b.png"], tmp_path / "others.u8", 128)
    assert list(find_subjects(others, "face", cache)) == [0]
    cups = load_pictures([folder / "a.png"], tmp_path / "cups.u8", 128)
    with pytest.raises(MissingData, match="no face was found in 1 pictures to learn from; give others, or do without face"):
        find_subjects(cups, "face", cache)


def test_faces_that_are_too_small_do_not_count(tmp_path):
    small = Image.fromarray(astronaut()).resize((128, 128))
    wide = Image.new("RGB", (160, 160))
    wide.paste(small)
    wide.save(tmp_path / "small.png")
    pictures = load_pictures([tmp_path / "small.png"], tmp_path / "train.u8", 128)
    with pytest.raises(MissingData):
        find_subjects(pictures, "face", tmp_path / "faces.json")


@pytest.mark.parametrize("corner", [(0, 0), (440, 320)])
def test_crops_show_their_share_of_a_subject(tmp_path, corner):
    x, y = corner
    marked = np.zeros((360, 480, 3), np.uint8)
    marked[y : y + 8, x : x + 8] = 255
    Image.fromarray(marked).save(tmp_path / "a.png")
    Image.fromarray(np.full((300, 300, 3), 100, np.uint8)).save(tmp_path / "b.png")
    pictures = load_pictures([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "train.u8", 128)
    mark, plain = {0: [(x, y, x + 8, y + 8)]}, {1: [(100, 100, 200, 200)]}

    def shown(*subjects: Subjects) -> float:
        crops = random_crops(pictures, 400, 128, np.random.default_rng(0), subjects)
        return (crops.amax((1, 2, 3)) == 1).float().mean().item()

    assert shown(Subjects(1.0, mark)) == 1.0
    assert shown() < 0.1
    assert 0.25 < shown(Subjects(0.3, mark)) < 0.42
    assert 0.25 < shown(Subjects(0.7, plain), Subjects(0.3, mark)) < 0.35
    assert shown(Subjects(1.0, plain), Subjects(0.0, mark)) == 0.0


def test_a_crop_has_its_subject_off_centre_too(tmp_path):
    marked = np.zeros((400, 400, 3), np.uint8)
    marked[200, 200] = 255
    Image.fromarray(marked).save(tmp_path / "a.png")
    pictures = load_pictures([tmp_path / "a.png"], tmp_path / "train.u8", 120)
    crops = random_crops(pictures, 500, 120, np.random.default_rng(0), [Subjects(1.0, {0: [(200, 200, 201, 201)]})])
    _, rows, columns = torch.nonzero(crops[:, 0] == 1, as_tuple=True)
    assert len(rows) == 500
    for place in (rows, columns):
        assert 19 <= place.min() < 25 and 95 < place.max() <= 101


def test_a_run_looks_at_what_it_was_told_to_and_keeps_to_it(folder, tmp_path, monkeypatch, capsys):
    seen = []

    def one_step(self: Trainer) -> None:
        seen.append([(s.share, sorted(s.boxes)) for s in self.subjects])
        self.train_step()
        self.save()

    monkeypatch.setattr(Trainer, "train", one_step)
    command = ["train", "tokenizer", "--data", str(folder), "--preset", "tiny", "--device", "cpu", "--out", str(tmp_path)]
    shares = ["--face-share", "0.5", "--text-share", "0.25"]
    assert main([*command, *shares]) == 0
    assert main([*command, *shares, "--resume"]) == 2
    assert "a run goes on as it was started" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert len(seen) == 2 and all(s[0] == (0.5, [1]) and s[1][0] == 0.25 and 2 in s[1][1] for s in seen)
    assert json.loads((tmp_path / "train-face.json").read_text())["boxes"].keys() == {"1"}


@pytest.mark.parametrize("shares", [["--face-share", "1.5"], ["--text-share", "nan"], ["--face-share", "0.6", "--text-share", "0.5"]])
def test_shares_are_shares(folder, tmp_path, shares):
    assert main(["train", "tokenizer", "--data", str(folder), "--out", str(tmp_path / "run"), *shares]) == 2
    assert not (tmp_path / "run").exists()
