"""The benchmark from pictures to tables, plots and files, and its command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from bench import codecs, plots, published, run, tables
from bench.codecs import RATES_BPP
from bench.records import load
from tok1d_codec.cli.bench import bench as bench_command
from tok1d_codec.codec import encode
from tok1d_codec.image.io import read_picture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two small photographs; few settings."""
    monkeypatch.setattr(codecs, "_QUALITIES", {"jpeg": (5, 30), "webp": (5, 50), "avif": (10, 40)})
    pictures = tmp_path / "photos"
    pictures.mkdir()
    Image.fromarray(data.chelsea()[100:196, 150:278]).save(pictures / "cat.png")
    Image.fromarray(data.astronaut()[0:72, 200:272]).save(pictures / "face.png")
    return pictures


@pytest.fixture
def bundled(monkeypatch, tiny_model):
    """The tiny random model in the place of the one that is bundled."""
    monkeypatch.setattr("tok1d_codec.models.store.load_model", lambda name, device: tiny_model)
    monkeypatch.setattr(run, "card_by_name", lambda name: tiny_model.card)
    return tiny_model


def test_everything_is_written(folder, tmp_path, bundled):
    report = run.benchmark(folder, out_dir=tmp_path / "out", command="t1d bench", progress=False)
    names = {path.name for path in report.paths}
    assert {"t1d.json", "t1d-effort1.json", "webp-full.json", "webp-1of8.json", "avif-best.json", "table.md",
            "rd-lpips-alex.png", "rd-psnr-rgb.png", "rd-ms-ssim-rgb.png"} <= names
    assert {path.parent for path in report.paths} == {tmp_path / "out" / "photos"}
    assert (tmp_path / "out" / "photos" / "table.md").read_text() == report.text
    for heading in ("# photos, 2 pictures", "## At the rates of t1d", "## At the rates of t1d-effort1", "## BD-rate", "## Every point"):
        assert heading in report.text.splitlines()

    record = load(tmp_path / "out" / "photos" / "t1d.json")
    pixels = [read_picture(file).pixels for file in sorted(folder.iterdir())]
    rates = [8 * len(encode(p, bundled, bpp=RATES_BPP[4])) / (p.shape[0] * p.shape[1]) for p in pixels]
    assert record.results["bpp"][4] == pytest.approx(np.mean(rates), rel=1e-5)
    assert load(tmp_path / "out" / "photos" / "t1d-effort1.json").meta["effort"] == 1
    meta = record.meta
    assert meta["settings"] == list(RATES_BPP) and meta["model"] == "tiny"
    assert {"data_sha256", "commit", "command", "versions", "cpu", "threads", "device", "date"} <= set(meta)
    assert record.pictures["names"] == ["cat.png", "face.png"]
    lengths = {len(values) for values in record.results.values()}
    assert lengths == {len(RATES_BPP)}


def test_earlier_curves_of_the_same_pictures_are_shown_again(folder, tmp_path, bundled):
    run.benchmark(folder, codecs=("webp",), out_dir=tmp_path / "out", progress=False)
    again = run.benchmark(folder, codecs=("t1d",), out_dir=tmp_path / "out", progress=False)
    assert "t1d against webp-best" in again.text
    (folder / "cat.png").rename(folder / "dog.png")
    other = run.benchmark(folder, codecs=("t1d",), out_dir=tmp_path / "out", progress=False)
    assert "webp" not in other.text


def test_curves_of_an_older_model_are_left_out_and_named(folder, tmp_path, bundled, monkeypatch, capsys):
    (tmp_path / "out" / "photos").mkdir(parents=True)
    (tmp_path / "out" / "photos" / "other.json").write_text("not JSON")
    first = run.benchmark(folder, codecs=("t1d",), out_dir=tmp_path / "out", efforts=(0, 4), rates_bpp=(0.5, 0.5), progress=False)
    assert load(first.paths[0]).meta["settings"] == [0.5]
    assert "| t1d-effort4 " in first.text and "older" not in capsys.readouterr().err
    monkeypatch.setattr(run, "card_by_name", lambda name: replace(bundled.card, name="newer"))
    again = run.benchmark(folder, codecs=("webp",), out_dir=tmp_path / "out", progress=False)
    assert "t1d" not in again.text and "| webp " in again.text
    assert "left out, since measured with an older model: t1d, t1d-effort4" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_names_that_are_no_text(folder, tmp_path):
    (folder / "face.png").rename(folder / "\udcff.png")
    folder = folder.rename(tmp_path / "\udcfe")
    report = run.benchmark(folder, codecs=("jpeg",), out_dir=tmp_path / "out", progress=False)
    assert "# \\udcfe, 2 pictures" in report.text
    assert load(report.paths[0]).pictures["names"] == ["cat.png", "\udcff.png"]


def test_limit_writes_beside_the_whole(folder, tmp_path):
    report = run.benchmark(folder, codecs=("jpeg",), out_dir=tmp_path, limit=1, progress=False)
    assert report.paths[0].parent == tmp_path / "photos-first1"
    assert load(report.paths[0]).pictures["names"] == ["cat.png"]


def test_plots_are_pictures_with_and_without_published_points(folder, tmp_path):
    curves = run.evaluate(codecs.open_codec("webp"), run.open_dataset(folder), {})
    sizes = []
    for with_published in (False, True):
        paths = plots.plot_all(curves, "title", tmp_path / str(with_published), with_published)
        for path in paths:
            with Image.open(path) as picture:
                assert picture.format == "PNG" and picture.size == (1200, 825)
        sizes.append([path.stat().st_size for path in paths])
    assert sizes[0] != sizes[1]
    assert published.points("PerCo", "lpips-alex") == ([.0324], [.297])


def test_published_lpips_of_an_unnamed_network_is_marked():
    assert set(published.LPIPS_WITH_ALEXNET) <= set(published.KODAK)
    assert plots._published_label("VTM", "lpips-alex") == "VTM (published, net as in the paper)"
    assert plots._published_label("VTM", "psnr-rgb") == "VTM (published)"
    assert plots._published_label("StableCodec", "lpips-alex") == "StableCodec (published)"


def test_tables_line_up():
    text = tables._table(("codec", "bpp"), [("t1d", "0.0100"), ("webp", "-")])
    assert text.splitlines() == ["| codec | bpp    |",
                                 "| ----- | ------ |",
                                 "| t1d   | 0.0100 |",
                                 "| webp  |      - |"]


def test_command(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--dataset", str(folder), "--codecs", "jpeg", "--limit", "1"]
    result = CliRunner().invoke(bench_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "| jpeg " in result.output
    written = tmp_path / "t1d-bench" / "photos-first1" / "jpeg-full.json"
    meta = json.loads(written.read_text())["meta"]
    assert meta["command"] == "t1d bench --dataset photos --codecs jpeg --model t1d --device auto --limit 1"
    assert str(tmp_path) not in written.read_text()


def test_command_puts_results_into_a_checkout(tmp_path, monkeypatch):
    given = []

    def benchmark(*args, **kwargs):
        given.append(args)
        return run.Report("text", (tmp_path / "t1d.json",))
    monkeypatch.setattr(run, "benchmark", benchmark)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "kodak.sha256").touch()
    arguments = ["--codecs", " WebP,t1d ", "--device", "cpu", "--effort", "3", "--bpp", "0.02"]
    result = CliRunner().invoke(bench_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    dataset, data_dir, model, device, names, out, limit, command = given[0]
    assert command == "t1d bench --dataset kodak --codecs webp,t1d --bpp 0.02 --effort 3 --model t1d --device cpu"
    assert (dataset, data_dir, model, names) == ("kodak", None, "t1d", ("webp", "t1d"))
    assert (str(out), limit) == ("bench/results", None)


def test_command_refuses_unknown_codecs():
    result = CliRunner().invoke(bench_command, ["--codecs", "bpg"])
    assert result.exit_code == 2 and "t1d,jpeg,webp,avif" in result.output
