from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bitstream.container import unpack
from tok1d_codec import codec
from tok1d_codec.cli import main
from tok1d_codec.cli.encode import encode
from tok1d_codec.rate import DEFAULT_QUALITY
from tok1d_codec.nn.faces import Face
from tok1d_codec.regions import FAVOUR


def pixels_of(source) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB"))


def test_there_and_back(model, folder, run):
    code, out, err = run("encode", "cat.png", "cat.t1d")
    data = (folder / "cat.t1d").read_bytes()
    assert (code, out) == (0, "")
    header = unpack(data).header
    kept = f"{'up to ' if header.varied else ''}{header.levels} of 5 levels"
    assert err == f"cat.t1d: {len(data)} bytes, {8 * len(data) / 5400:.4f} bpp, {kept}, 90x60\n"
    assert run("decode", "cat.t1d", "back.png") == (0, "", f"back.png: 90x60 from {len(data)} bytes\n")
    back = pixels_of("back.png")
    np.testing.assert_array_equal(back, codec.decode(data))
    assert back.shape == (60, 90, 3) and np.abs(back.astype(int) - pixels_of("cat.png")).mean() < 40
    assert sorted(p.name for p in folder.iterdir()) == ["back.png", "cat.png", "cat.t1d"]


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 17)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "I;16"])
def test_sizes_and_modes(model, folder, run, size, mode):
    Image.new(mode, size).save("a.tif")
    assert run("encode", "a.tif", "a.t1d")[0] == 0 and run("decode", "a.t1d", "a.png")[0] == 0
    assert pixels_of("a.png").shape == (size[1], size[0], 3)


def test_levels(model, folder, run):
    for levels in (1, 3, 5):
        assert run("encode", "cat.png", "cat.t1d", "--levels", levels, "--force")[0] == 0
        assert unpack((folder / "cat.t1d").read_bytes()).header.levels == levels
    code, _, err = run("encode", "cat.png", "cat.t1d", "--levels", 6, "--force")
    assert code == 2 and "has 5 levels, not 6" in err
    assert run("encode", "cat.png", "cat.t1d", "--levels", 0)[0] == 2


def test_the_default_quality_is_the_one_that_the_help_names(model, folder, run):
    quality = next(option for option in encode.params if option.name == "quality")
    assert f"[default: {DEFAULT_QUALITY}]" in quality.help
    run("encode", "cat.png", "a.t1d")
    run("encode", "cat.png", "b.t1d", "-q", DEFAULT_QUALITY)
    assert (folder / "a.t1d").read_bytes() == (folder / "b.t1d").read_bytes()


@pytest.mark.parametrize("option, value, most", [
    ("--size", "60", 60), ("--size", "60B", 60), ("--size", "0.05kB", 50), ("--size", "1 k", 1000), ("--bpp", "0.1", 67)
])  # fmt: skip
def test_sizes_are_met_from_below(model, folder, run, option, value, most):
    code, _, err = run("encode", "cat.png", "cat.t1d", option, value)
    size = len((folder / "cat.t1d").read_bytes())
    assert code == 0 and size <= most and f"{size} bytes" in err
    assert size > most - 4 or unpack((folder / "cat.t1d").read_bytes()).header.levels == 5


def test_impossible_and_contradictory_sizes(model, folder, run):
    code, out, err = run("encode", "cat.png", "cat.t1d", "--size", "3")
    assert (code, out) == (7, "") and re.search(r"the smallest file of this picture has \d+", err)
    assert len(err.splitlines()) == 1 and not (folder / "cat.t1d").exists()
    code, _, err = run("encode", "cat.png", "cat.t1d", "--size", "90", "-q", "3")
    assert code == 2 and "--quality and --size exclude each other" in err
    for wrong in ("0", "-4", "many", "1GB", "1e3"):
        assert run("encode", "cat.png", "cat.t1d", "--size", wrong)[0] == 2


def test_a_cut_file_gives_a_picture_only_if_asked(model, folder, run):
    run("encode", "cat.png", "cat.t1d", "--levels", 5)
    data = (folder / "cat.t1d").read_bytes()
    (folder / "cut.t1d").write_bytes(data[: len(data) // 2])
    assert run("decode", "cut.t1d", "back.png")[0] == 12 and not (folder / "back.png").exists()
    code, out, err = run("decode", "cut.t1d", "back.png", "--partial")
    assert code == 8 and pixels_of("back.png").shape == (60, 90, 3)
    assert re.search(rf"cut.t1d has {len(data) // 2} of {len(data)} bytes: \d of 5 levels are whole", err)
    assert run("decode", "cat.t1d", "whole.png", "--partial")[0] == 0
    code, _, err = run("decode", "cut.t1d", "guess.png", "--partial", "--guess", "sample", "--seed", 1)
    assert code == 8 and (pixels_of("guess.png") != pixels_of("back.png")).any()
    for alone in (["--guess", "likely"], ["--seed", 1]):
        assert run("decode", "cut.t1d", "other.png", *alone)[0] == 2
    (folder / "hurt.t1d").write_bytes(data[:-8] + bytes([data[-8] ^ 64]) + data[-7:])
    assert run("decode", "hurt.t1d", "hurt.png")[0] in (13, 15) and not (folder / "hurt.png").exists()
    code, _, err = run("decode", "hurt.t1d", "hurt.png", "--partial")
    assert code == 8 and re.search(r"hurt.t1d is damaged: [1-4] of 5 levels are whole", err)
    assert pixels_of("hurt.png").shape == (60, 90, 3)
    code, out, _ = run("info", "cut.t1d")
    assert code == 12 and re.search(r"checksum +cut \(\d levels are whole\)", out)


def test_what_is_lost_is_said_once_on_stderr(model, folder, run):
    Image.new("RGBA", (20, 20), (255, 0, 0, 100)).save("a.png")
    code, out, err = run("encode", "a.png", "a.t1d")
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == "t1d: a.png: transparency flattened on white" and len(err.splitlines()) == 2


def test_verbose(model, folder, run):
    err = run("encode", "cat.png", "cat.t1d", "-v")[2]
    assert re.search(r"^bytes: header 8, checksum 3, payload \d+$", err, re.M)
    assert re.search(r"^seconds: read [\d.]+, load model [\d.]+, encode [\d.]+$", err, re.M)


@pytest.mark.parametrize("name, format", [("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.tif", "TIFF")])
def test_format_by_extension(t1d_file, run, name, format):
    assert run("decode", t1d_file, name)[0] == 0
    with Image.open(name) as image:
        assert image.format == format and image.size == (90, 60)


def test_format_by_option(t1d_file, run):
    assert run("decode", t1d_file, "picture", "--format", "tiff")[0] == 0
    with Image.open("picture") as image:
        assert image.format == "TIFF"


def test_streams(t1d_file, folder):
    runner = CliRunner()
    encoded = runner.invoke(main, ["encode", "-", "-", "--levels", "4"], input=(folder / "cat.png").read_bytes())
    assert encoded.exit_code == 0 and encoded.stdout_bytes == t1d_file.read_bytes()
    for options, format in (([], "PNG"), (["--format", "jpeg"], "JPEG")):
        decoded = runner.invoke(main, ["decode", "-", "-", *options], input=encoded.stdout_bytes)
        with Image.open(io.BytesIO(decoded.stdout_bytes)) as image:
            assert decoded.exit_code == 0 and image.format == format and image.size == (90, 60)


def test_existing_outputs_are_kept_without_force(t1d_file, folder, run, monkeypatch):
    before = t1d_file.read_bytes()

    def never(*_, **__):
        raise AssertionError("work was done for an output that cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(codec, "encode", never)
        patch.setattr(codec, "decode", never)
        patch.setattr("tok1d_codec.image.io.read_picture", never)
        for args in (("encode", "cat.png", "cat.t1d"), ("decode", "cat.t1d", "cat.png")):
            code, out, err = run(*args)
            assert (code, out) == (4, "") and err.startswith("t1d: ") and "--force" in err
    assert t1d_file.read_bytes() == before
    assert run("encode", "cat.png", "cat.t1d", "--force", "--levels", 1)[0] == 0
    assert len(t1d_file.read_bytes()) < len(before)
    assert run("decode", "cat.t1d", "cat.png", "--force")[0] == 0


def test_max_pixels(t1d_file, folder, run):
    assert run("decode", t1d_file, "a.png", "--max-pixels", 5400)[0] == 0
    code, _, err = run("decode", t1d_file, "b.png", "--max-pixels", 5399)
    assert code == 14 and err.count("\n") == 1 and not (folder / "b.png").exists()


def test_threads(t1d_file, run):
    before = torch.get_num_threads()
    try:
        assert run("decode", t1d_file, "a.png", "--threads", 3)[0] == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_region_of_interest(model, run, folder):
    assert run("encode", "cat.png", "cat.t1d", "-q", 60)[0] == 0
    assert run("encode", "cat.png", "roi.t1d", "-q", 60, "--roi", "0,0,32,32", "--roi", "32,0,60,20")[0] == 0
    assert (folder / "cat.t1d").read_bytes() != (folder / "roi.t1d").read_bytes()
    for box, said in {"0,0,9999,5": "within", "5,5,5,5": "within", "1,2,3": "such as", "a,b,c,d": "such as"}.items():
        code, _, err = run("encode", "cat.png", "bad.t1d", "--roi", box)
        assert code == 2 and said in err and not (folder / "bad.t1d").exists()
    assert run("encode", "cat.png", "bad.t1d", "--roi", "0,0,9,9", "--levels", 2)[0] == 2


def test_the_default_effort_is_the_one_that_the_help_names(model, run, folder, monkeypatch):
    help_text = next(option for option in encode.params if option.name == "effort").help
    assert "[default: 1 for pictures of up to 1024 pixels a side, 0 for larger ones]" in help_text
    monkeypatch.setattr("tok1d_codec.codec.STEPS", (0, 8))  # a network of random weights needs more than one
    for name, options in {"plain": ("--effort", 0), "once": ("--effort", 1), "default": ()}.items():
        assert run("encode", "cat.png", f"{name}.t1d", "-q", 60, *options)[0] == 0
    plain, once, default = ((folder / f"{name}.t1d").read_bytes() for name in ("plain", "once", "default"))
    assert default == once != plain
    monkeypatch.setattr("tok1d_codec.effort.QUICK_SIDE", 89)
    assert run("encode", "cat.png", "large.t1d", "-q", 60)[0] == 0
    assert (folder / "large.t1d").read_bytes() == plain


@pytest.mark.parametrize("kind", ["faces", "text"])
def test_faces_and_text_are_found_unless_told_not_to(model, run, folder, monkeypatch, kind):
    found = {"faces": Face((0, 0, 32, 32), ()), "text": (0, 0, 32, 32)}[kind]
    monkeypatch.setattr(f"tok1d_codec.nn.{kind}.find_{kind}", lambda image: [found])
    monkeypatch.setattr("tok1d_codec.regions.TEXT_FAVOUR", FAVOUR)
    for name, option in {"found": [f"--{kind}"], "none": [f"--no-{kind}"], "box": [f"--no-{kind}", "--roi=0,0,32,32"]}.items():
        assert run("encode", "cat.png", f"{name}.t1d", "-q", 60, *option)[0] == 0
    found, none, box = ((folder / f"{name}.t1d").read_bytes() for name in ("found", "none", "box"))
    assert found == box != none


def test_a_name_of_a_picture_is_no_name_for_a_file(model, folder, run):
    before = (folder / "cat.png").read_bytes()
    for out in ("other.png", "cat.png", "photo.JPG"):
        code, _, err = run("encode", "cat.png", out, "--force")
        assert code == 2 and "has the name of a picture; give OUT.t1d" in err
    assert (folder / "cat.png").read_bytes() == before and not (folder / "other.png").exists()
