"""Many files in one go: which become which, and what one that fails does to the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tok1d_codec.cli import batch, main
from tok1d_codec.models import store


@pytest.fixture
def album(folder):
    """a/one.png, a/b/two.jpg, a/b/notes.txt, beside cat.png."""
    (folder / "a" / "b").mkdir(parents=True)
    with Image.open("cat.png") as cat:
        cat.save("a/one.png")
        cat.convert("L").save("a/b/two.jpg")
    (folder / "a" / "b" / "notes.txt").write_text("no picture")
    return folder


def names(folder) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_folders_and_files_there_and_back(model, album, run, monkeypatch):
    loaded, load = [], store.load_model
    monkeypatch.setattr(store, "load_model", lambda *args, **options: loaded.append(args) or load(*args, **options))
    code, out, err = run("encode", "cat.png", "a", "-o", "files", "-q", 30)
    assert (code, out) == (0, "") and len(err.splitlines()) == 3
    assert names(album / "files") == ["b/two.t1d", "cat.t1d", "one.t1d"]
    assert (album / "files/cat.t1d").read_bytes() == (album / "files/one.t1d").read_bytes()
    assert run("decode", "files", "-o", "back")[0] == 0 and len(loaded) == 2
    assert names(album / "back") == ["b/two.png", "cat.png", "one.png"]
    assert run("decode", "files", "-o", "back", "--format", "webp")[0] == 0
    with Image.open("back/b/two.webp") as image:
        assert image.format == "WEBP" and image.size == (90, 60)
    assert run("encode", "cat.png", "cat.t1d", "-q", 30)[0] == 0
    assert (album / "cat.t1d").read_bytes() == (album / "files/cat.t1d").read_bytes()


def test_one_that_fails_is_reported_and_the_others_are_done(model, album, run):
    (album / "a" / "bad.png").write_bytes(b"no picture")
    code, out, err = run("encode", "a", "nothing.png", "-o", "files")
    assert (code, out) == (3, "") and names(album / "files") == ["b/two.t1d", "one.t1d"]
    assert "t1d: a/bad.png: 'a/bad.png' is not a picture" in err and "t1d: nothing.png: no file" in err
    assert err.splitlines()[-1] == "t1d: of 4 files 2 failed"
    before = (album / "files/one.t1d").read_bytes()
    code, _, err = run("encode", "a/one.png", "cat.png", "-o", "files", "-q", 0)
    assert code == 4 and (album / "files/one.t1d").read_bytes() == before and (album / "files/cat.t1d").exists()
    data = (album / "files/cat.t1d").read_bytes()
    (album / "files/cat.t1d").write_bytes(data[:-3] + bytes(3))
    code, _, err = run("decode", "files", "-o", "back")
    assert code in (13, 15) and names(album / "back") == ["b/two.png", "one.png"]


def test_a_part_of_a_picture_hides_no_failure(model, album, run):
    assert run("encode", "a", "cat.png", "-o", "files")[0] == 0
    data = (album / "files/cat.t1d").read_bytes()
    (album / "files/b/two.t1d").write_bytes(data[:-2])
    code, _, err = run("decode", "files", "-o", "back", "--partial")
    assert code == 8 and err.splitlines()[-1] == "t1d: of 3 files 0 failed, 1 gave a part of their picture"
    (album / "files/one.t1d").write_bytes(b"no t1d file")
    code, _, err = run("decode", "files", "-o", "again", "--partial")
    assert code == 10 and err.splitlines()[-1] == "t1d: of 3 files 1 failed, 1 gave a part of their picture"
    assert names(album / "again") == ["b/two.png", "cat.png"]


def test_a_single_output_is_a_file_unless_it_is_a_folder(model, album, run):
    assert run("encode", "cat.png", "-o", "new.t1d")[0] == 0 and (album / "new.t1d").is_file()
    assert run("encode", "cat.png", "-o", "new/")[0] == 0 and (album / "new/cat.t1d").is_file()
    assert run("encode", "cat.png", "-o", "new.v2/")[0] == 0 and (album / "new.v2/cat.t1d").is_file()
    assert run("encode", "cat.png", "-o", "made")[0] == 0 and (album / "made/cat.t1d").is_file()
    assert run("encode", "a/one.png", "-o", "new")[0] == 0 and (album / "new/one.t1d").is_file()
    assert run("decode", "new/one.t1d", "-o", "one.webp")[0] == 0 and (album / "one.webp").is_file()


def test_names_that_would_become_the_same_keep_their_ending(model, album, run):
    with Image.open("cat.png") as cat:
        cat.save("a/one.tif")
    assert run("encode", "a", "-o", "files", "-q", 0)[0] == 0
    assert names(album / "files") == ["b/two.t1d", "one.png.t1d", "one.tif.t1d"]
    (album / "c").mkdir()
    for name in ("B.png", "b.tif", "caf\u00e9.png", "cafe\u0301.tif"):  # one name to some file systems
        with Image.open("cat.png") as cat:
            cat.save(f"c/{name}")
    assert run("encode", "c", "-o", "more", "-q", 0)[0] == 0
    assert names(album / "more") == ["B.png.t1d", "b.tif.t1d", "cafe\u0301.tif.t1d", "caf\u00e9.png.t1d"]
    code, _, err = run("encode", "a/one.png", "files/../a/one.png", "-o", "other")
    assert code == 2 and "would all become 'other/one.png.t1d'" in err and not (album / "other").exists()


def test_a_file_is_no_folder_for_several(model, album, run):
    before = (album / "cat.png").read_bytes()
    for inputs in (["a"], ["cat.png", "a"], ["cat.png", "a/one.png"]):
        code, _, err = run("encode", *inputs, "-o", "cat.png", "--force")
        assert code == 4 and err == "t1d: 'cat.png' is a file; for several inputs, and for folders, OUT is a folder\n"
    assert (album / "cat.png").read_bytes() == before


@pytest.mark.parametrize("args, said", [
    (["encode", "cat.png"], "give IN and OUT"), (["encode", "cat.png", "a", "b"], "give IN and OUT"),
    (["encode", "-", "cat.png", "-o", "x"], "- is one input"), (["encode", "a", "-o", "-"], "- is one input"),
    (["encode", "cat.png", ""], "an empty name"), (["encode", "cat.png", "-o", ""], "an empty name"),
    (["encode", "a", "x"], "'a' is a folder; give -o"), (["decode", "a", "x.png"], "'a' is a folder; give -o"),
    (["encode", "cat.png", "a", "-o", "x", "--roi", "0,0,9,9"], "--roi is of one picture"), (["encode"], "Missing"),
])  # fmt: skip
def test_wrong_usage(model, album, run, args, said):
    code, out, err = run(*args)
    assert (code, out) == (2, "") and said in err and not (album / "x").exists()


def test_a_model_that_cannot_be_loaded_is_said_once(model, album, run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = run("encode", "a", "-o", "files", "--device", "cuda")
    assert code == 22 and err.count("\n") == 1 and not (album / "files").exists()


@pytest.mark.skipif(os.name != "posix", reason="links and named pipes")
def test_links_are_followed_and_pipes_left_alone(album, monkeypatch):
    (album / "more").mkdir()
    (album / "cat.png").rename("more/cat.png")
    (album / "a" / "link").symlink_to(album / "more")
    (album / "a" / "b" / "loop").symlink_to(album / "a")
    os.mkfifo("a/pipe.png")
    for given in (Path("a"), album / "a"):
        found = batch.pairs([given], "files", (".png", ".jpg"), ".t1d")
        assert [str(target) for _, target in found] == ["files/b/two.t1d", "files/link/cat.t1d", "files/one.t1d"]
    monkeypatch.chdir("a")
    assert len(batch.pairs([Path(".")], "files", (".png", ".jpg"), ".t1d")) == 3


def test_a_file_may_have_the_name_of_a_stream_if_it_is_given_as_a_path(t1d_file, run):
    t1d_file.rename("-")
    assert run("decode", "./-", "out.png")[0] == 0
    assert run("encode", "out.png", "./-", "--force")[0] == 0 and run("info", "./-")[0] == 0
    with Image.open("out.png") as image:
        assert image.size == (90, 60)


def test_a_folder_without_pictures(model, album, run):
    (album / "empty" / "folder.png").mkdir(parents=True)
    code, _, err = run("encode", "empty", "-o", "files")
    assert code == 5 and "no file in 'empty' ends with one of .avif" in err and not (album / "files").exists()


def test_defects_are_not_taken_for_failures_of_a_file(folder):
    def work(source, target):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        batch.each([(folder, folder)] * 2, None, work)


def test_larger_pictures_than_asked_for_are_refused(model, folder, run):
    assert run("encode", "cat.png", "cat.t1d", "--max-pixels", 5400)[0] == 0
    code, _, err = run("encode", "cat.png", "other.t1d", "--max-pixels", 5399)
    assert code == 14 and err.count("\n") == 1 and not (folder / "other.t1d").exists()
    assert main(["encode", "cat.png", "cat.t1d", "--max-pixels", "0"]) == 2


def test_what_is_there_already_can_be_left_out(model, album, run):
    assert run("encode", "cat.png", "-o", "files", "-q", 0)[0] == 0
    before = (album / "files/cat.t1d").stat().st_mtime_ns
    code, _, err = run("encode", "cat.png", "a", "-o", "files", "-q", 0, "--skip-existing")
    assert code == 0 and "1 of 3 files are there already" in err and (album / "files/cat.t1d").stat().st_mtime_ns == before
    assert names(album / "files") == ["b/two.t1d", "cat.t1d", "one.t1d"]
    assert run("decode", "files", "-o", "back", "--skip-existing")[0] == 0
    code, _, err = run("decode", "files", "-o", "back", "--skip-existing")
    assert code == 0 and err == "t1d: 3 of 3 files are there already\n"
