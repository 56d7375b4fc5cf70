"""Each error of a user: its exit code, one line on stderr, no output file, no temporary file."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from PIL import Image

from tok1d_codec import codec
from tok1d_codec.cli import main
from tok1d_codec.models import cards, store


def picture_cut_short(folder):
    data = (folder / "cat.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])


def text_file(folder):
    (folder / "text.png").write_text("not a picture")


def one_row_too_long(folder):
    Image.new("1", (65536, 1)).save(folder / "long.png")


@pytest.mark.parametrize(
    "prepare, args, code, said",
    [
        (None, ["encode", "none.png", "new"], 5, "no file 'none.png'"),
        (None, ["decode", "none.t1d", "new.png"], 5, "no file 'none.t1d'"),
        (None, ["info", "none.t1d"], 5, "no file"),
        (None, ["encode", "cat.png", "none/new"], 5, "no folder 'none'"),
        (None, ["encode", "cat.png", "new", "--model", "none"], 20, "unknown model none"),
        (None, ["encode", "cat.png", "new", "--device", "mps"], 22, "mps"),
        (None, ["encode", "cat.png", "new", "--bpp", "inf"], 2, "finite"),
        (None, ["encode", "cat.png", "new", "-q", "nan"], 2, "finite"),
        (None, ["encode", "cat.png", "new", "--effort", "10"], 2, "effort"),
        (None, ["encode", "cat.png", "new", "--size", "9" * 400], 2, "not a number of bytes"),
        (None, ["decode", "cat.t1d", "new.png", "--seed", "-1"], 2, "seed"),
        (None, ["decode", "cat.t1d", "new.gif"], 3, ".png, .jpg, .jpeg, .webp, .tif, .tiff"),
        (None, ["decode", "cat.t1d", "-x"], 2, "No such option"),
        (None, ["decode", "cat.png", "new.png"], 10, "a t1d file"),
        (None, ["encode", "cat.t1d", "new"], 3, "is not a picture"),
        (None, ["encode", ".", "new"], 2, "'.' is a folder; give -o"),
        (None, ["info", "."], 1, "Is a directory"),
        (picture_cut_short, ["encode", "cut.png", "new"], 3, "damaged or cut short"),
        (text_file, ["encode", "text.png", "new"], 3, "is not a picture"),
        (one_row_too_long, ["encode", "long.png", "new"], 14, "65536x1"),
    ],
)
def test_exit_codes(t1d_file, folder, run, prepare, args, code, said):
    if prepare:
        prepare(folder)
    before = sorted(os.listdir(folder))
    got, out, err = run(*args)
    assert (got, out) == (code, "") and said in err
    if code != 2:  # click shows the usage above its line
        assert err.startswith("t1d: ") and err.count("\n") == 1
    assert sorted(os.listdir(folder)) == before


def test_a_picture_that_its_format_cannot_hold_is_not_decoded(t1d_file, folder, run, monkeypatch):
    monkeypatch.setattr("tok1d_codec.image.io.LONGEST", {"WEBP": 89})
    monkeypatch.setattr(codec, "decode", None)
    code, _, err = run("decode", "cat.t1d", "new.webp")
    assert code == 3 and "WEBP cannot hold" in err and not (folder / "new.webp").exists()


BAD_FILES = {
    "magic": (lambda data: b"\x89PNG" + data, 10),
    "version": (lambda data: data[:1] + b"\xd3" + data[2:], 11),
    "empty": (lambda data: b"", 12),
    "truncated": (lambda data: data[:-1], 12),
    "payload": (lambda data: data[:11] + bytes([data[11] ^ 128]) + data[12:], 13),
    "checksum": (lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:], 13),
    "size": (lambda data: data[:5] + b"\xff\xff\x03\xff\xff\x03" + data[7:], 14),
    "trailing": (lambda data: data + b"\0", 15),
    "levels": (lambda data: data[:2] + bytes([data[2] & 0xF0]) + data[3:], 15),
    "model": (lambda data: data[:3] + b"\x01" + data[4:], 20),
    "tag": (lambda data: data[:4] + bytes([data[4] ^ 1]) + data[5:], 21),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_give_no_picture(t1d_file, folder, run, name):
    damage, code = BAD_FILES[name]
    t1d_file.write_bytes(damage(t1d_file.read_bytes()))
    got, out, err = run("decode", "cat.t1d", "new.png")
    assert (got, out) == (code, "") and err.startswith("t1d: ") and err.count("\n") == 1
    assert sorted(os.listdir(folder)) == ["cat.png", "cat.t1d"]


def test_weights_that_are_missing_or_others(t1d_file, folder, run, monkeypatch, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    monkeypatch.setattr(store, "FOLDER", other)
    store.weight_path.cache_clear()
    assert run("decode", "cat.t1d", "new.png")[0] == 5
    (other / cards.CARDS[0].file).write_bytes(b"other weights")
    assert run("decode", "cat.t1d", "new.png")[0] == 21


@pytest.mark.parametrize(
    "error, code, said",
    [
        (OSError(errno.ENOSPC, "No space left on device", "new.png"), 1, "new.png: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "new.png"), 1, "new.png: Permission denied"),
        (MemoryError(), 1, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), 1, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_of_the_system(t1d_file, folder, run, monkeypatch, error, code, said):
    def fail(*_, **__):
        raise error

    for target, owner in (("decode", codec), ("fsync", os)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, target, fail)
            got, out, err = run("decode", "cat.t1d", "new.png")
        assert (got, out) == (code, "") and err.startswith(f"t1d: {said}") and err.count("\n") == 1
        assert sorted(os.listdir(folder)) == ["cat.png", "cat.t1d"]


@pytest.mark.parametrize("fault", [ZeroDivisionError("by zero"), RuntimeError("shapes do not match")])
def test_a_fault_of_ours_is_not_hidden(t1d_file, folder, monkeypatch, fault):
    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(codec, "decode", fail)
    with pytest.raises(type(fault), match=str(fault)):
        main(["decode", "cat.t1d", "new.png"])


def test_usage(run):
    assert run()[0] == 2
    assert run("none")[0] == 2
    assert run("encode", "a")[0] == 2
    code, out, _ = run("--help")
    assert code == 0 and "encode" in out
    assert run("--version")[:2] == (0, f"t1d {__import__('tok1d_codec').__version__}\n")
