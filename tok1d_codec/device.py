"""The device that networks run on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from .errors import DeviceUnavailable


def pick_device(name: str = "auto") -> torch.device:
    """"auto", "cpu", "cuda" or "mps" -> device; "auto" takes a GPU when there is one.

    Raises:
        DeviceUnavailable: the named device is not on this machine.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(n for n, here in present.items() if here)
    if not present.get(name):
        known = ", ".join(n for n, here in present.items() if here)
        raise DeviceUnavailable(f"no device {name!r} here (available: {known}); use --device auto")
    return torch.device(name)


def move(tensor: Tensor, device: torch.device | str) -> Tensor:
    """CPU tensor -> on `device`. To CUDA from pinned memory, so that the copy runs beside the arithmetic."""
    device = torch.device(device)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Where tokens are chosen: arithmetic stays in float32. Meta tensors know no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
