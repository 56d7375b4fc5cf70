"""Records: means, files, best of scales."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from dataclasses import replace

import pytest

from bench import records
from bench.records import Record


def curve(name: str, points: list[tuple[float, float, float]], scale: int | str = 1) -> Record:
    """(bpp, PSNR, LPIPS) for each setting -> a record; MS-SSIM is PSNR / 100."""
    bpp, psnr, lpips = (list(column) for column in zip(*points))
    results = {"bpp": bpp, "psnr-rgb": psnr, "ms-ssim-rgb": [p / 100 for p in psnr], "lpips-alex": lpips}
    settings = list(range(len(bpp)))
    meta = {"codec": name.split("-")[0], "scale": scale, "settings": settings, "data_sha256": "aa"}
    return Record(name, "made up", meta, results)


def test_results_are_means_over_pictures():
    rows = {5: [{"bpp": 0.1, "border-ratio": math.nan}, {"bpp": 0.3, "border-ratio": 2.0}],
            9: [{"bpp": 1.0, "border-ratio": math.nan}, {"bpp": 2.0, "border-ratio": math.nan}]}
    record = records.make_record("webp", 2, "d", {"data": "x"}, ["a.png", "b.png"], rows)
    assert record.name == "webp-1of2"
    assert record.meta == {"codec": "webp", "scale": 2, "settings": [5, 9], "data": "x"}
    assert record.results["bpp"] == pytest.approx([0.2, 1.5])
    assert record.results["border-ratio"][0] == 2 and math.isnan(record.results["border-ratio"][1])
    assert record.pictures["names"] == ["a.png", "b.png"]
    assert record.pictures["bpp"] == [[0.1, 0.3], [1.0, 2.0]]


def test_file_has_the_usual_shape_and_comes_back(tmp_path):
    record = curve("webp-full", [(0.123456789, math.inf, 0.5), (0.2, 30.0, math.nan)])
    path = records.save(record, tmp_path)
    assert path == tmp_path / "webp-full.json"
    values = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert list(values)[:4] == ["name", "description", "meta", "results"]
    assert values["results"]["bpp"] == [0.123457, 0.2] and values["results"]["psnr-rgb"] == [None, 30.0]
    loaded = records.load(path)
    assert loaded.meta == record.meta and math.isnan(loaded.results["lpips-alex"][1])
    assert records.load_folder(tmp_path, "aa")[0].name == "webp-full"
    assert records.load_folder(tmp_path, "bb") == []
    for number, text in enumerate(("[1, 2]", '{"results": 3}')):  # other results may lie beside records
        (tmp_path / f"{number}.json").write_text(text)
    assert [record.name for record in records.load_folder(tmp_path, "aa")] == ["webp-full"]


def test_other_pictures_of_the_same_name_have_a_folder_of_their_own(tmp_path):
    record = curve("webp-full", [(0.1, 20, 0.6)])
    assert records.folder_of(tmp_path, "photos", "aa") == tmp_path / "photos"
    records.save(record, tmp_path / "photos")
    assert records.folder_of(tmp_path, "photos", "aa") == tmp_path / "photos"
    other = records.folder_of(tmp_path, "photos", "b" * 64)
    assert other == tmp_path / "photos-bbbbbbbb"
    records.save(replace(record, meta={**record.meta, "data_sha256": "b" * 64}), other)
    assert records.folder_of(tmp_path, "photos", "b" * 64) == other


def test_best_of_scales_takes_the_better_curve_at_each_rate():
    full = curve("webp-full", [(0.1, 20, 0.6), (1.0, 40, 0.2)], 1)
    half = curve("webp-1of2", [(0.01, 18, 0.8), (0.1, 24, 0.7), (1.0, 26, 0.65)], 2)
    best = records.best_of_scales([full, half])
    assert best.name == "webp-best" and best.meta["scale"] == "best"
    assert best.results["bpp"] == [0.01, 0.1, 1.0]
    assert best.results["psnr-rgb"] == [18, 24, 40]
    assert best.results["lpips-alex"] == [0.8, 0.6, 0.2]


def test_best_of_scales_never_gets_worse_with_more_bits():
    best = records.best_of_scales([curve("jpeg-full", [(0.1, 25, 0.5), (0.2, 24, 0.6)])])
    assert best.results["psnr-rgb"] == [25, 25] and best.results["lpips-alex"] == [0.5, 0.5]


def test_value_at_interpolates_over_log_rate_and_stays_inside():
    line = curve("jpeg-full", [(0.1, 20, 0.6), (1.0, 40, 0.2)])
    assert records.value_at(line, "psnr-rgb", 10**-0.5) == pytest.approx(30)
    assert math.isnan(records.value_at(line, "psnr-rgb", 0.09))
    assert math.isnan(records.value_at(line, "psnr-rgb", 1.01))


def test_environment_names_what_made_the_figures():
    found = records.environment(threads=3)
    assert found["threads"] == 3 and found["cpu"] and found["versions"]["torch"]
    json.dumps(found, allow_nan=False)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_only_changed_code_makes_a_commit_dirty(tmp_path):
    (tmp_path / "bench" / "results").mkdir(parents=True)
    files = [tmp_path / "code.py", tmp_path / "README.md", tmp_path / "bench" / "results" / "t1d.json"]
    for file in files:
        file.write_text("1")
    assert records._commit(tmp_path) is None
    for words in (["init", "-q"], ["add", "."],
                  ["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    commit = records._commit(tmp_path)
    assert len(commit) == 40
    for file in files[1:]:
        file.write_text("2")
    assert records._commit(tmp_path) == commit
    files[0].write_text("2")
    assert records._commit(tmp_path) == f"{commit}-dirty"
