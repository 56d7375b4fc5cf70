from __future__ import annotations

import pytest
import torch

from tok1d_codec.device import pick_device
from tok1d_codec.errors import DeviceUnavailable


def test_auto_takes_a_gpu_when_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for here, chosen in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda here=here: here)
        assert pick_device("auto").type == chosen
    assert pick_device("cpu").type == "cpu"


def test_a_device_that_is_not_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="--device auto"):
        pick_device("cuda")
