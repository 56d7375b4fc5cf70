"""What a command does not need, it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import tok1d_codec
from tok1d_codec.cli import COMMANDS, main

HEAVY = ("torch", "torch._dynamo", "numpy", "PIL", "skimage", "matplotlib", "scipy")
ROOT = Path(tok1d_codec.__file__).parents[1]


def python(*args: str, **streams) -> subprocess.CompletedProcess:
    """Arguments of a new interpreter -> how it ended."""
    streams = streams or {"stdout": subprocess.PIPE}
    return subprocess.run([sys.executable, *args], cwd=ROOT, text=True, stderr=subprocess.PIPE, **streams)


def imported(*args: object) -> tuple[int, set[str]]:
    """Arguments -> exit code and the heavy modules that a new process has imported at its end."""
    words = [str(arg) for arg in args]
    script = (
        f"import sys; from tok1d_codec.cli import main; code = main({words!r})\n"
        f"print('modules:', *(name for name in {HEAVY!r} if name in sys.modules)); sys.exit(code)"
    )
    ended = python("-c", script)
    return ended.returncode, set(ended.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_nothing_heavy(command):
    assert imported(*([command] if command else []), "--help") == (0, set())


def test_every_command_is_named_like_its_module():
    for name in COMMANDS:
        assert main.get_command(None, name).name == name


@pytest.mark.parametrize("content, code", [(b"no t1d file", 10), (b"\xd1\xd3", 11), (b"\xd1\xd1\x01", 12)])
def test_a_bad_file_ends_before_torch(tmp_path, content, code):
    path = tmp_path / "bad.t1d"
    path.write_bytes(content)
    for args in (("info", path), ("decode", path, tmp_path / "a.png")):
        assert imported(*args)[0] == code and "torch" not in imported(*args)[1]


def test_coding_does_not_import_the_compiler_of_torch(tmp_path):
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "a.png")
    for args in (("encode", tmp_path / "a.png", tmp_path / "a.t1d"), ("decode", tmp_path / "a.t1d", tmp_path / "b.png")):
        code, modules = imported(*args)
        assert code == 0 and "torch" in modules and "torch._dynamo" not in modules


def test_info_and_models_run_without_torch(t1d_file, weights):
    folder, card = weights
    script = "\n".join(
        [
            "import sys, pathlib",
            "from tok1d_codec.cli import main",
            "from tok1d_codec.models import cards, store",
            "from tok1d_codec.models.cards import ModelCard",
            f"store.FOLDER, cards.CARDS = pathlib.Path({str(folder)!r}), ({card!r},)",
            f"codes = main(['info', {str(t1d_file)!r}]), main(['models'])",
            "print(codes, 'torch' in sys.modules)",
        ]
    )
    ended = python("-c", script)
    lines = ended.stdout.splitlines()
    assert lines and lines[-1] == "(0, 0) False", ended.stderr
    assert any(line.split() == ["checksum", "ok"] for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a shell")
def test_a_reader_that_has_had_enough():
    reading, writing = os.pipe()
    os.close(reading)
    ended = python("-m", "tok1d_codec.cli", "--help", stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full")
def test_a_full_disk_behind_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        ended = python("-m", "tok1d_codec.cli", "models", stdout=full)
    assert (ended.returncode, ended.stderr) == (1, "t1d: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="file descriptors")
def test_a_closed_stderr_is_no_reason_to_fail(tmp_path):
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "a.png")
    command = [sys.executable, "-m", "tok1d_codec.cli", "encode", tmp_path / "a.png", tmp_path / "a.t1d", "--effort", "1"]
    assert subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], cwd=ROOT).returncode == 0
    assert (tmp_path / "a.t1d").is_file()


def test_names_that_are_no_text_are_printed_escaped():
    strict = os.environ | {"T1D_HOME": os.fsdecode(b"\xff"), "PYTHONIOENCODING": "utf-8:strict"}
    ended = python("-m", "tok1d_codec.cli", "models", stdout=subprocess.PIPE, env=strict)
    assert ended.returncode == 0 and "\\udcff" in ended.stdout, ended.stderr
