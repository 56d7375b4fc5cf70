"""The training loop of the prior: tokens -> a checkpoint and `prior.safetensors`, resumable at any moment."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import Tensor
from tqdm import tqdm

from ..config import Settings
from ..errors import TrainingFailed
from ..models.writing import whole
from ..prior.integer import PREFIX
from ..prior.network import PriorNetwork, PriorShape
from .batches import Batch, ask, random_thresholds
from .loop import Hardware
from .prior_figures import measure
from .state import Ema, RunFolder
from .tokens import TokenSet

LOG_STEPS = 50


@dataclass(frozen=True)
class PriorConfig(Settings):
    """Settings of `t1d train prior`. The schedule follows the minutes trained."""

    shape: PriorShape = field(default_factory=PriorShape)
    minutes: float = 60.0
    batch: int = 48  # crops a step
    levels_a_step: int = 4
    level_slope: float = 8.0  # a level is drawn with odds 1 / (1 + level / slope)
    whole: float = 0.15  # share of the crops that keep all tokens
    rate: float = 1.5e-3  # peak learning rate
    weight_decay: float = 0.02
    warmup_steps: int = 100
    ema: float = 0.998
    quantize: bool = True
    checkpoint_minutes: float = 2.0
    validation_minutes: float = 10.0
    first_level: int = 0  # that learns; what serves levels before it stays as it is, if there is no weight decay

    @classmethod
    def read(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "shape": PriorShape(**values["shape"])}


class PriorTrainer:
    """AdamW on the bits of random groups of random levels; the rate warms up, then falls as a cosine."""

    def __init__(
        self, config: PriorConfig, tokens: TokenSet, validation: TokenSet, run: RunFolder, hardware: Hardware,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.config, self.tokens, self.validation = config, tokens, validation
        self.run, self.hardware = run, hardware
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.network = PriorNetwork(tokens.codebook_sizes, tokens.strides, config.shape)
        if config.first_level:
            self.network.freeze_before(config.first_level)
        self.hits = [tokens.hits(level) for level in range(len(tokens.strides))]
        self._set_up()

    def start(self, codebooks: list[Tensor]) -> None:
        """Set the tables from the tokenizer's code vectors (n, D) of each level."""
        self.network.start_from(codebooks, self.hits)
        self._set_up()

    def go_on(self, network: PriorNetwork) -> None:
        """Start from the weights of a network of the same shape."""
        self.network.load_state_dict(network.state_dict())
        self._set_up()

    def _set_up(self) -> None:
        groups = [{"params": [], "weight_decay": self.config.weight_decay}, {"params": [], "weight_decay": 0.0}]
        for name, parameter in self.network.named_parameters():
            groups[name.startswith(("embed", "bias"))]["params"].append(parameter)
        self.optimizer = torch.optim.AdamW(groups, self.config.rate, betas=(0.9, 0.98), fused=True)
        self.ema = Ema(self.network, self.config.ema)
        self.step, self.minutes = 0, 0.0

    def train(self) -> Path:
        """Run to the end of the planned minutes, saving and validating on the way -> the weight file."""
        last_save = last_validation = self.minutes
        sums, since, steps = {}, time.monotonic(), 0
        shown = f"{{l_bar}}{{bar}}| {{n:.1f}}/{self.config.minutes:.1f} min {{postfix}}"
        with tqdm(total=self.config.minutes, unit="min", initial=round(self.minutes, 2), bar_format=shown) as bar:
            while self.minutes < self.config.minutes:
                begun = time.monotonic()
                for level, saved in self.train_step().items():
                    sums.setdefault(level, []).append(saved)
                steps += 1
                spent = (time.monotonic() - begun) / 60
                self.minutes += spent
                bar.update(spent)
                if self.step % LOG_STEPS == 0:
                    now = time.monotonic()
                    record = {"step": self.step, "minutes": round(self.minutes, 3)}
                    record["bits"] = {k: round(float(np.mean(v)), 3) for k, v in sorted(sums.items())}
                    record["steps_per_second"] = round(steps / (now - since), 2)
                    self.run.log(record)
                    mean = np.mean(list(record["bits"].values()))
                    bar.set_postfix_str(f"step {self.step}, {mean:.3f} bits")
                    sums, since, steps = {}, now, 0
                if self.minutes - last_save >= self.config.checkpoint_minutes:
                    self.save()
                    last_save = self.minutes
                if self.minutes - last_validation >= self.config.validation_minutes:
                    self.validate()
                    last_validation = self.minutes
        self.save()
        self.validate()
        return self.export()

    def train_step(self) -> dict[int, float]:
        """One batch, one update -> bits per token of the levels that were asked for."""
        progress = min(self.minutes / self.config.minutes, 1.0)
        warm = min(1.0, (self.step + 1) / self.config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * warm * 0.5 * (1 + math.cos(math.pi * progress))
        self.step += 1
        chosen = np.sort(self.rng.integers(len(self.tokens), size=self.config.batch))
        batch = Batch.of(self.tokens, chosen, random_thresholds(self.tokens, chosen, self.config.whole))
        odds = 1 / (1 + np.arange(len(self.tokens.strides)) / self.config.level_slope)
        odds[: self.config.first_level] = 0
        count = min(self.config.levels_a_step, np.count_nonzero(odds))
        levels = sorted(int(i) for i in self.rng.choice(len(odds), count, replace=False, p=odds / odds.sum()))
        self.optimizer.zero_grad(set_to_none=True)
        autocast = self.hardware.autocast()
        answers = ask(self.network, batch, levels, autocast, quantize=self.config.quantize, all_groups=False)
        losses = {k: F.cross_entropy(logits, t, reduction="sum") for k, (logits, t) in answers.items()}
        asked = sum(len(t) for _, t in answers.values())
        if asked == 0:  # every patch of the batch stopped before these levels
            return {}
        (sum(losses.values()) / asked).backward()
        gradient = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0).item()
        if not math.isfinite(gradient):
            raise TrainingFailed(f"gradient is not finite at step {self.step}; resume, or take another --seed")
        self.optimizer.step()
        self.ema.update(self.network)
        return {k: losses[k].item() / math.log(2) / len(t) for k, (_, t) in answers.items() if len(t)}

    def averaged(self) -> PriorNetwork:
        """-> a network with the averaged weights."""
        network = PriorNetwork(self.tokens.codebook_sizes, self.tokens.strides, self.config.shape)
        network.load_state_dict(self.ema.average)
        return network.eval().requires_grad_(False)

    def validate(self) -> dict:
        """Figures of the averaged weights on the validation tokens, into the log."""
        record = measure(self.averaged(), self.hits, self.validation)
        self.run.log({"step": self.step, "minutes": round(self.minutes, 3), "validation": record})
        return record

    def export(self) -> Path:
        """The averaged weights as integers -> `prior.safetensors` in the run folder."""
        arrays = {PREFIX + name: np.ascontiguousarray(a) for name, a in self.averaged().to_arrays().items()}
        path = self.run.path / "prior.safetensors"
        with whole(path) as partial:
            save_file(arrays, partial, metadata={"format": "t1d prior", "strides": json.dumps(self.tokens.strides)})
        return path

    def save(self) -> None:
        """Everything that the run needs to go on, into the run folder."""
        self.run.save({
            "network": self.network.state_dict(), "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(), "config": self.config.to_json(),
            "step": self.step, "minutes": self.minutes, "torch_rng": torch.get_rng_state(),
            "numpy_rng": json.dumps(self.rng.bit_generator.state),
        })  # fmt: skip

    def resume(self) -> None:
        """Go on from the run folder's checkpoint."""
        state = self.run.load()
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.minutes = state["step"], state["minutes"]
        torch.set_rng_state(state["torch_rng"])
        self.rng.bit_generator.state = json.loads(state["numpy_rng"])
        self.run.rewind(self.step)
