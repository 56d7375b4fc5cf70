"""The device that networks run on."""

from __future__ import annotations

import torch

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
