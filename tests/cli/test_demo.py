from __future__ import annotations

import io

import numpy as np
import skimage.data
from PIL import Image

from bench import showcase
from bench.contact_sheet import LINE, MARGIN, Cell, contact_sheet
from bench.metrics import psnr_rgb
from bench.showcase import best_webp


def test_demo(model, folder, run, monkeypatch):
    monkeypatch.setattr(showcase, "PHOTOGRAPHS", ("chelsea",))
    monkeypatch.setattr(showcase, "RATES_BPP", (0.01, 0.05))
    code, out, err = run("demo", "out")
    assert (code, err) == (0, "")
    kinds = ("t1d", "png", "webp")
    files = {"chelsea.png", "contact-sheet.png", *(f"chelsea-{n}.{kind}" for n in (0.01, 0.05) for kind in kinds)}
    assert {p.name for p in (folder / "out").iterdir()} == files
    size = (folder / "out" / "chelsea-0.05.t1d").stat().st_size
    assert 0.045 < 8 * size / (451 * 300) <= 0.05
    assert f"chelsea-0.05.t1d: {size} bytes, {8 * size / (451 * 300):.4f} bpp, " in out
    assert (folder / "out" / "chelsea-0.05.webp").stat().st_size <= size
    with Image.open(folder / "out" / "contact-sheet.png") as sheet:
        assert sheet.width > 3 * 451 and sheet.height > 2 * 300
    code, _, err = run("demo", "out")
    assert code == 4 and "--force" in err
    assert run("demo", "out", "--force")[0] == 0


def test_compare(model, folder, run):
    code, out, err = run("compare", "cat.png", "cat.png", "-o", "sheet.png", "--bpp", 0.05, "--bpp", 0.1)
    assert (code, out, err) == (0, "", "sheet.png: 2 pictures\n")
    with Image.open("sheet.png") as sheet:
        assert sheet.height > 4 * 60 and sheet.width > 3 * 90
    assert run("compare", "cat.png", "-o", "sheet.png")[0] == 4
    assert run("compare", "cat.png", "-o", "sheet.jpg", "--width", 200)[0] == 0
    with Image.open("sheet.jpg") as sheet:
        assert sheet.width == 200
    assert run("compare", "none.png", "-o", "new.png")[0] == 5
    assert run("compare", "cat.png", "-o", "new.xyz")[0] == 3


def test_a_sheet_that_is_too_large_is_refused_before_the_work(model, folder, run, monkeypatch):
    _, sizes = run("compare", "cat.png", "-o", "sheet.png"), Image.open("sheet.png").size
    monkeypatch.setattr("tok1d_codec.image.io.LONGEST", {"WEBP": max(sizes)})
    assert run("compare", "cat.png", "-o", "sheet.webp")[0] == 0
    monkeypatch.setattr("tok1d_codec.image.io.LONGEST", {"WEBP": max(sizes) // 2})
    assert run("compare", "cat.png", "-o", "small.webp", "--width", max(sizes) // 3)[0] == 0
    monkeypatch.setattr("bench.showcase.pairs", None)
    code, _, err = run("compare", "cat.png", "-o", "large.webp")
    assert code == 3 and "WEBP cannot hold" in err and f"at most {max(sizes) // 2} a side" in err


def test_webp_is_the_best_that_fits():
    pixels = skimage.data.chelsea()
    best = best_webp(pixels, 1200)
    assert len(best.data) <= 1200 and best.pixels.shape == pixels.shape
    for scale in (1, 2, 4, 8):
        size = (round(451 / scale), round(300 / scale))
        small = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
        for quality in (0, 20, 60):
            file = io.BytesIO()
            small.save(file, "WEBP", quality=quality, method=6)
            if file.tell() <= 1200:
                back = np.asarray(Image.open(file).resize((451, 300), Image.Resampling.BICUBIC))
                assert psnr_rgb(pixels, back) <= psnr_rgb(pixels, best.pixels) + 1e-9
    assert best_webp(pixels, 1).scale == 8  # none fits: the smallest


def test_contact_sheet_keeps_every_pixel_and_labels_it():
    red, blue = np.full((10, 300, 3), (255, 0, 0), np.uint8), np.full((20, 30, 3), (0, 0, 255), np.uint8)
    sheet = contact_sheet([[Cell(("red",), red), Cell(("a longer label",), blue)], [Cell(("text",))]])
    top = MARGIN + LINE
    np.testing.assert_array_equal(sheet[top : top + 10, MARGIN : MARGIN + 300], red)
    np.testing.assert_array_equal(sheet[top : top + 20, 2 * MARGIN + 300 :][:, :30], blue)
    labels = sheet[MARGIN:top, 2 * MARGIN + 300 : -MARGIN]
    assert labels.min() == 0 and labels.shape[1] > 30
    assert (sheet[:, -MARGIN:] == 255).all()
