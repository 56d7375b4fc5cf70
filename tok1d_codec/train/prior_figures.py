"""Bits per token of a prior in training, on tokens that it does not train on."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from bitstream.counts import CountsModel, Group, information

from ..prior.integer import IntegerPrior
from ..prior.network import PriorNetwork
from ..prior.static import StaticTables, table_from_hits
from .batches import Batch, ask, spread_thresholds
from .tokens import TokenSet

CHUNK = 16  # crops at once
MAX_CROPS = 128


def measure(network: PriorNetwork, hits: list[np.ndarray], tokens: TokenSet) -> dict:
    """Network, code occurrences of the training tokens, validation tokens -> bits per token of each level.

    Returns: "none" (log2 n), "static", "float" (nothing rounded), "exact" (the integers that ship), each a
        list by level; "kept", the share of the float network's gain over none that the exact one keeps; and
        "saved", what static, float and exact save of all bits of the first 2, 4 and all levels, in percent.
    """
    crops = _crops(tokens, min(len(tokens), MAX_CROPS))
    number = np.array([sum(int((crop[level] >= 0).sum()) for crop in crops) for level in range(len(tokens.strides))])
    bits = {
        "none": np.log2(tokens.codebook_sizes),
        "static": coded_bits(StaticTables([table_from_hits(h) for h in hits]), crops) / number,
        "float": _float_bits(network, tokens, len(crops)) / number,
        "exact": coded_bits(IntegerPrior(network.to_arrays(), tokens.strides), crops) / number,
    }
    all_bits = {name: float(b @ number) for name, b in bits.items()}
    gain = all_bits["none"] - all_bits["float"]
    saved = {}
    for first in sorted({min(2, len(number)), min(4, len(number)), len(number)}):
        plain = bits["none"][:first] @ number[:first]
        saved[f"{first} levels"] = {
            name: round(100 * (1 - float(bits[name][:first] @ number[:first] / plain)), 2)
            for name in ("static", "float", "exact")
        }
    kept = (all_bits["none"] - all_bits["exact"]) / gain if gain > 0 else float("nan")
    by_level = {name: [round(float(v), 4) for v in b] for name, b in bits.items()}
    return {**by_level, "kept": round(kept, 4), "saved": saved}


def coded_bits(model: CountsModel, crops: list[list[np.ndarray]]) -> np.ndarray:
    """Tokens of pictures, -1 for absent -> float64 (levels,), the information in them by the model's counts, in bits."""
    bits = np.zeros(len(model.codebook_sizes))
    for levels in crops:
        known = [np.full_like(level, -1) for level in levels]
        for group in model.groups([level.shape for level in levels]):
            tokens = levels[group.level].ravel()[group.positions]
            group, tokens = Group(group.level, group.positions[tokens >= 0]), tokens[tokens >= 0]
            bits[group.level] += information(model.counts(known, group), tokens)
            known[group.level].reshape(-1)[group.positions] = tokens
    return bits


def _batch(tokens: TokenSet, first: int, last: int, count: int) -> Batch:
    """Crops `first` to `last` of `count`, of rates that spread over all that there are, high to low."""
    chosen = np.arange(first, min(last, count))
    return Batch.of(tokens, chosen, spread_thresholds(torch.linspace(1, 0, count)[chosen]))


def _crops(tokens: TokenSet, count: int) -> list[list[np.ndarray]]:
    """-> int32 (rows, cols) a level of each of the first crops, -1 for absent, as the range coder takes them."""
    levels = [level.numpy().astype(np.int32) for level in _batch(tokens, 0, count, count).levels]
    return [
        [level[i, :rows, :cols] for level, (rows, cols) in zip(levels, tokens.level_shapes(i))] for i in range(count)
    ]


@torch.no_grad()
def _float_bits(network: PriorNetwork, tokens: TokenSet, count: int) -> np.ndarray:
    """-> float64 (levels,), bits that the network without any rounding would take for the first crops."""
    bits, float32 = np.zeros(len(tokens.strides)), torch.autocast("cpu", enabled=False)
    for start in range(0, count, CHUNK):
        batch = _batch(tokens, start, start + CHUNK, count)
        for level in range(len(bits)):
            answers = ask(network, batch, [level], float32, quantize=False, all_groups=True)
            bits[level] += F.cross_entropy(*answers[level], reduction="sum").item() / np.log(2)
    return bits
