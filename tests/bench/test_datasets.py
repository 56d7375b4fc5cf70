"""Data sets: where they are looked for, what is verified, what is said when they are missing."""

from __future__ import annotations

import hashlib
import io
import urllib.error

import numpy as np
import pytest
from PIL import Image

from bench import datasets
from tok1d_codec.errors import MissingData


@pytest.fixture
def tiny_kodak(monkeypatch, tmp_path):
    """A table of two known files, no network, an empty cache. -> the contents by name"""
    files = {"kodim01.png": b"one", "kodim02.png": b"two"}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(datasets, "kodak_sums", lambda: sums)
    monkeypatch.setattr(datasets, "_cache_folder", lambda: tmp_path / "cache" / "kodak")
    monkeypatch.delenv("T1D_DATA_DIR", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    return files


def _no_network(url, timeout):
    raise urllib.error.URLError("no route")


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_table_has_the_24_pictures():
    sums = datasets.kodak_sums()
    assert list(sums) == [f"kodim{n:02}.png" for n in range(1, 25)]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in sums.values())


def test_kodak_by_option_by_variable_and_one_folder_down(tiny_kodak, tmp_path, monkeypatch):
    direct, below = put(tmp_path / "direct", tiny_kodak), put(tmp_path / "data" / "kodak", tiny_kodak)
    assert datasets.open_dataset("kodak", direct).files[0] == direct / "kodim01.png"
    assert datasets.open_dataset("kodak", below.parent).files[1] == below / "kodim02.png"
    monkeypatch.setenv("T1D_DATA_DIR", str(below.parent))
    assert datasets.open_dataset("kodak").files[1] == below / "kodim02.png"
    assert datasets.open_dataset("kodak", direct).files[0] == direct / "kodim01.png"


def test_kodak_elsewhere_is_refused(tiny_kodak, tmp_path):
    folder = put(tmp_path / "kodak", tiny_kodak | {"kodim02.png": b"resized"})
    with pytest.raises(MissingData, match="kodim02.png is not the Kodak picture"):
        datasets.open_dataset("kodak", folder)


def test_named_folder_without_kodak_says_where_to_put_it(tiny_kodak, tmp_path):
    with pytest.raises(MissingData, match="2 of the 24 .* put kodim01.png"):
        datasets.open_dataset("kodak", tmp_path)


def test_without_network_it_says_where_to_put_it(tiny_kodak, tmp_path):
    with pytest.raises(MissingData, match="T1D_DATA_DIR") as caught:
        datasets.open_dataset("kodak")
    assert "--data" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_fetched_once_and_only_if_the_hash_is_right(tiny_kodak, tmp_path, monkeypatch):
    asked = []

    def serve(url, timeout):
        asked.append(url)
        return io.BytesIO(tiny_kodak[f"kodim0{url[-5]}.png"])
    monkeypatch.setattr("urllib.request.urlopen", serve)
    files = datasets.open_dataset("kodak").files
    assert [f.read_bytes() for f in files] == [b"one", b"two"] and len(asked) == 2
    datasets.open_dataset("kodak")
    assert len(asked) == 2

    files[0].unlink()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"a page"))
    with pytest.raises(MissingData, match="gave another file"):
        datasets.open_dataset("kodak")
    assert sorted(f.name for f in files[0].parent.iterdir()) == ["kodim02.png"]


def test_skimage_is_there_without_any_download():
    dataset = datasets.open_dataset("skimage")
    assert len(dataset.files) == len(datasets.SKIMAGE_FILES)
    for file in dataset.files:
        with Image.open(file) as picture:
            assert picture.mode == "RGB" and min(picture.size) >= 300


def test_folder_of_pictures(tmp_path):
    for name in ("b.PNG", "a.jpg"):
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    dataset = datasets.open_dataset(tmp_path)
    assert [f.name for f in dataset.files] == ["a.jpg", "b.PNG"] and dataset.name == tmp_path.name
    assert dataset.first(1).files == dataset.files[:1] and dataset.first(1).name == f"{dataset.name}-first1"
    assert dataset.first(None) == dataset


@pytest.mark.parametrize("name", ["kodak", "skimage", "kodak-first3", "Kodak"])
def test_results_of_the_known_sets_are_not_overwritten_by_a_folder_named_so(tmp_path, name):
    assert datasets.open_dataset(put(tmp_path / name, {"a.png": b"x"})).name == f"dir-{name}"


def test_hash_follows_names_and_contents(tmp_path):
    one, same, other = (put(tmp_path / n, files) for n, files in (
        ("1", {"a.png": b"x"}), ("2", {"a.png": b"x"}), ("3", {"a.png": b"y"})))
    digests = [datasets.open_dataset(folder).sha256() for folder in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_folders_without_pictures_are_errors(tmp_path):
    with pytest.raises(MissingData, match="no pictures"):
        datasets.open_dataset(tmp_path)
    with pytest.raises(MissingData, match="kodak, skimage or a folder"):
        datasets.open_dataset(tmp_path / "absent")
