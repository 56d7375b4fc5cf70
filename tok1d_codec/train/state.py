"""A training run's folder: checkpoints that a killed run resumes from, the log, the exported model."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ..errors import MissingData
from ..image.files import atomic_write
from .presets import TrainConfig

T = TypeVar("T")


class RunFolder:
    """Names and atomic writing of what a run leaves behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.checkpoint = path / "checkpoint.pt"
        self.log_file = path / "log.jsonl"
        self.model_file = path / "model.safetensors"
        self.kept_prior = path / "kept-prior.safetensors"  # where only the decoder learns

    def save(self, state: dict) -> None:
        """State -> checkpoint; a kill at any moment leaves the old one or the new one."""
        file = BytesIO()  # `torch.save` to a full disk raises no OSError
        torch.save(state, file)
        atomic_write(self.checkpoint, file.getvalue(), force=True)

    def load(self) -> dict:
        """The checkpoint, on the CPU. Raises: MissingData if there is none that can be read."""
        try:
            return torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = (str(error) or "it ends too early").splitlines()[0]
            raise MissingData(f"no checkpoint to go on from in {self.path} ({reason}); start again") from None

    def planned(self, read: Callable[[str], T] = TrainConfig.from_json) -> T:
        """The settings that the run was started with. Raises: MissingData, also if `read` does not know them."""
        state = self.load()
        try:
            return read(state["config"])
        except (KeyError, TypeError, ValueError):
            raise MissingData(f"{self.path} holds a run of another command or release; start again") from None

    def log(self, record: dict) -> None:
        """One JSON line."""
        with open(self.log_file, "a") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict]:
        """The log's whole lines; a kill or a full disk may have cut one short."""
        found = []
        for line in self.log_file.read_text().splitlines() if self.log_file.exists() else ():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def rewind(self, step: int) -> None:
        """Drop what was logged after `step`: a resumed run takes those steps again."""
        kept = [json.dumps(record) + "\n" for record in self.records() if record.get("step", 0) <= step]
        atomic_write(self.log_file, "".join(kept).encode(), force=True)


class Ema:
    """Exponential moving average of a module's parameters; buffers are copied as they are."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.average = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self._parameters = {k for k, _ in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))  # forgets the start quickly
        state = module.state_dict()
        names = [k for k in state if k in self._parameters]
        torch._foreach_lerp_([self.average[k] for k in names], [state[k] for k in names], 1 - decay)
        for name in state.keys() - self._parameters:
            self.average[name].copy_(state[name])

    def state_dict(self) -> dict:
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        for name, value in state["average"].items():
            self.average[name].copy_(value)
