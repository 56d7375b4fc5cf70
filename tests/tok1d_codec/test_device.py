from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tok1d_codec.device import move, pick_device
from tok1d_codec.errors import DeviceUnavailable
from tok1d_codec.models.store import load_model
from tok1d_codec.tokenizer import FAMILIES
from tok1d_codec.tokenizer.tiling import BATCH, GPU_BATCH, batch_size
from tok1d_codec.train.presets import PRESETS


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


class Recorder:
    """Stands for a CPU tensor: tells what was asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def pin_memory(self) -> Recorder:
        self.calls.append(("pin",))
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> Recorder:
        self.calls.append((device.type, non_blocking))
        return self


def test_only_cuda_is_reached_from_pinned_memory():
    for device, calls in (("cuda", [("pin",), ("cuda", True)]), ("mps", [("mps", False)]), ("cpu", [("cpu", False)])):
        recorder = Recorder()
        move(recorder, device)
        assert recorder.calls == calls


def test_a_gpu_takes_more_tiles_at_once():
    assert batch_size(torch.device("cpu")) == BATCH < GPU_BATCH == batch_size(torch.device("cuda"))


FINE = {"fine_levels": 2, "fine_channels": 8, "letter_levels": 2}


@pytest.mark.parametrize("name, more", [("tiny", {}), ("tiny", FINE), ("titok-tiny", {}), ("patch-vq-tiny", {})])
def test_nothing_stays_on_the_cpu(name, more):
    """A tensor that the code makes on the CPU by mistake cannot meet one of another device, here meta."""
    config = PRESETS[name]
    with torch.device("meta"):
        tokenizer = FAMILIES[config.family](replace(config.model, **more))
    image = torch.rand(1, 3, 300, 520, device="meta")
    indices, urgency = tokenizer.rank(image)
    assert all(i.device.type == "meta" and i.dtype == torch.int64 for i in indices)
    assert urgency is None or all(u.device.type == "meta" for u in urgency)
    picture = tokenizer.decode(tokenizer.encode(image), 300, 520)
    assert picture.device.type == "meta" and picture.shape == image.shape


@pytest.mark.slow
def test_compiled_networks_give_the_same_picture(photo):
    from tok1d_codec import codec

    plain, compiled = load_model("t1d", "cpu"), load_model("t1d", "cpu", compiled=True)
    data = codec.encode(photo, plain, 11)
    assert codec.encode(photo, compiled, 11) == data
    difference = codec.decode(data, plain).astype(int) - codec.decode(data, compiled)
    assert abs(difference).max() <= 1
