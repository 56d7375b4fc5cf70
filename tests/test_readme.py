"""What README shows is what happens: its commands run, its code runs, its figures stand in the results."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from bench.published import KODAK
from bench.records import load, value_at
from bitstream import errors as format_errors
from tok1d_codec import errors
from tok1d_codec.cli import COMMANDS, main
from tok1d_codec.models.cards import card_by_name
from tok1d_codec.models.released import RELEASED

ROOT = Path(__file__).parents[1]
USE = r"t1d (encode|decode|info|models$)"
FILES = [ROOT / "README.md", ROOT / "bench" / "README.md", ROOT / "tok1d_codec" / "train" / "README.md"]
MAIN = FILES[0].read_text()
TEXT = "\n".join(file.read_text() for file in FILES)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)
SHELL = [line.split("  #")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]


def test_the_commands_for_use_run_in_order(tmp_path, monkeypatch, photo, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("in.png")
    Path("photos").mkdir()
    Image.fromarray(photo[:40]).save("photos/small.jpg")
    commands = [shlex.split(line)[1:] for line in SHELL if re.match(USE, line)]
    assert len(commands) == 11
    for command in commands:
        partial = "--partial" in command
        if partial:
            Path("cut.t1d").write_bytes(Path("out.t1d").read_bytes()[:-20])
        assert main(command) == (8 if partial else 0), capsys.readouterr().err
    assert Image.open("rec.png").size == Image.open("cut.png").size == (160, 96)
    assert Path("small.t1d").stat().st_size < Path("out.t1d").stat().st_size < 200
    assert Image.open("pictures/in.png").size == (160, 96) and Image.open("pictures/small.png").size == (160, 40)
    assert Path("sized.t1d").stat().st_size <= 140


def test_the_commands_for_foreign_models_run(tiny_release, monkeypatch, capsys):
    def hf_hub_download(repo_id: str, filename: str) -> str:
        return str(tiny_release / filename)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    monkeypatch.chdir(tiny_release.parent)
    commands = [shlex.split(line)[1:] for line in SHELL if line.startswith("t1d models ")]
    assert [command[1] for command in commands] == ["import", "fetch"]
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err


def test_the_table_of_foreign_models_is_the_one_that_is_used():
    for row in RELEASED.values():
        tokens, bits = row.config.tokens, row.config.bits_per_tile
        assert f"| `{row.name}` | {tokens} | {bits} | {row.parameters / 1e6:.1f} M |" in TEXT


def test_the_python_examples_run(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, "ID", list(Image.ID))  # the example adds a format to Pillow, here only
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    names = {"image": Image.fromarray(photo)}
    for block in blocks:
        exec(block, names)  # noqa: S102
    assert names["picture"].shape == photo.shape and len(names["tokens"]) == names["model"].card.levels
    assert Path("out.t1d").stat().st_size <= 600


def test_every_command_and_option_in_readme_exists(capsys):
    named = {line.split()[1] for line in SHELL if line.startswith("t1d ")}
    assert named <= set(COMMANDS)
    for line in SHELL:
        if line.startswith("t1d "):
            words = line.split()[1:]
            command = words[:2] if words[0] == "train" else words[:1]
            assert main([*command, "--help"]) == 0
            text = capsys.readouterr().out
            known = set(re.findall(r"--[a-z][a-z-]*", text))
            assert words[0] == "models" or set(re.findall(r" (--[a-z][a-z-]*)", line)) <= known, line


def test_the_test_command_is_the_one_that_ci_runs():
    install, test = "pip install '.[test]'", "pytest"
    assert any(line.endswith(f"{install} && {test}") for line in SHELL)
    script = (ROOT / ".ci" / "run").read_text()
    assert f"{test}\n" in script and install.replace("install", "install --quiet") in script


def test_every_exit_code_is_listed():
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", MAIN.split("## Exit codes")[1], re.M)}
    classes = [c for module in (errors, format_errors) for c in vars(module).values() if isinstance(c, type)]
    used = {c.exit_code for c in classes if issubclass(c, format_errors.T1DError)}
    assert used | {0, 1, 2, 130} == listed


def test_the_table_shows_the_recorded_figures():
    record = json.loads((ROOT / "bench/results/kodak/t1d-effort1.json").read_text())
    results = record["results"]
    for n, asked in enumerate(record["meta"]["settings"]):
        row = [results[key][n] for key in ("bpp", "psnr-rgb", "ms-ssim-rgb", "lpips-alex")]
        assert "| {:g} | {:.4f} | {:.2f} | {:.3f} | {:.3f} |".format(asked, *row) in TEXT


def test_the_table_and_the_rates_of_the_others_are_the_recorded_ones():
    folder = ROOT / "bench/results/kodak"
    test, *bests = (load(folder / f"{name}.json") for name in ("t1d-effort1", "webp-best", "avif-best"))
    for asked, rate_bpp in zip(test.meta["settings"], test.results["bpp"], strict=True):
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| {asked:g} | 0."))
        for cell, best in zip(row.split(" | ")[-2:], bests, strict=True):
            figures = [value_at(best, metric, rate_bpp) for metric in ("psnr-rgb", "lpips-alex")]
            assert cell.strip(" |") == ("- / -" if math.isnan(figures[0]) else "{:.2f} / {:.3f}".format(*figures))
    lines = (line.split("|") for line in (folder / "table.md").read_text().splitlines() if " against " in line)
    rows = {(line[1].strip(), line[2].strip()): [cell.strip() for cell in line[3:5]] for line in lines}
    said = re.findall(r"^- (WebP|AVIF) by (LPIPS|PSNR|MS-SSIM): (\S+ %) \((.*)\)$", TEXT, re.M)
    assert len(said) == 6
    for codec, metric, percent, note in said:
        key = f"t1d-effort1 against {codec.lower()}-best", metric.replace("LPIPS", "LPIPS-Alex")
        assert rows[key] == [percent, note]


def test_published_figures_are_those_of_the_module():
    rows = re.findall(rf"^\| ({'|'.join(KODAK)}) \| (.*) \|$", TEXT, re.M)
    assert len(rows) == 7
    for name, cells in rows:
        assert tuple(map(float, cells.split(" | "))) in KODAK[name]


def test_the_table_of_small_pictures_shows_the_recorded_figures():
    record = json.loads((ROOT / "bench/results/sizes.json").read_text())
    assert record["model_sha256"] == card_by_name("t1d").sha256
    for side, qualities in record["results"].items():
        for quality, row in qualities.items():
            webp = f"{row['webp-bytes']:.0f} / {row['webp-lpips-alex']:.3f}"
            assert f"| {side} | {quality} | {row['bytes']:.0f} / {row['lpips-alex']:.3f} | {webp} |" in TEXT


def test_the_table_of_qualities_shows_the_recorded_rates():
    record = json.loads((ROOT / "bench/results/quality.json").read_text())
    assert record["model_sha256"] == card_by_name("t1d").sha256
    found = record["bpp"]
    for row in (found, [f"{f['mean']:.3f}" for f in found.values()],
                [f"{f['least']:.3f}, {f['most']:.3f}" for f in found.values()]):  # fmt: skip
        assert f"| {' | '.join(row)} |" in TEXT


def test_the_tables_of_effort_show_the_recorded_figures():
    files = [ROOT / f"bench/results/kodak/t1d{effort}.json" for effort in ("", "-effort1", "-effort4")]
    curves = []
    for record in map(json.loads, (file.read_text() for file in files)):
        keys = ("psnr-rgb", "ms-ssim-rgb", "lpips-alex", "encoding_time")
        curves.append(dict(zip(record["meta"]["settings"], zip(*(record["results"][key] for key in keys)))))
    plain, once, four = curves
    for asked, (psnr, _, lpips, _) in plain.items():
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| {asked:g} | 0."))
        assert f" | {psnr:.2f} / {lpips:.3f} | " in row
    for asked in four:
        cells = ("{:.2f} / {:.3f} / {:.3f} | {:.1f}".format(*curve[asked]) for curve in curves)
        assert f"| {asked:g} | {' | '.join(cells)} |" in TEXT
    assert plain.keys() == once.keys() > four.keys()


def test_the_table_of_places_shows_the_recorded_figures():
    record = json.loads((ROOT / "bench/results/regions.json").read_text())
    assert record["model_sha256"] == card_by_name("t1d").sha256
    for kind, rates in record["results"].items():
        for rate_bpp, found in rates.items():
            figures = [f"{found[f'{codec}-lpips-alex']:.3f} / {found[f'{codec}-ms-ssim-rgb']:.3f}" for codec in ("t1d", "webp")]
            assert f"| {kind} | {rate_bpp} | {figures[0]} | {figures[1]} | {100 * found['worse']:.0f} % |" in TEXT


def test_the_table_of_the_prior_shows_the_recorded_figures():
    record = json.loads((ROOT / "bench/results/prior.json").read_text())
    for levels, row in record["levels"].items():
        sizes = f"{row['packed_bytes']:.0f} | {row['coded_bytes']:.0f} | {row['saved_percent']:.1f} %"
        assert f"| {levels} | {row['bpp']:.4f} | {sizes} | " in TEXT


def test_the_table_of_vgg_shows_the_recorded_figures():
    record = json.loads((ROOT / "bench/results/vgg-skimage.json").read_text())
    for asked, row in record["results"].items():
        figures = " | ".join(f"{row[name]:.3f}" for name in ("t1d-effort0", "t1d-effort1", "webp"))
        assert f"| {asked} | {figures} |" in TEXT


def test_the_table_of_reading_shows_the_recorded_figures():
    record = json.loads((ROOT / "bench/results/reading-kodak.json").read_text())
    for asked, row in record["results"].items():
        cells = [f"{row[f'{codec}-letters']:.3f} / {row[f'{codec}-lines']:.3f}" for codec in ("t1d", "webp")]
        assert f"| {asked} | {' | '.join(cells)} |" in TEXT


def test_the_table_of_families_shows_the_recorded_figures():
    record = json.loads((ROOT / "bench/results/families.json").read_text())
    assert set(record["families"]) == {"t1d", "titok", "patch-vq"}
    for family, figures in record["families"].items():
        row = figures["pictures"], figures["bpp"], figures["psnr"], figures["lpips_alex"]
        assert "| `{}` | {:,} | {:.4f} | {:.2f} | {:.3f} |".format(family, *row) in TEXT


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_links_lead_somewhere(file):
    text = file.read_text()
    headings = {re.sub(r"[^a-z0-9 ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, heading = target.partition("#")
        assert heading in headings if not path else (file.parent / path).exists(), target
