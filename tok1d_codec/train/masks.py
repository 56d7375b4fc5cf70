"""Stored tokens -> batches: what a prior is shown and what it is asked, as at some moment of coding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..prior.integer import PHASES
from ..prior.network import PriorNetwork
from ..tokenizer.allocation import allocate, urgency
from .tokens import TokenSet

MAX_POWER = 0.5  # of `allocation.urgency`; the encoder's own lies in the middle


@dataclass(frozen=True)
class Batch:
    """Tokens of B crops.

    Args:
        levels: int64 (B, rows, cols) each, -1 outside the crop and where a patch stopped before that level.
    """

    levels: list[Tensor]

    @classmethod
    def of(cls, tokens: TokenSet, chosen: np.ndarray, depth: Tensor | None) -> Batch:
        """The crops `chosen`; `depth` int64 (B, H, W), the levels that each patch keeps (all, if None)."""
        levels = []
        shape = torch.from_numpy(tokens.shapes[chosen])  # (B, 2)
        for level, (canvas, stride) in enumerate(zip(tokens.levels, tokens.strides)):
            found = torch.from_numpy(canvas[chosen].astype(np.int64))
            present = inside(shape, stride, found.shape[1:])
            if depth is not None and level > 0 and stride == 1:
                present &= depth > level
            levels.append(torch.where(present, found, -1))
        return cls(levels)


def inside(shape: Tensor, stride: int, canvas: tuple[int, int]) -> Tensor:
    """Patches (B, 2) of crops, canvas of a level -> bool (B, rows, cols), what lies in the crop."""
    rows, cols = (-(-shape // stride)).unbind(1)
    y, x = torch.arange(canvas[0]), torch.arange(canvas[1])
    return (y < rows[:, None])[:, :, None] & (x < cols[:, None])[:, None]


def random_depth(tokens: TokenSet, chosen: np.ndarray, even: float) -> Tensor:
    """-> int64 (B, H, W), levels that each patch keeps: all in a share `even` of crops, else by urgency."""
    errors = torch.from_numpy(tokens.errors[chosen].astype(np.float32))  # (B, levels, H, W)
    b, levels, h, w = errors.shape
    shape = torch.from_numpy(tokens.shapes[chosen])
    here = inside(shape, 1, (h, w))
    needs = torch.where(here[:, None], urgency(errors[:, :-1], torch.rand(b) * MAX_POWER), -torch.inf)
    share = here.flatten(1).float().mean(1)  # `allocate` reckons with the whole canvas
    depth = allocate(needs, 1 + torch.rand(b) * (levels - 1) * share)[:, 0]
    return torch.where((torch.rand(b) < even)[:, None, None], levels, depth)


def phase_groups(rows: int, cols: int, groups: int) -> Tensor:
    """-> int64 (rows, cols), the group that each cell of a level is coded in, 0..groups-1."""
    order = torch.empty(4, dtype=torch.int64)
    for i, (y, x) in enumerate(PHASES):
        order[2 * y + x] = i * groups // len(PHASES)
    return order[torch.arange(rows)[:, None] % 2 * 2 + torch.arange(cols) % 2]


def ask(
    network: PriorNetwork, batch: Batch, asked: list[int], quantize: bool, all_groups: bool,
    autocast: torch.autocast,
) -> dict[int, tuple[Tensor, Tensor]]:  # fmt: skip
    """Batch -> for each level of `asked` (ascending): logits (m, n), tokens (m,) that they should predict.

    Args:
        all_groups: every group of a level; otherwise one at random for each crop, or as many as make the
            finer groups of the first levels weigh like the others.
    """
    with autocast:
        w = network.weights(asked, quantize)
        hidden, targets, total = [], [], None
        for level in range(max(asked) + 1):
            tokens = batch.levels[level]
            rows, cols = tokens.shape[1:]
            if level > 0 and network.strides[level] < network.strides[level - 1]:
                ratio = network.strides[level - 1] // network.strides[level]
                total = total.repeat_interleave(ratio, 1)[:, :rows].repeat_interleave(ratio, 2)[:, :, :cols]
            embedded = network.embedding(w, level, tokens)
            if level in asked:
                number = network.groups[level]
                groups = phase_groups(rows, cols, number)
                parts = number if all_groups or network.strides[level] > network.strides[-1] else number // 2
                for part in range(parts):
                    one = torch.randint(number, (len(tokens), 1, 1))
                    one = torch.full_like(one, part) if parts == number else one
                    plane = embedded * (groups < one)[..., None]
                    plane = network.plane(plane if total is None else total + plane)
                    now = (groups == one) & (tokens >= 0)
                    hidden.append(network.hidden(w, level, plane, now, quantize))
                    targets.append((level, tokens[now]))
            total = embedded if total is None else total + embedded
        rows_of = torch.cat([torch.full_like(t, level) for level, t in targets])
        codes = network.code(w, rows_of, torch.cat(hidden), quantize).split([len(t) for _, t in targets])
        return {
            level: (
                network.logits(w, level, torch.cat([c for c, (k, _) in zip(codes, targets) if k == level])),
                torch.cat([t for k, t in targets if k == level]),
            )
            for level in asked
        }
