"""The network of `integer.IntegerPrior` once more, token by token in int64: slow, and plain to read.

Tests hold the fast one against it; SPEC-prior.md says the same in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .integer import OFFSETS

Arrays = Mapping[str, np.ndarray]


def reference_counts(
    arrays: Arrays, strides: Sequence[int], known: Sequence[np.ndarray], level: int, y: int, x: int
) -> np.ndarray:
    """Tensors `prior.*` without the prefix; known levels, -1 where unknown -> int64 (n,) of cell (y, x)."""
    a = {name: array.astype(np.int64) for name, array in arrays.items()}
    stride = strides[level]
    near = a[f"near.{stride}"].shape[1] // len(OFFSETS)
    own = features(a, strides, known, level, y, x)
    around = [features(a, strides, known, level, y + dy, x + dx)[:near] for dy, dx in OFFSETS]
    acc = a[f"near.{stride}"] @ np.concatenate(around) + a[f"own.{level}"] @ own
    acc += a[f"bias.near.{level}"][y % 2 * 2 + x % 2]
    hidden = np.clip(acc >> a[f"shift.near.{stride}"], 0, 127)
    for i in range(sum(name.startswith("mix.") for name in a)):
        acc = a[f"mix.{i}"] @ hidden + a[f"bias.mix.{i}"][level]
        hidden = np.clip(hidden + (acc >> a[f"shift.mix.{i}"]), 0, 127)
    acc = a["down"] @ hidden + a["bias.down"][level]
    code = np.clip(acc >> a["shift.down"], -127, 127)
    logits = a[f"out.{level}"] @ code + a[f"bias.out.{level}"]
    return softmax_counts(logits, int(a["shift.out"][level]), a["exp"])


def features(
    a: Arrays, strides: Sequence[int], known: Sequence[np.ndarray], level: int, y: int, x: int
) -> np.ndarray:
    """-> int64 (C,), the sum of the embeddings of what is known of a cell; zeros outside the picture."""
    total = np.zeros(a["embed.0"].shape[1], np.int64)
    if 0 <= y < known[level].shape[0] and 0 <= x < known[level].shape[1]:
        for j in range(level + 1):
            token = known[j][y * strides[level] // strides[j], x * strides[level] // strides[j]]
            total += a[f"embed.{j}"][token] if token >= 0 else 0
    return np.clip(total, -255, 255)


def softmax_counts(logits: np.ndarray, shift: int, table: np.ndarray) -> np.ndarray:
    """int64 (n,) -> int64 (n,) >= 0 with the sum 2^24 - n."""
    below = (logits.max() - logits + (1 << shift >> 1)) >> shift
    weights = table[np.minimum(below, len(table) - 1)]
    budget = 2**24 - len(logits)
    counts = weights * ((budget << 28) // weights.sum()) >> 28
    counts[logits.argmax()] += budget - counts.sum()
    return counts
