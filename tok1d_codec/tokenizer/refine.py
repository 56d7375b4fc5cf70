"""The encoder as optimiser: tokens of one picture that the real decoder turns into a better picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from ..config import SIDE
from .base import Attempt, Loss
from .search import choose, search

if TYPE_CHECKING:
    from .fine import FineLevels
    from .t1d import T1DTokenizer

RATE = 0.08  # root mean square of the first step, falling to 0; latents are of the order of 1
FINE_RATE = 0.3  # the same for fine levels, in shares of what is left over
MANY = 10  # steps; where n are more, each is shorter by the root of n / MANY
FLOOR = 0.01  # of the curvature along a direction, as a share of the largest one
REGION = 16  # patches; pictures that are larger than this and what goes around it are refined square by square
CONTEXT = 8  # patches around a square that are decoded with it, as they are


def refine(
    tokenizer: T1DTokenizer, images: Tensor, indices: list[Tensor], loss: Loss, steps: int, progress: bool = False
) -> list[Attempt]:
    """`Tokenizer.refine` for residual levels: gradient steps on the latents, quantized anew after each.

    The gradient at the quantized latents moves the latents themselves (straight-through), by steps of `_Steps`.
    Fine tokens are found again each time, for what the others then leave over. Large pictures are refined and
    judged square by square.

    Source: Yang et al., "Improving Inference for Neural Image Compression", arXiv:2006.04240, for the idea.
    Differs: no annealing; indices are found again by `search`; the rate stays the number of tokens.
    """
    if not steps:
        return []
    p = tokenizer.config.patch
    with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in
        images, found = images.clone(), [index.clone() for index in indices]
        with torch.no_grad():
            z = tokenizer.latents(images)
        regions = list(_regions(*z.shape[-2:]))
        with tqdm(total=len(regions) * steps, desc="search", unit="pass", leave=False, disable=not progress) as bar:
            for inner, outer in regions:
                top, bottom, left, right = (side * p for side in outer)
                region = _Region(tokenizer, z, found, inner, outer, images[..., top:bottom, left:right], loss)
                alone = len(regions) == 1
                judged = _descend(region, steps, bar, judge_last=steps > 1 or not alone)
                if judged[-1].loss is None:  # the file that it becomes is judged anyhow
                    return judged[::-1]
                best = min(judged, key=lambda attempt: attempt.loss)
                if alone:
                    return [best, judged[0]]
                region.keep(best.indices)
    return [Attempt(found, None), Attempt(indices, None)]


class _Region:
    """Latents of a square that may move, with their surroundings, which stay."""

    def __init__(
        self, tokenizer: T1DTokenizer, z: Tensor, indices: list[Tensor],
        inner: tuple[int, ...], outer: tuple[int, ...], original: Tensor, loss: Loss,
    ) -> None:  # fmt: skip
        self.decoder, self.quantizer = tokenizer.decoder, tokenizer.quantizer
        self.fine, self.letters = tokenizer.fine, tokenizer.letters
        self.added = tokenizer.added
        self.original, self.distance = original, loss(original)
        top, bottom, left, right = outer
        self.inside = slice(inner[0] - top, inner[1] - top), slice(inner[2] - left, inner[3] - left)
        self.z = z[..., inner[0] : inner[1], inner[2] : inner[3]].clone()
        coarse, fine, letters = tokenizer.split(indices)
        # views, so that `keep` writes where they belong
        self.tokens, around = (self._cut(coarse, square, self.quantizer.strides) for square in (inner, outer))
        self.fine_tokens, self.fine_around = (self._cut(fine, square, [1 / SIDE] * len(fine)) for square in (inner, outer))
        strides = [1 / SIDE**2] * len(letters)
        self.letter_tokens, self.letters_around = (self._cut(letters, square, strides) for square in (inner, outer))
        self.has_fine, self.has_letters = (
            any((level >= 0).any() for level in levels) for levels in (self.fine_around, self.letters_around)
        )
        self.nudge: Tensor | float = 0.0  # of the components that fine tokens stand for
        grid = bottom - top, right - left
        self.codes, self.depth = self.quantizer.decode(around, grid), self.quantizer.depth(around, grid)

    @staticmethod
    def _cut(indices: list[Tensor], square: tuple[int, ...], strides: Sequence[float]) -> list[Tensor]:
        """Tokens of a picture -> those of a square of patches, where a token stands for `stride` patches a side."""
        top, bottom, left, right = square
        return [
            i[:, int(top / s) : math.ceil(bottom / s), int(left / s) : math.ceil(right / s)]
            for i, s in zip(indices, strides)
        ]

    def quantize(self) -> list[Tensor]:
        """-> tokens of the latents of the square, where there are some."""
        depth = self.depth[(..., *self.inside)]
        return choose(search(self.quantizer, self.z, len(self.tokens), depth=depth)[0], depth)

    def embed(self, tokens: list[Tensor]) -> Tensor:
        """Tokens of the square -> its quantized latents."""
        return self.quantizer.decode(tokens, self.z.shape[-2:])

    def judge(self, codes: Tensor, anew: bool = True) -> tuple[Tensor, list[Tensor]]:
        """Quantized latents of the square -> loss of it and its surroundings, (); its fine and letter tokens.

        They are found `anew`, for what the picture without them leaves over, or are those that were given.
        """
        features = self._features(codes)
        if not self.has_fine:
            return self.distance(self._pixels(*features)).sum(), self.fine_tokens + self.letter_tokens
        with torch.no_grad():
            fine = self._fine(*features) if anew else self.fine_around
            added = self._added(fine)
        restored = self._pixels(*features, added)
        with torch.no_grad():
            better, letters = self._with_letters(restored, added, anew)
        self.pixels = restored + (better - restored).detach()
        return self.distance(self.pixels).sum(), self._inside(fine, SIDE) + self._inside(letters, SIDE**2)

    def fine_after(self, codes: Tensor) -> list[Tensor]:
        """Quantized latents of a square that is the whole picture -> its fine and letter tokens, nothing judged."""
        if not self.has_fine:
            return self.fine_tokens + self.letter_tokens
        features = self._features(codes)
        fine = self._fine(*features)
        if not self.has_letters:
            return fine + self.letter_tokens
        added = self._added(fine)
        return fine + self._with_letters(self._pixels(*features, added), added, anew=True)[1]

    def _added(self, fine: list[Tensor]) -> Tensor:
        """Fine tokens of the square and its surroundings -> what they add to the picture."""
        return self.added(fine, 0, self.depth.shape[2], 0, self.depth.shape[3])

    def _with_letters(self, restored: Tensor, added: Tensor, anew: bool) -> tuple[Tensor, list[Tensor]]:
        """What `_pixels` gave, what fine tokens add to it -> the picture as it is decoded, letter tokens of all of it."""
        height, width = restored.shape[-2:]
        better = (restored + added[..., :height, :width]).clamp(0, 1)
        letters = self.letters_around
        if not self.has_letters:
            return better, letters
        if anew:
            letters = _search_there(self.letters, self.letters.components(self.original - better), letters)
        return (better + self.letters.pixels(letters)[..., :height, :width]).clamp(0, 1), letters

    def _inside(self, around: list[Tensor], side: int) -> list[Tensor]:
        """Tokens of the square and its surroundings, `side` to a patch -> those of the square."""
        rows, cols = (slice(part.start * side, part.stop * side) for part in self.inside)
        return [level[:, rows, cols] for level in around]

    def _features(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        everything = self.codes.clone()
        everything[(..., *self.inside)] = codes
        return self.decoder.features(everything, self.depth)

    def _pixels(self, x: Tensor, coefficients: Tensor, added: Tensor | None = None) -> Tensor:
        """As `Decoder.pixels`, but in [0, 1] and without what lies beyond the picture."""
        height, width = self.original.shape[-2:]
        restored = (self.decoder.pixels(x, coefficients, self.depth, added)[..., :height, :width] + 1) / 2
        # measured as the decoder clamps it, with a gradient also where it does
        return restored + (restored.clamp(0, 1) - restored).detach()

    def _fine(self, x: Tensor, coefficients: Tensor) -> list[Tensor]:
        """What `_features` gave -> fine tokens for what its picture leaves over, where there are some."""
        targets = self.fine.components(self.original - self._pixels(x, coefficients)) + self.nudge
        return _search_there(self.fine, targets, self.fine_around)

    def move_fine(self, gradient: Tensor, descent: _Steps, rate: float) -> None:
        """Gradient at the pixels -> what fine tokens stand for from now on is shifted a step along it."""
        there = (self.fine_around[0] >= 0)[:, None]
        step = descent.direction(self.fine.components(gradient) * there)
        size = self.fine.components(self.original - self.pixels.detach()).square().mul(there).mean().sqrt()
        self.nudge = self.nudge - rate * size * step

    def keep(self, tokens: list[Tensor]) -> None:
        for old, new in zip(self.tokens + self.fine_tokens + self.letter_tokens, tokens, strict=True):
            old.copy_(new)


def _search_there(levels: FineLevels, targets: Tensor, tokens: list[Tensor]) -> list[Tensor]:
    """Components (B, D, rows, cols), tokens (B, rows, cols) a level, -1 for absent -> better ones at the same places."""
    depth = sum((level >= 0).long() for level in tokens)[:, None]
    return choose(search(levels.quantizer, targets, len(tokens), depth=depth)[0], depth)


def _descend(region: _Region, steps: int, bar: tqdm, judge_last: bool) -> list[Attempt]:
    """Move the latents of a region for `steps` steps -> its tokens as given, and after each step."""
    descent, fine_descent, judged, tokens = _Steps(), _Steps(), [], region.tokens
    rate = RATE / max(1, steps / MANY) ** 0.5
    for step in range(steps):
        codes = region.embed(tokens).requires_grad_()
        value, fine = region.judge(codes, anew=step > 0)
        judged.append(Attempt([*tokens, *fine], value.item()))
        gradient, *at_pixels = torch.autograd.grad(value, [codes, region.pixels] if region.has_fine else [codes])
        with torch.no_grad():
            region.z -= rate * (1 - step / steps) * descent.direction(gradient)
            tokens = region.quantize()
            if region.has_fine:
                region.move_fine(at_pixels[0], fine_descent, FINE_RATE * (1 - step / steps) * rate / RATE)
        bar.update()
    with torch.no_grad():
        codes = region.embed(tokens)
        if not judge_last:
            return [*judged, Attempt([*tokens, *region.fine_after(codes)], None)]
        value, fine = region.judge(codes)
    return [*judged, Attempt([*tokens, *fine], value.item())]


class _Steps:
    """Directions of steps on latents: gradients, divided by the root of what those of all cells have in common.

    The decoder feels some directions of the latents ten times as much as others. Cells are many, and what
    their gradients have in common tells which.

    Source: Gupta et al., "Shampoo: Preconditioned Stochastic Tensor Optimization", arXiv:1802.09568.
    Differs: the matrix of the latent dimensions only, with power -1/2; directions have a root mean square of 1.
    """

    def __init__(self) -> None:
        self.seen = 0.0  # sums of g g^T over the cells of each picture, (B, D, D) float64

    def direction(self, gradient: Tensor) -> Tensor:
        """(B, D, h, w) -> the same shape."""
        cells = gradient.flatten(2).cpu().double()  # (B, D, cells); not every device has doubles or `eigh`
        self.seen = self.seen + cells @ cells.transpose(1, 2)
        values, vectors = torch.linalg.eigh(self.seen)  # ascending
        values = (values / values[:, -1:].clamp_min(1e-30)).clamp_min(0) + FLOOR
        steps = vectors @ (vectors.transpose(1, 2) @ cells / values.sqrt()[..., None])
        steps = steps / steps.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-30)
        return steps.view_as(gradient).to(gradient)


def _regions(rows: int, cols: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Grid of patches -> (top, bottom, left, right) of each square, and of it with its surroundings."""
    largest = REGION + 2 * CONTEXT
    if rows <= largest and cols <= largest:
        yield (0, rows, 0, cols), (0, rows, 0, cols)
        return
    for top in range(0, rows, REGION):
        for left in range(0, cols, REGION):
            bottom, right = min(top + REGION, rows), min(left + REGION, cols)
            up, down = max(top - CONTEXT, 0), min(bottom + CONTEXT, rows)
            yield (top, bottom, left, right), (up, down, max(left - CONTEXT, 0), min(right + CONTEXT, cols))
