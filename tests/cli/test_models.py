"""`t1d models`: the list, `import` and `fetch`."""

from __future__ import annotations

import sys

import pytest

from tok1d_codec.models import released


def rows(text: str) -> dict[str, list[str]]:
    """The list's lines of TiTok models, by name."""
    return {line.split()[1]: line.split() for line in text.splitlines() if " titok-" in line}


def test_the_list_shows_what_can_be_imported_and_what_is(tiny_release, run):
    code, out, _ = run("models")
    assert code == 0 and str(tiny_release.parent / "home") in out
    assert list(rows(out)) == list(released.RELEASED)
    assert rows(out)["titok-s128"] == "66 titok-s128 importable 83.7 M 128 1536 Apache-2.0".split()
    assert rows(out)["titok-sl256-vq8k"][2:] == "importable 330.3 M 256 3328 Apache-2.0".split()
    code, said, _ = run("models", "import", "titok-l32", tiny_release)
    assert code == 0 and said.startswith("titok-l32: ") and "titok-l32.safetensors" in said
    assert rows(run("models")[1])["titok-l32"][2] == "imported"
    (tiny_release.parent / "home" / "titok-l32.safetensors").write_bytes(b"cut short")
    assert rows(run("models")[1])["titok-l32"][2] == "damaged"


@pytest.mark.parametrize(
    "args, code, said",
    [
        (("import", "titok-x", "."), 20, "no model titok-x to import"),
        (("import", "titok-l32", "none"), 5, "no file 'none'"),
        (("import", "titok-bl128-vae-c16", "."), 23, "continuous tokens"),
        (("fetch", "titok-x"), 20, "no model titok-x to import"),
        (("fetch", "titok-l32"), 5, "huggingface_hub is not installed"),
        (("import", "titok-l32"), 2, "Missing argument"),
        (("none",), 2, "No such command"),
    ],
)
def test_errors(tiny_release, run, monkeypatch, args, code, said):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    got, out, err = run("models", *args)
    assert (got, out) == (code, "") and said in err
    if code != 2:
        assert err.startswith("t1d: ") and err.count("\n") == 1


def test_a_second_import_needs_force(tiny_release, run):
    assert run("models", "import", "titok-l32", tiny_release)[0] == 0
    assert run("models", "import", "titok-l32", tiny_release)[0] == 4
    assert run("models", "import", "titok-l32", tiny_release, "--force")[0] == 0
