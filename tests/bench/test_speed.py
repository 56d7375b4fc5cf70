"""The parts of the speed measurement that need no quiet machine."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from bench import speed


def test_work_of_a_matrix_product_is_counted(monkeypatch):
    monkeypatch.setattr(speed, "_best", lambda call: 0.5)
    a = torch.randn(1000, 1000)
    found = speed._timed(lambda: a @ a, rate=1e9)
    assert found == {"seconds": 0.5, "gflop": 2.0, "share": 4.0}  # 2 GFLOP in half a second, at a rate of 1 a second
    assert json.loads(json.dumps(found)) == found


def test_the_best_run_after_one_to_warm_up_counts(monkeypatch):
    monkeypatch.setattr(speed, "RUNS", 3)
    clock = iter([0, 5, 10, 12, 20, 24])
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    calls = []
    assert speed._best(lambda: calls.append(None)) == 2 and len(calls) == 4


def test_size_of_a_picture():
    assert speed._picture((60, 40)).shape == (40, 60, 3)


@pytest.mark.parametrize(("checkout", "folder"), [(["kodak.sha256"], "bench/results"), ([], "t1d-bench"), (None, "t1d-bench")])
def test_results_are_printed_and_written(tmp_path, monkeypatch, capsys, checkout, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "measure", lambda: {"encode": {"seconds": 1.5}})
    if checkout is not None:
        (tmp_path / "bench").mkdir()  # anybody's, or that of a checkout
        for name in checkout:
            (tmp_path / "bench" / name).touch()
    speed.main()
    text = (tmp_path / folder / "speed.json").read_text()
    assert json.loads(text) == {"encode": {"seconds": 1.5}} and capsys.readouterr().out == text
