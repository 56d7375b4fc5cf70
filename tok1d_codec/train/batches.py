"""Stored tokens -> batches: what a prior is shown and what it is asked, as at some moment of coding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..prior.integer import PHASES
from ..prior.network import PriorNetwork
from ..rate import kept_tokens
from .tokens import TokenSet

HIGH, LOW = 0.4, 0.003  # urgency of the last tokens in small and in large files
SMALL = 0.15


@dataclass(frozen=True)
class Batch:
    """Tokens of B crops.

    Args:
        levels: int64 (B, rows, cols) each, -1 outside the crop and where a patch stopped before that level.
    """

    levels: list[Tensor]

    @classmethod
    def of(cls, tokens: TokenSet, chosen: np.ndarray, threshold: Tensor) -> Batch:
        """The crops `chosen`, less the tokens whose urgency is not above `threshold` (B,); the first level stays whole."""
        urgency = [torch.from_numpy(level[chosen]) for level in tokens.urgency]
        shapes = torch.from_numpy(tokens.shapes[chosen])
        present = [inside(shapes, stride, canvas.shape[-2:]) for canvas, stride in zip(tokens.levels, tokens.strides)]
        kept = [present[0], *(there & (ranks > threshold[:, None, None]) for there, ranks in zip(present[1:], urgency))]
        found = [level[chosen].astype(np.int64) for level in tokens.levels]
        return cls([torch.from_numpy(level) for level in kept_tokens(found, [mask.numpy() for mask in kept])])


def inside(shape: Tensor, stride: int, canvas: tuple[int, int]) -> Tensor:
    """Cells (B, 2) of crops, canvas of a level -> bool (B, rows, cols), what lies in the crop."""
    rows, cols = (-(-shape // stride)).unbind(1)
    y, x = torch.arange(canvas[0]), torch.arange(canvas[1])
    return (y < rows[:, None])[:, :, None] & (x < cols[:, None])[:, None]


def random_thresholds(tokens: TokenSet, chosen: np.ndarray, whole: float) -> Tensor:
    """-> (B,) for `Batch.of`: crops as the encoder writes them at any rate; a share `whole` of them keeps all tokens.

    SMALL of them lie where the second level comes in, the others spread on a logarithmic scale.
    """
    b = len(chosen)
    spread = spread_thresholds(torch.rand(b))
    if tokens.urgency:
        spread = some_small(spread, torch.from_numpy(tokens.urgency[0][chosen]))
    return torch.where(torch.rand(b) < whole, -1.0, spread)


def some_small(thresholds: Tensor, second: Tensor) -> Tensor:
    """Thresholds (B,), urgency of the second level (B, rows, cols) -> SMALL of them where that level comes in."""
    second = second.flatten(1)
    one = second.gather(1, torch.randint(second.shape[1], (len(second), 1)).to(second.device))[:, 0]
    few = (torch.rand(len(second)) < SMALL).to(second.device)
    return torch.where(few & (one > 0), one, thresholds)


def spread_thresholds(place: Tensor) -> Tensor:
    """Places between 0 (few tokens) and 1 (many) -> urgencies."""
    return HIGH * (LOW / HIGH) ** place


def phase_groups(rows: int, cols: int, groups: int) -> Tensor:
    """-> int64 (rows, cols), the group that each cell of a level is coded in, 0..groups-1."""
    order = torch.empty(4, dtype=torch.int64)
    for i, (y, x) in enumerate(PHASES):
        order[2 * y + x] = i * groups // len(PHASES)
    return order[torch.arange(rows)[:, None] % 2 * 2 + torch.arange(cols) % 2]


def ask(
    network: PriorNetwork, batch: Batch, asked: list[int], autocast: torch.autocast, *, quantize: bool, all_groups: bool
) -> dict[int, tuple[Tensor, Tensor]]:
    """Batch -> for each level of `asked` (ascending): logits (m, n), tokens (m,) that they should predict.

    Args:
        all_groups: every group of a level; otherwise, but for the first level, half of them at random for each crop.
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
                parts = number if all_groups or level == 0 else number // 2
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
