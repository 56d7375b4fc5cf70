"""Folders and tars of pictures to train from: what is in them that is no picture."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tok1d_codec.data.shards import list_sources, load_pictures
from tok1d_codec.errors import MissingData


def test_what_cannot_be_read_among_good_pictures_is_skipped_and_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "folder.png").mkdir()
    for i in range(4):
        Image.new("RGB", (64, 64)).save(tmp_path / "folder.png" / f"{i}.png")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "link.png").symlink_to("nothing")
    read = Path.read_bytes

    def guarded(path):  # who runs the tests may be root
        if path.name == "3.png":
            raise PermissionError("denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    assert len(load_pictures(list_sources([str(tmp_path)]), tmp_path / "a.u8", 64)) == 3
    said = capsys.readouterr().err
    assert f"t1d: 1 names in {tmp_path} lead to no file" in said and "t1d: 2 files in a cannot be read" in said


def test_a_strip_is_not_enlarged(tmp_path):
    Image.new("RGB", (65535, 1)).save(tmp_path / "strip.png")
    Image.new("RGB", (64, 32)).save(tmp_path / "wide.png")
    pictures = load_pictures([tmp_path / "strip.png", tmp_path / "wide.png"], tmp_path / "a.u8", 128)
    assert [pictures[i].shape for i in range(len(pictures))] == [(128, 256, 3)]


@pytest.mark.parametrize("mode, damage", [("w", "cut"), ("w", "header"), ("w:gz", "cut")])
def test_a_tar_that_ends_too_early_is_an_error(tmp_path, mode, damage):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as tar:
        for name in ("1.png", "2.png"):
            tar.add(tmp_path / "a.png", name)
            second = tar.offset if name == "1.png" else second
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[second : second + 200] = b"\xff" * 200
    path.write_bytes(data if damage == "header" else data[:second] if mode == "w" else data[: len(data) // 2])
    with pytest.raises(MissingData, match="is not a whole tar file"):
        load_pictures([path], tmp_path / "a.u8", 64)
