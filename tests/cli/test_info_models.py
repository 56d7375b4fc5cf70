from __future__ import annotations

import json

import pytest

from tok1d_codec.models import cards, store


def test_info_as_json(t1d_file, model, run):
    code, out, err = run("info", t1d_file, "--json")
    facts = json.loads(out)
    size = t1d_file.stat().st_size
    assert (code, err) == (0, "")
    assert facts["version"] == 2 and facts["model"] == "t1d" and facts["checksum"] == "ok"
    assert (facts["width"], facts["height"], facts["levels"]) == (90, 60, 4)
    assert facts["tokens"] == [2 * 3, 4 * 6, 4 * 6, 4 * 6]
    assert facts["bytes"] == {"header": 8, "checksum": 3, "payload": size - 11, "total": size}
    assert len(facts["level_bytes"]) == 4 and sum(facts["level_bytes"]) == pytest.approx(size - 11, abs=2)
    assert facts["bpp"] == pytest.approx(8 * size / 5400, abs=1e-6)


def test_info_as_text(t1d_file, run):
    code, out, _ = run("info", t1d_file)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0 and lines["width"] == "90" and lines["tokens"] == "6, 24, 24, 24"
    assert lines["checksum"] == "ok" and lines["bytes"].startswith("header 8, checksum 3, payload ")


def test_info_of_a_damaged_file_is_still_printed(t1d_file, run):
    data = bytearray(t1d_file.read_bytes())
    data[8] ^= 1  # in the checksum
    t1d_file.write_bytes(data)
    code, out, err = run("info", t1d_file, "--json")
    assert code == 13 and json.loads(out)["checksum"] == "mismatch"
    assert err.startswith("t1d: ") and "is damaged" in err and err.count("\n") == 1


def test_info_of_a_file_of_other_weights_ends_as_its_decoding_does(t1d_file, run):
    data = bytearray(t1d_file.read_bytes())
    data[4] ^= 1  # the tag of the weights
    t1d_file.write_bytes(data)
    code, out, err = run("info", t1d_file, "--json")
    assert code == 21 and json.loads(out)["checksum"].startswith("wrong weights (")
    assert err.startswith("t1d: ") and err.count("\n") == 1


def test_info_of_a_model_that_is_not_known(t1d_file, run):
    data = bytearray(t1d_file.read_bytes())
    data[3] = 201  # the model's id
    t1d_file.write_bytes(data)
    code, out, err = run("info", t1d_file, "--json")
    facts = json.loads(out)
    assert code == 20 and "unknown model id 201" in err and err.count("\n") == 1
    assert facts["model"] is None and (facts["model_id"], facts["width"], facts["height"]) == (201, 90, 60)


def test_info_without_the_weights(t1d_file, run, monkeypatch, tmp_path):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    store.weight_path.cache_clear()
    code, out, _ = run("info", t1d_file, "--json")
    assert code == 0 and json.loads(out)["checksum"].startswith("unknown (")


def test_models(model, run, tmp_path, monkeypatch):
    code, out, _ = run("models")
    head, row, trained, levels, *_ = out.splitlines()  # test_models.py looks at the rest
    assert code == 0 and head.split() == ["id", "name", "family", "parameters", "size", "licence"]
    assert row.split()[:3] == ["200", "t1d", "t1d"] and row.endswith("Apache-2.0")
    assert trained.strip() == "trained: for a test"
    assert levels.strip() == (
        "levels: 6 bits per 32x32 px, 2 x 5 bits per 16x16 px, 2 x 4 bits per 16x16 px"
    )
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    store.weight_path.cache_clear()
    assert "missing or damaged" in run("models")[1]


def test_no_models(run, monkeypatch):
    monkeypatch.setattr(cards, "CARDS", ())
    assert run("models")[0] == 0
