"""The training loop of the tokenizer: one pass from pictures to a checkpoint, resumable at any moment."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..data.crops import random_crops
from ..data.shards import Pictures
from ..data.subjects import Subjects
from ..device import move
from ..errors import TrainingFailed
from .families import trainee
from .losses import PixelLosses, average_gradients
from .presets import TrainConfig
from .state import Ema, RunFolder
from .validate import Validation

LOG_STEPS = 50


@dataclass(frozen=True)
class Hardware:
    """Where and how the arithmetic of training runs."""

    device: str = "cpu"
    bf16: bool = False  # autocast; by default on CUDA only, since most CPUs emulate bfloat16
    compile: bool = False  # fuse the memory-bound parts of the losses; needs a C++ compiler
    rank: int = 0
    world: int = 1

    def autocast(self) -> torch.autocast:
        """-> a context in which networks run in bfloat16, if that was asked for."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


class Trainer:
    """Two stages, for any family: squared error alone, then pixels with perceptual losses.

    The schedule follows the minutes trained, so that a run ends when it was told to.
    """

    def __init__(
        self, config: TrainConfig, pictures: Pictures, validation: Validation, run: RunFolder,
        hardware: Hardware, vgg: Path | None, seed: int = 0, subjects: Sequence[Subjects] = (),
    ) -> None:  # fmt: skip
        self.config, self.pictures, self.subjects, self.validation = config, pictures, subjects, validation
        self.run, self.hardware = run, hardware
        torch.manual_seed(seed + hardware.rank)
        self.numpy_rng = np.random.default_rng([seed, hardware.rank])
        self.shared_rng = torch.Generator().manual_seed(seed)  # the same draws in every process
        self.trainee = trainee(config, hardware.device)
        self.model = self.trainee.model
        self.losses = PixelLosses(config, vgg, hardware.compile).to(hardware.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), config.rate, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.ema = Ema(self.model, config.ema)
        self.step, self.stage_start, self.minutes = 0, 0, 0.0

    def start(self, weights: dict[str, Tensor] | None = None) -> None:
        """Set the network from sample pictures and, if given, the `weights` of a trained model."""
        rng = np.random.default_rng(0)  # every process starts from the same sample
        sample = random_crops(self.pictures, self.config.start_pictures, self.config.crop, rng)
        torch_state = torch.get_rng_state()
        torch.manual_seed(0)
        self.model.start_from(sample.to(self.hardware.device), weights)
        torch.set_rng_state(torch_state)
        learned, adversary = self.model.state_dict(), self.losses.discriminator.state_dict()
        for tensor in (*learned.values(), *self.trainee.quantizer.statistics.values(), *adversary.values()):
            if self.hardware.world > 1:
                torch.distributed.broadcast(tensor, 0)
        self.ema = Ema(self.model, self.config.ema)

    def train(self) -> None:
        """Run to the end of the planned minutes, saving and validating on the way."""
        last_save = last_validation = self.minutes
        meter = Meter(self.step)
        with tqdm(total=round(self.config.minutes, 1), unit="min", initial=round(self.minutes, 1),
                  disable=self.hardware.rank > 0, bar_format=f"{{l_bar}}{{bar}}| {{n:.1f}}/{self.config.minutes:.1f} min {{postfix}}") as bar:  # fmt: skip
            while self.minutes < self.config.minutes:
                begun = time.monotonic()
                parts = self.train_step()
                meter.add(parts)
                self._advance((time.monotonic() - begun) / 60, bar)
                if self.step % LOG_STEPS == 0:
                    record = {"step": self.step, "minutes": round(self.minutes, 3), **meter.take(self.step)}
                    record["pictures_per_second"] *= self.config.batch * self.hardware.world
                    bar.set_postfix_str(" ".join(f"{k} {v:.3g}" for k, v in record.items() if k != "minutes"))
                    if self.hardware.rank == 0:
                        self.run.log(record)
                if self.minutes - last_save >= self.config.checkpoint_minutes:
                    self.save()
                    last_save = self.minutes
                if self.minutes - last_validation >= self.config.validation_minutes:
                    self.validate()
                    last_validation = self.minutes
        self.save()
        self.validate()

    def _advance(self, minutes: float, bar: tqdm) -> None:
        """Count a step; every process goes by the clock of the first, so that all stop together."""
        if self.hardware.world > 1:
            clock = torch.tensor([minutes])
            torch.distributed.broadcast(clock, 0)
            minutes = clock.item()
        self.step += 1
        self.minutes += minutes
        bar.update(minutes)

    def train_step(self) -> dict[str, float]:
        """One batch, one update -> values of the losses."""
        progress = self.minutes / self.config.minutes
        in_pixels = progress >= self.config.coefficient_share
        if in_pixels and self.stage_start == 0:
            self.stage_start = self.step
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(progress, in_pixels)
        images = random_crops(
            self.pictures, self.config.batch, self.config.crop, self.numpy_rng, self.subjects
        )
        images = move(images, self.hardware.device)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._pixel_step(images, progress) if in_pixels else self._first_step(images)
        average_gradients(self.model)
        parts["gradient"] = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0).item()
        if not math.isfinite(parts["gradient"]):
            raise TrainingFailed(f"gradient is not finite at step {self.step}; resume, or start again with another --seed")
        self.optimizer.step()
        self.ema.update(self.model)
        return parts

    def _rate(self, progress: float, in_pixels: bool) -> float:
        warm = min(1.0, (self.step - self.stage_start + 1) / self.config.warmup_steps)
        if not in_pixels:
            return self.config.rate * warm
        rest = (progress - self.config.coefficient_share) / (1 - self.config.coefficient_share)
        return self.config.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0))))

    def _first_step(self, images: Tensor) -> dict[str, float]:
        loss, parts = self.trainee.first_stage(images, self.hardware.autocast())
        loss.backward()
        return parts

    def _pixel_step(self, images: Tensor, progress: float) -> dict[str, float]:
        restored, images, auxiliary = self.trainee.restore(images, progress, self.hardware.autocast())
        adversarial = progress >= self.config.adversarial_start and self.config.adversarial_weight > 0
        gradient, parts = self.losses.gradient(
            restored, images, self.shared_rng, adversarial, self.hardware.autocast()
        )
        if auxiliary.requires_grad:
            torch.autograd.backward([restored, self.config.commitment_weight * auxiliary], [gradient, None])
        else:
            restored.backward(gradient)
        return {**parts, "commitment": auxiliary.item()}

    def save(self) -> None:
        """Everything that the run needs to go on, into the run folder (first process only)."""
        if self.hardware.rank == 0:
            self.run.save({
                "model": self.model.state_dict(), "ema": self.ema.state_dict(),
                "statistics": self.trainee.quantizer.statistics,
                "optimizer": self.optimizer.state_dict(),
                "discriminator": self.losses.discriminator.state_dict(),
                "discriminator_optimizer": self.losses.optimizer.state_dict(),
                "config": self.config.to_json(),
                "step": self.step, "stage_start": self.stage_start, "minutes": self.minutes,
                "torch_rng": torch.get_rng_state(), "shared_rng": self.shared_rng.get_state(),
                "numpy_rng": json.dumps(self.numpy_rng.bit_generator.state),
            })  # fmt: skip

    def resume(self) -> None:
        """Go on from the run folder's checkpoint."""
        state = self.run.load()
        self.model.load_state_dict(state["model"])
        device = self.hardware.device
        self.trainee.quantizer.statistics = {k: v.to(device) for k, v in state["statistics"].items()}
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.losses.discriminator.load_state_dict(state["discriminator"])
        self.losses.optimizer.load_state_dict(state["discriminator_optimizer"])
        self.step, self.stage_start, self.minutes = state["step"], state["stage_start"], state["minutes"]
        self.shared_rng.set_state(state["shared_rng"])
        if self.hardware.rank == 0:
            torch.set_rng_state(state["torch_rng"])
            self.numpy_rng.bit_generator.state = json.loads(state["numpy_rng"])
            self.run.rewind(self.step)
        else:  # only the first process's draws are kept; the others go on with new ones
            torch.manual_seed(self.step * self.hardware.world + self.hardware.rank)
            self.numpy_rng = np.random.default_rng([self.step, self.hardware.rank])

    def validate(self) -> None:
        """Figures of the averaged weights on the validation pictures, into the log; a plot and examples."""
        if self.hardware.rank == 0:
            averaged = trainee(self.config, self.hardware.device)
            averaged.model.load_state_dict(self.ema.average)
            averaged.model.eval()
            record = self.validation.measure(averaged, self.losses.nets[0], self.run.path, self.step)
            self.run.log({"step": self.step, "minutes": round(self.minutes, 3), "validation": record})
            self.validation.plot(self.run)
        if self.hardware.world > 1:
            torch.distributed.barrier()


class Meter:
    """Running means of the loss values since the last look, and the speed."""

    def __init__(self, step: int) -> None:
        self._restart(step)

    def _restart(self, step: int) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._since, self._step = time.monotonic(), step

    def add(self, parts: dict[str, float]) -> None:
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self, step: int) -> dict[str, float]:
        """-> means, and steps a second as `pictures_per_second` (times the batch for pictures)."""
        now = time.monotonic()
        means = {k: round(v / self._counts[k], 5) for k, v in self._sums.items()}
        means["pictures_per_second"] = (step - self._step) / (now - self._since)
        self._restart(step)
        return means
