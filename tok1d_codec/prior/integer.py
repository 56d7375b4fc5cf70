"""Known tokens -> integer counts of the next ones, from a small network of integers; needs no torch.

Every number in the network is an integer, or an integer times a power of two, and every partial sum of a
product stays below 2**24 units, which is checked when the weights are loaded. So float32 holds all of them
exactly and gives the same counts in any order of summation, on any machine. SPEC-prior.md has the arithmetic.

Source: Balle et al., "Integer Networks for Data Compression with Latent-Variable Models", ICLR 2019.
Differs: trained through the rounding, fast through ordinary float kernels, a softmax from a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np

from bitstream.counts import Group, total

from ..errors import WrongWeights

PREFIX = "prior."  # of the tensors' names in a weight file
REACH = 2  # cells; the neighbourhood of a cell has 2 * REACH + 1 a side
FEATURE_MAX = 255  # of a cell's features, either sign
HIDDEN_MAX = 127  # of a hidden unit, which is never negative
CODE_MAX = 127  # of what the logits are made from, either sign
EXACT = 2**24  # float32 holds every integer up to here
LOGIT = EXACT // 4  # a difference of two logits and a half must be exact as well
SCALE_BITS = 28  # of the quotient that turns weights into counts
BLOCK = 256  # rows of logits at once: they stay in the cache
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # (row % 2, column % 2) in coding order
OFFSETS = [(dy, dx) for dy in range(-REACH, REACH + 1) for dx in range(-REACH, REACH + 1) if dy or dx]

MatMul = Callable[[np.ndarray, np.ndarray], np.ndarray]


class IntegerPrior:
    """A `bitstream.coder.CountsModel` that looks at the levels before, and at the tokens known around a cell.

    Args:
        arrays: the tensors `prior.*` of a weight file, without that prefix; see `check`.
        strides: patches a side that a token of each level stands for; each a multiple of the next.
        matmul: the product of two float matrices. Any that sums in float32 or wider gives the same counts.

    Raises:
        WrongWeights: a tensor is missing or of the wrong shape, or its sums could leave the exact range.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], strides: Sequence[int], matmul: MatMul = np.matmul
    ) -> None:
        check(arrays, strides)
        self.strides = tuple(int(s) for s in strides)
        self.codebook_sizes = tuple(len(arrays[f"out.{level}"]) for level in range(len(self.strides)))
        self._arrays, self._matmul = arrays, matmul
        self._blocks = sum(name.startswith("mix.") for name in arrays)
        self._near = arrays[f"near.{self.strides[0]}"].shape[1] // len(OFFSETS)  # features neighbours show
        self._exp = arrays["exp"].astype(np.float64)
        self._layer = cache(self._layer)  # weights become float when a level first needs them
        self._embedding = cache(self._embedding)

    def groups(self, shapes: Sequence[tuple[int, int]]) -> Iterator[Group]:
        """Shapes (rows, cols) of the coded levels -> two or four groups a level, each in raster order."""
        for level, (rows, cols) in enumerate(shapes):
            phase = np.arange(rows)[:, None] % 2 * 2 + np.arange(cols) % 2  # (rows, cols)
            per_group = len(PHASES) // int(self._arrays["groups"][level])
            for first in range(0, len(PHASES), per_group):
                codes = [2 * y + x for y, x in PHASES[first : first + per_group]]
                positions = np.flatnonzero(np.isin(phase, codes))
                if len(positions):
                    yield Group(level, positions)

    def counts(self, known: Sequence[np.ndarray], group: Group) -> np.ndarray:
        """Levels, int32 (rows, cols), -1 where unknown; positions -> int64 (m, n) with sums 2^24 - n."""
        level, n = group.level, self.codebook_sizes[group.level]
        counts = np.empty((len(group.positions), n), np.int64)
        if len(counts) == 0:
            return counts
        code = self._code(known, group)
        weight, bias = self._layer(f"out.{level}", f"bias.out.{level}", "shift.out", level)
        for start in range(0, len(code), BLOCK):
            logits = self._matmul(code[start : start + BLOCK], weight)
            logits += bias
            self._to_counts(logits, counts[start : start + BLOCK])
        return counts

    def _code(self, known: Sequence[np.ndarray], group: Group) -> np.ndarray:
        """Known tokens, positions -> float32 (m, CODE), integers: everything but the last layer."""
        level, stride = group.level, self.strides[group.level]
        cols = known[level].shape[1]
        y, x = np.divmod(group.positions, cols)
        top = int(y.min())
        plane = self._plane(known, level, top, int(y.max()) + 1)  # (rows + 4, cols + 4, C)
        width = plane.shape[1]
        plane = plane.reshape(-1, plane.shape[2])
        centre = (y - top + REACH) * width + x + REACH
        around = centre[:, None] + np.array([dy * width + dx for dy, dx in OFFSETS])
        near = np.ascontiguousarray(plane[:, : self._near]).take(around, axis=0).reshape(len(centre), -1)
        shift = f"shift.near.{stride}"
        acc = self._matmul(near, self._layer(f"near.{stride}", None, shift)[0])
        own, bias = self._layer(f"own.{level}", f"bias.near.{level}", shift)
        acc += self._matmul(plane.take(centre, axis=0), own)
        acc += bias[y % 2 * 2 + x % 2]
        hidden = np.clip(np.floor(acc, out=acc), 0, HIDDEN_MAX, out=acc)
        for block in range(self._blocks):
            weight, bias = self._layer(f"mix.{block}", f"bias.mix.{block}", f"shift.mix.{block}")
            acc = self._matmul(hidden, weight)
            acc += bias[level]
            acc = np.floor(acc, out=acc)
            acc += hidden
            hidden = np.clip(acc, 0, HIDDEN_MAX, out=acc)
        weight, bias = self._layer("down", "bias.down", "shift.down")
        code = self._matmul(hidden, weight)
        code += bias[level]
        return np.clip(np.floor(code, out=code), -CODE_MAX, CODE_MAX, out=code)

    def _plane(self, known: Sequence[np.ndarray], level: int, top: int, bottom: int) -> np.ndarray:
        """Features of the cells of rows `top` to `bottom` of a level, and of REACH cells around them.

        Returns: float32 (bottom - top + 2 REACH, cols + 2 REACH, C), zeros outside the picture.
        """
        rows, cols = known[level].shape
        first, last = max(top - REACH, 0), min(bottom + REACH, rows)
        inner = np.zeros((last - first, cols, self._arrays["embed.0"].shape[1]), np.float32)
        for earlier in range(level + 1):
            ratio = self.strides[earlier] // self.strides[level]
            r, c = np.arange(first, last) // ratio, np.arange(cols) // ratio
            tokens = known[earlier][r[:, None], c]
            if earlier < level or (tokens >= 0).any():
                inner += self._embedding(earlier).take(tokens, axis=0, mode="wrap")
        np.clip(inner, -FEATURE_MAX, FEATURE_MAX, out=inner)
        plane = np.zeros((bottom - top + 2 * REACH, cols + 2 * REACH, inner.shape[2]), np.float32)
        start = first - top + REACH
        plane[start : start + len(inner), REACH:-REACH] = inner
        return plane

    def _to_counts(self, logits: np.ndarray, counts: np.ndarray) -> None:
        """Logits float32 (m, n) in 1/32 nat, destroyed -> `counts` int64 (m, n)."""
        best = logits.argmax(axis=1)[:, None]
        highest = np.take_along_axis(logits, best, axis=1)
        np.subtract(highest + np.float32(0.5), logits, out=logits)  # how far below, and a half
        np.minimum(logits, len(self._exp) - 1, out=logits)
        weights = self._exp.take(logits.astype(np.intp))  # (m, n)
        budget = total(logits.shape[1])
        scale = (budget << SCALE_BITS) // weights.sum(axis=1, keepdims=True).astype(np.int64)
        weights *= scale.astype(np.float64)  # at most budget * 2**28 < 2**53: exact
        weights *= 2.0**-SCALE_BITS
        counts[:] = weights  # rounds down
        rest = budget - counts.sum(axis=1, keepdims=True)
        np.put_along_axis(counts, best, np.take_along_axis(counts, best, axis=1) + rest, axis=1)

    def _embedding(self, level: int) -> np.ndarray:
        """-> float32 (n + 1, C); the last row, which token -1 finds, is zero."""
        table = self._arrays[f"embed.{level}"]
        return np.vstack([table, np.zeros((1, table.shape[1]), table.dtype)]).astype(np.float32)

    def _layer(
        self, weight: str, bias: str | None, shift: str, level: int | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Names -> float32 weights (inputs, outputs) and bias (..., outputs), both divided by 2**shift."""
        shifts = self._arrays[shift] if level is None else self._arrays[shift][level]
        scale = np.ldexp(np.float32(1), -shifts.astype(np.int32))
        matrix = np.ascontiguousarray((self._arrays[weight].astype(np.float32).T * scale))
        return matrix, None if bias is None else self._arrays[bias].astype(np.float32) * scale


def check(arrays: Mapping[str, np.ndarray], strides: Sequence[int]) -> None:
    """Raises WrongWeights unless the tensors fit each other and no partial sum can reach 2**24.

    Every layer is floor((weight @ x + bias) / 2**shift): |bias| plus the sum of |weight| times the largest
    |x| bounds all partial sums, in units of the unshifted result.
    """
    for coarse, fine in zip(strides, strides[1:]):
        if coarse % fine:
            raise WrongWeights(f"strides {tuple(strides)}: each must be a multiple of the next")
    try:
        for name, shape in _shapes(arrays, strides).items():
            found = arrays[name]
            wide = name.startswith("bias") or name == "exp"
            if found.shape != shape or found.dtype != (np.int32 if wide else np.int8):
                raise WrongWeights(
                    f"the prior's {name} is {found.dtype} {found.shape}, must be {'int32' if wide else 'int8'} {shape}; "
                    "reinstall t1d"
                )
        for level, stride in enumerate(strides):
            first = np.concatenate([arrays[f"near.{stride}"], arrays[f"own.{level}"]], axis=1)
            bias, shift = arrays[f"bias.near.{level}"], arrays[f"shift.near.{stride}"]
            _check_layer(f"level {level}", first, bias, FEATURE_MAX, shift)
            out, bias, shift = arrays[f"out.{level}"], arrays[f"bias.out.{level}"], arrays["shift.out"][level]
            _check_layer(f"logits of level {level}", out, bias, CODE_MAX, shift, LOGIT)
        for name in ("down", *(name for name in arrays if name.startswith("mix."))):
            _check_layer(name, arrays[name], arrays[f"bias.{name}"], HIDDEN_MAX, arrays[f"shift.{name}"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise WrongWeights(f"the prior's tensors are not complete ({error!r}); reinstall t1d") from None
    table = arrays["exp"]
    if not len(table) or not (0 == table[-1] == table.min() < table[0] == table.max() <= 2**20):
        raise WrongWeights("the prior's table `exp` must fall from at most 2**20 to 0; reinstall t1d")
    if not np.isin(arrays["groups"], (2, 4)).all():
        raise WrongWeights(f"the prior's `groups` are {arrays['groups'].tolist()}, each must be 2 or 4")


def _shapes(arrays: Mapping[str, np.ndarray], strides: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """-> the name and shape of every tensor that a prior has, from the widths that some of them show."""
    levels, (hidden, features), code = len(strides), arrays["own.0"].shape, len(arrays["down"])
    near = arrays[f"near.{strides[0]}"].shape[1] // len(OFFSETS)
    shapes = {"down": (code, hidden), "bias.down": (levels, code), "shift.down": (code,)}
    shapes |= {"shift.out": (levels,), "groups": (levels,), "exp": (len(arrays["exp"]),)}
    for stride in strides:
        shapes |= {f"near.{stride}": (hidden, len(OFFSETS) * near), f"shift.near.{stride}": (hidden,)}
    for name in [name for name in arrays if name.startswith("mix.")]:
        shapes |= {name: (hidden, hidden), f"bias.{name}": (levels, hidden), f"shift.{name}": (hidden,)}
    for level in range(levels):
        n = len(arrays[f"out.{level}"])
        shapes |= {f"embed.{level}": (n, features), f"own.{level}": (hidden, features)}
        shapes |= {f"out.{level}": (n, code), f"bias.out.{level}": (n,)}
        shapes[f"bias.near.{level}"] = (len(PHASES), hidden)
    return shapes


def _check_layer(
    name: str, weight: np.ndarray, bias: np.ndarray, most: int, shift: np.ndarray, limit: int = EXACT
) -> None:
    """Weight (outputs, inputs), bias (..., outputs), largest |input|, shift (outputs,) or () -> None."""
    shift = np.asarray(shift)
    if shift.min() < 0 or shift.max() > 23:
        raise WrongWeights(f"the prior's {name}: shifts are {shift.min()} to {shift.max()}, must be 0 to 23")
    bound = np.abs(bias.astype(np.int64)) + most * np.abs(weight.astype(np.int16)).sum(axis=1, dtype=np.int64)
    if bound.max() >= limit:
        raise WrongWeights(
            f"the prior's {name}: a sum can reach {bound.max()}, must stay below {limit}; reinstall t1d"
        )
