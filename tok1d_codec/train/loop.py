"""The training loop of the tokenizer: one pass from pictures to a checkpoint, resumable at any moment."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..data.crops import random_crops
from ..data.shards import Pictures
from ..errors import TrainingFailed
from ..tokenizer.allocation import allocate, urgency
from ..tokenizer.t1d import LATENT_SCALE, T1DTokenizer
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
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


class Trainer:
    """Two stages: squared error of PCA coefficients (no pixels), then pixels with perceptual losses.

    The schedule follows the minutes trained, so that a run ends when it was told to.
    """

    def __init__(
        self, config: TrainConfig, pictures: Pictures, validation: Validation, run: RunFolder,
        hardware: Hardware, alex: Path, vgg: Path | None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.config, self.pictures, self.validation = config, pictures, validation
        self.run, self.hardware = run, hardware
        torch.manual_seed(seed + hardware.rank)
        self.numpy_rng = np.random.default_rng([seed, hardware.rank])
        self.shared_rng = torch.Generator().manual_seed(seed)  # the same draws in every process
        self.model = T1DTokenizer(config.model).to(hardware.device)
        self.model.decoder.head.to(memory_format=torch.channels_last)
        self.losses = PixelLosses(config, alex, vgg, hardware.compile).to(hardware.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), config.rate, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.ema = Ema(self.model, config.ema)
        self.step, self.stage_start, self.minutes = 0, 0, 0.0

    def start(self, weights: dict[str, Tensor] | None = None) -> None:
        """Set the network from the PCA of sample pictures and k-means of its latents.

        `weights` of a trained model go on top, before k-means; see `T1DTokenizer.start_from`.
        """
        rng = np.random.default_rng(0)  # every process starts from the same sample
        sample = random_crops(self.pictures, self.config.start_pictures, self.config.crop, rng)
        torch_state = torch.get_rng_state()
        torch.manual_seed(0)
        self.model.start_from(sample.to(self.hardware.device), weights)
        torch.set_rng_state(torch_state)
        states = (self.model.state_dict(), self.model.quantizer.statistics, self.losses.discriminator.state_dict())
        for tensor in (tensor for state in states for tensor in state.values()):
            if self.hardware.world > 1:
                torch.distributed.broadcast(tensor, 0)
        self.ema = Ema(self.model, self.config.ema)

    def train(self) -> None:
        """Run to the end of the planned minutes, saving and validating on the way."""
        last_save = last_validation = self.minutes
        meter = Meter(self.step)
        with tqdm(total=round(self.config.minutes, 1), unit="min", initial=round(self.minutes, 1),
                  disable=self.hardware.rank > 0, bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} min {postfix}") as bar:  # fmt: skip
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
        images = random_crops(self.pictures, self.config.batch, self.config.crop, self.numpy_rng)
        images = images.to(self.hardware.device)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._pixel_step(images, progress) if in_pixels else self._coefficient_step(images)
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

    def _latents(self, images: Tensor, frozen: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images -> coefficients, quantized latents, how deep each patch is coded, commitment loss."""
        with torch.set_grad_enabled(not frozen), self.hardware.autocast():
            with torch.no_grad():
                coefficients = self.model.encoder.coefficients(images)
            z = self.model.encoder(coefficients)
        sums, commitment, _ = self.model.quantizer(z, update=not frozen)
        depth = self._depth(z.detach(), sums)
        kept = sums.gather(0, (depth - 1)[None].expand(1, *z.shape))[0]
        return coefficients, z + (kept - z).detach(), depth, commitment

    def _depth(self, z: Tensor, sums: Tensor) -> Tensor:
        """Latents (B, D, h, w) and their quantized sums by level -> levels kept in each cell (B, 1, h, w) int64."""
        b, _, h, w = z.shape
        depth = torch.multinomial(torch.tensor(self.config.depth_odds), b, replacement=True) + 1
        even = depth[:, None, None, None].expand(b, 1, h, w).to(z.device)
        mean_depth, power = (depth - torch.rand(b)).clamp_min(1), torch.rand(b)
        errors = (z - sums[:-1]).square().mean(2).transpose(0, 1)
        adapted = allocate(urgency(errors, power.to(z.device)), mean_depth.to(z.device))
        choice = (torch.rand(b) < self.config.even_depth).to(z.device)
        return torch.where(choice[:, None, None, None], even, adapted)

    def _coefficient_step(self, images: Tensor) -> dict[str, float]:
        target, quantized, depth, commitment = self._latents(images, frozen=False)
        with self.hardware.autocast():
            _, coefficients = self.model.decoder.features(quantized, depth)
        # the basis is orthonormal: this is the squared error of the pixels, but for what the basis lacks
        scale = target.shape[-1] / (LATENT_SCALE**2 * self.model.encoder.basis.shape[0])
        squared = F.mse_loss(coefficients, target.float()) * scale
        loss = self.config.squared_weight * squared + self.config.commitment_weight * commitment
        loss.backward()
        return {"mse": squared.item(), "commitment": commitment.item()}

    def _pixel_step(self, images: Tensor, progress: float) -> dict[str, float]:
        frozen = progress >= self.config.freeze_encoder
        _, quantized, depth, commitment = self._latents(images, frozen)
        with self.hardware.autocast():
            restored = self.model.decoder.pixels(*self.model.decoder.features(quantized, depth))
        adversarial = progress >= self.config.adversarial_start and self.config.adversarial_weight > 0
        gradient, parts = self.losses.gradient(
            restored, images, self.shared_rng, adversarial, self.hardware.autocast()
        )
        if frozen:
            restored.backward(gradient)
        else:
            torch.autograd.backward([restored, self.config.commitment_weight * commitment], [gradient, None])
        return {**parts, "commitment": commitment.item()}

    def save(self) -> None:
        """Everything that the run needs to go on, into the run folder (first process only)."""
        if self.hardware.rank == 0:
            self.run.save({
                "model": self.model.state_dict(), "ema": self.ema.state_dict(),
                "statistics": self.model.quantizer.statistics,
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
        self.model.quantizer.statistics = {k: v.to(device) for k, v in state["statistics"].items()}
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
            averaged = T1DTokenizer(self.config.model).to(self.hardware.device)
            averaged.load_state_dict(self.ema.average)
            record = self.validation.measure(averaged.eval(), self.losses.nets[0], self.run.path, self.step)
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
