"""The prior as it is trained: floats whose rounding is that of `integer.IntegerPrior`, to the bit.

A real number r of the float network is the integer 32 r of the exact one. Weights are rounded to int8 times
a power of two on the way forward, and the gradient passes as if they were not. Float32 is exact on such
numbers, so `to_arrays` changes nothing; with `quantize=False` nothing is rounded and only the clamps stay.

Source: Jacob et al., arXiv:1712.05877 (training through the rounding).
Differs: scales are powers of two, found from the weights at every step; no batch norm to fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .integer import CODE_MAX, EXACT, FEATURE_MAX, HIDDEN_MAX, LOGIT, OFFSETS, PHASES, REACH

UNIT = 32  # integers for 1.0: features, hidden units, codes and logits in nats alike
MAX_SHIFT = 14
EXP_BITS = 20  # the largest entry of the exponential table is 2**20
CONSTANT = 0.25  # what every known token adds to feature 0: how deep a cell is known
SPECIAL = 4  # the features that are not principal components: the constant, the energy, two free ones


@dataclass(frozen=True)
class PriorShape:
    """Widths of the prior's layers."""

    features: int = 96  # of a cell
    near: int = 48  # of them, those that neighbours show
    hidden: int = 384
    blocks: int = 2
    code: int = 160


class PriorNetwork(nn.Module):
    """Tokens of levels, -1 where unknown -> logits of the asked ones; see SPEC-prior.md for the layers."""

    def __init__(
        self, codebook_sizes: Sequence[int], strides: Sequence[int], shape: PriorShape = PriorShape()
    ) -> None:
        super().__init__()
        self.codebook_sizes, self.strides, self.shape = tuple(codebook_sizes), tuple(strides), shape
        levels, hidden = len(strides), shape.hidden
        inputs = len(OFFSETS) * shape.near

        def near() -> Tensor:
            return torch.randn(hidden, inputs) * (0.7 / inputs**0.5)

        self.embed = nn.ParameterList(torch.randn(n, shape.features) * 0.1 for n in codebook_sizes)
        self.near = nn.ParameterDict({str(s): near() for s in sorted(set(strides))})
        self.own = nn.Parameter(torch.randn(levels, hidden, shape.features) * (0.7 / shape.features**0.5))
        self.bias_near = nn.Parameter(torch.zeros(levels, len(PHASES), hidden))
        self.mix = nn.ParameterList(torch.randn(hidden, hidden) / hidden**0.5 for _ in range(shape.blocks))
        self.bias_mix = nn.Parameter(torch.zeros(shape.blocks, levels, hidden))
        self.down = nn.Parameter(torch.randn(shape.code, hidden) * (0.3 / hidden**0.5))
        self.bias_down = nn.Parameter(torch.zeros(levels, shape.code))
        self.out = nn.ParameterList(torch.randn(n, shape.code) * 0.1 for n in codebook_sizes)
        self.bias_out = nn.ParameterList(torch.zeros(n) for n in codebook_sizes)
        # twice as many where nothing of a cell alone is known yet
        first = [level == 0 or strides[level] < strides[level - 1] for level in range(levels)]
        self.groups = [len(PHASES) if alone else len(PHASES) // 2 for alone in first]

    @torch.no_grad()
    def start_from(self, codebooks: Sequence[Tensor], hits: Sequence[np.ndarray]) -> None:
        """Code vectors (n, D) and their occurrences int64 (n,), by level, as the first tables.

        Features and codes begin as principal components of the code vectors, the output's biases as the
        logarithms of the static tables: before training the network predicts what those do, nearly.
        """
        kinds = sorted({book.shape[1] for book in codebooks}, reverse=True)  # of codes: those of one length have one basis
        for kind, dim in enumerate(kinds):
            self._start_kind([i for i, book in enumerate(codebooks) if book.shape[1] == dim], codebooks, hits, kind, len(kinds))

    def _start_kind(
        self, levels: list[int], codebooks: Sequence[Tensor], hits: Sequence[np.ndarray], kind: int, kinds: int
    ) -> None:
        """Set the tables of some levels; of the features each of the `kinds` has its share, in turn."""
        odds = {i: torch.from_numpy((hits[i] + 0.5) / (hits[i].sum() + 0.5 * len(hits[i]))).float() for i in levels}
        centred = {i: codebooks[i].float() - odds[i] @ codebooks[i].float() for i in levels}
        covariance = sum(book.T @ (odds[i][:, None] * book) for i, book in centred.items())
        variance, vectors = torch.linalg.eigh(covariance)  # ascending
        variance, vectors = variance.flip(0).clamp_min(variance.max() * 1e-6), vectors.flip(1)
        for level, book in centred.items():
            table, code = self.embed[level], self.out[level]
            energy = book.square().sum(1)
            table[:, 0] = CONSTANT
            table[:, 1] = 0.3 * (energy / (odds[level] @ energy).clamp_min(1e-9) - 1).clamp(-3, 3)
            components = book @ vectors  # (n, D)
            share = table[:, SPECIAL + kind :: kinds]
            k = min(share.shape[1], components.shape[1])
            share[:, :k] = components[:, :k] / variance[:k].sqrt()
            k = min(code.shape[1], components.shape[1])
            code[:, :k] = 0.15 * components[:, :k] / components[:, :k].square().mean().sqrt().clamp_min(1e-9)
            self.bias_out[level].copy_(odds[level].log())

    def freeze_before(self, first: int) -> None:
        """From now on only what serves no level before `first` gets a gradient."""
        for tables in (self.embed, self.out, self.bias_out):
            tables[:first].requires_grad_(False)
        for stride in {str(s) for s in self.strides[:first]}:
            self.near[stride].requires_grad_(False)
        for shared in (*self.mix, self.down):
            shared.requires_grad_(False)
        learns = (torch.arange(len(self.strides)) >= first).float()
        for parameter in (self.own, self.bias_near, self.bias_mix, self.bias_down):
            axes = [1] * parameter.ndim
            axes[1 if parameter is self.bias_mix else 0] = -1  # that of levels
            parameter.register_hook(lambda gradient, mask=learns.view(axes): gradient * mask)

    # Forward: `weights` once a step, then `plane`, `hidden` and `logits` for each level

    def weights(self, levels: Sequence[int], quantize: bool = True) -> dict[str, Tensor]:
        """Levels that will be asked for -> weights and biases to compute with, by their names in a file."""
        w = {f"embed.{j}": table for j, table in enumerate(self.embed) if j <= max(levels)}
        if quantize:
            w = {name: _round(table * UNIT).clamp(-CODE_MAX, CODE_MAX) / UNIT for name, table in w.items()}
        for layer in self._layers(levels):
            step = layer.step() if quantize else None
            w |= {name: _quantize(matrix, step) for name, matrix in layer.matrices.items()}
            w |= {name: _quantize_bias(bias, step) for name, bias in layer.biases.items()}
        return w

    def _layers(self, levels: Sequence[int]) -> Iterator[_Layer]:
        """Levels that are asked for -> what lies between their embeddings and their logits."""
        own, bias_near = self.own.unbind(), self.bias_near.unbind()
        for stride in {self.strides[level] for level in levels}:
            same = [level for level, s in enumerate(self.strides) if s == stride]
            matrices = {f"near.{stride}": self.near[str(stride)]} | {f"own.{level}": own[level] for level in same}
            biases = {f"bias.near.{level}": bias_near[level] for level in same}
            yield _Layer(f"shift.near.{stride}", matrices, biases, FEATURE_MAX)
        shared = [(f"mix.{i}", matrix, self.bias_mix[i]) for i, matrix in enumerate(self.mix)]
        for name, matrix, bias in [*shared, ("down", self.down, self.bias_down)]:
            yield _Layer(f"shift.{name}", {name: matrix}, {f"bias.{name}": bias}, HIDDEN_MAX)
        for level in levels:
            matrices, biases = {f"out.{level}": self.out[level]}, {f"bias.out.{level}": self.bias_out[level]}
            yield _Layer("shift.out", matrices, biases, CODE_MAX, level)

    @staticmethod
    def embedding(w: dict[str, Tensor], level: int, tokens: Tensor) -> Tensor:
        """Tokens int64 (B, rows, cols), -1 where unknown -> (B, rows, cols, C), there 0."""
        table = w[f"embed.{level}"]
        return F.embedding(tokens + 1, torch.cat([table.new_zeros(1, table.shape[1]), table]), padding_idx=0)

    @staticmethod
    def plane(features: Tensor) -> Tensor:
        """Sums of embeddings (B, rows, cols, C) -> clamped, with REACH cells of zeros around."""
        return F.pad(features.clamp(-FEATURE_MAX / UNIT, FEATURE_MAX / UNIT), (0, 0, *[REACH] * 4))

    def hidden(
        self, w: dict[str, Tensor], level: int, plane: Tensor, asked: Tensor, quantize: bool = True
    ) -> Tensor:
        """Plane (B, rows + 4, cols + 4, C), asked bool (B, rows, cols) with m trues -> (m, hidden)."""
        width = plane.shape[2]
        b, y, x = asked.nonzero(as_tuple=True)
        centre = (b * plane.shape[1] + y + REACH) * width + x + REACH
        offsets = torch.tensor([dy * width + dx for dy, dx in OFFSETS], device=centre.device)
        shown = plane[..., : self.shape.near].reshape(-1, self.shape.near)
        near = F.embedding(centre[:, None] + offsets, shown).flatten(1)  # (m, 24 * near)
        own = F.embedding(centre, plane.reshape(-1, plane.shape[-1]))  # (m, C)
        acc = F.linear(near, w[f"near.{self.strides[level]}"]).float()
        acc = acc + F.linear(own, w[f"own.{level}"]).float()
        acc = acc + F.embedding(y % 2 * 2 + x % 2, w[f"bias.near.{level}"])
        return _rounded(acc, quantize).clamp(0, HIDDEN_MAX / UNIT)

    def code(self, w: dict[str, Tensor], levels: Tensor, hidden: Tensor, quantize: bool = True) -> Tensor:
        """Level of each row int64 (m,), hidden (m, hidden) -> (m, code)."""
        for i in range(self.shape.blocks):
            acc = F.linear(hidden, w[f"mix.{i}"]).float() + F.embedding(levels, w[f"bias.mix.{i}"])
            hidden = (hidden + _rounded(acc, quantize)).clamp(0, HIDDEN_MAX / UNIT)
        acc = F.linear(hidden, w["down"]).float() + F.embedding(levels, w["bias.down"])
        return _rounded(acc, quantize).clamp(-CODE_MAX / UNIT, CODE_MAX / UNIT)

    @staticmethod
    def logits(w: dict[str, Tensor], level: int, code: Tensor) -> Tensor:
        """Code (m, code) -> (m, n) in nats."""
        return F.linear(code, w[f"out.{level}"]).float() + w[f"bias.out.{level}"]

    @torch.no_grad()
    def to_arrays(self) -> dict[str, np.ndarray]:
        """-> the tensors of a weight file, without their prefix `prior.`, as `IntegerPrior` takes them."""
        tables = [_integers(table * UNIT).clamp(-CODE_MAX, CODE_MAX) for table in self.embed]
        arrays = {f"embed.{level}": table for level, table in enumerate(tables)}
        steps: dict[str, list[Tensor]] = {}
        for layer in self._layers(range(len(self.strides))):
            step = layer.step()
            arrays |= {name: _integers(matrix * step[:, None]) for name, matrix in layer.matrices.items()}
            arrays |= {name: _integers(bias * step * UNIT) + layer.half(step) for name, bias in layer.biases.items()}
            steps.setdefault(layer.shift, []).append(step)
        arrays |= {name: torch.cat(parts).log2() for name, parts in steps.items()}
        found = {k: v.numpy().astype(np.int32 if k.startswith("bias") else np.int8) for k, v in arrays.items()}
        falling = np.floor(2.0**EXP_BITS * np.exp(-np.arange(EXP_BITS * UNIT) / UNIT) + 0.5).astype(np.int32)
        found["exp"] = np.append(falling[falling > 0], np.int32(0))
        found["groups"] = np.array(self.groups, np.int8)
        return found

    @torch.no_grad()
    def from_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the weights that `to_arrays` gave of a network of this shape. Raises: ValueError for another shape."""
        own = {name: array.shape for name, array in self.to_arrays().items()}
        same = own.items() <= {name: array.shape for name, array in arrays.items()}.items()  # a file may have more levels
        if not same or f"mix.{len(self.mix)}" in arrays:
            raise ValueError("a prior of another shape")
        found = {name: torch.from_numpy(array).float() for name, array in arrays.items()}
        for level, table in enumerate(self.embed):
            table.copy_(found[f"embed.{level}"] / UNIT)
        for layer in self._layers(range(len(self.strides))):
            shifts = found[layer.shift]
            step = torch.exp2(shifts if layer.level is None else shifts[layer.level][None])
            for name, matrix in layer.matrices.items():
                matrix.copy_(found[name] / step[:, None])
            for name, bias in layer.biases.items():
                bias.copy_((found[name] - layer.half(step)) / (step * UNIT))


class _Layer(NamedTuple):
    """Matrices (outputs, inputs) that share scales, and their biases (..., outputs), by their names in a file.

    Args:
        shift: name of the scales in a file.
        most: bounds the inputs.
        level: of a layer that makes logits: it has one scale, and nothing is rounded after it. None for the others.
    """

    shift: str
    matrices: dict[str, Tensor]
    biases: dict[str, Tensor]
    most: int
    level: int | None = None

    @torch.no_grad()
    def step(self) -> Tensor:
        """-> 2**shift, (outputs,) or (1,)."""
        matrices, bias = list(self.matrices.values()), torch.stack(list(self.biases.values()))
        if self.level is None:
            return _step(matrices, bias, self.most, EXACT)
        return _step(matrices, bias, self.most, LOGIT).amin()[None]

    def half(self, step: Tensor) -> Tensor | float:
        """-> half of what the shift will divide by, which a bias has more, so that it rounds to nearest."""
        return (step / 2).floor() if self.level is None else 0.0


def _round(x: Tensor) -> Tensor:
    """Nearest integers (halves up), with the gradient of x."""
    return x + ((x + 0.5).floor() - x).detach()


def _rounded(x: Tensor, quantize: bool) -> Tensor:
    return _round(x * UNIT) / UNIT if quantize else x


def _integers(x: Tensor) -> Tensor:
    return (x + 0.5).floor()


@torch.no_grad()
def _step(matrices: list[Tensor], bias: Tensor, most: int, limit: int) -> Tensor:
    """Matrices (outputs, inputs) that share scales -> 2**shift (outputs,): the finest scale that fits int8.

    The first matrix adds to each of the others. Rounded weights stay within 127, and all sums of rounded
    weights times inputs up to `most`, with the bias, below `limit`.
    """
    first, *others = [m.abs() for m in matrices]
    largest = torch.stack([m.amax(1) for m in (first, *others)]).amax(0)
    spread = first.sum(1) + (torch.stack([m.sum(1) for m in others]).amax(0) if others else 0)
    inputs = sum(m.shape[1] for m in matrices[:2])
    bias = bias.abs().reshape(-1, len(first)).amax(0)
    room = (limit - 2 - most * inputs / 2) / (most * spread + UNIT * bias + 1)
    step = torch.minimum(127.49 / largest.clamp_min(1e-9), room).clamp(1, 2.0**MAX_SHIFT)
    return torch.exp2(step.log2().floor())


def _quantize(weight: Tensor, step: Tensor | None) -> Tensor:
    """(outputs, inputs) -> multiples of 1 / step."""
    return weight if step is None else _round(weight * step[:, None]) / step[:, None]


def _quantize_bias(bias: Tensor, step: Tensor | None) -> Tensor:
    """(..., outputs) -> multiples of the unit of the sums."""
    return bias if step is None else _round(bias * (step * UNIT)) / (step * UNIT)
