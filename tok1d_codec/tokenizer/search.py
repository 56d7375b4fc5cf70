"""Latents -> tokens by beam search: closer than the nearest code level by level, at no cost to who decodes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .quantizer import ResidualVQ, relative_distances

WIDTH = 12  # sequences of codes that are kept for a cell, level by level; the encoder's choice
CANDIDATES = 8  # codes of a shared token that are tried with the tokens after it
SHARED_WEIGHT = 0.5  # of the error of a shared token alone, beside that after the next level
CHUNK, GPU_CHUNK = 128, 4096  # cells at once: bounds the memory


def search(
    quantizer: ResidualVQ, z: Tensor, levels: int | None = None, width: int = WIDTH, depth: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """Latents -> the best tokens found, for each number of levels that a cell may keep.

    Source: Babenko and Lempitsky, "Additive Quantization for Extreme Vector Compression", CVPR 2014, for the
    beam search. Differs: codebooks are residual, so levels come in order, and every depth gives a result.

    Args:
        z: (B, D, h, w), float32.
        levels: how many; all, if None.
        width: of the beam.
        depth: (B, 1, h, w), how many levels each cell will keep, which saves time; what is given back for more
            levels than that is of no meaning.

    Returns:
        per level int64: (B, h', w') of levels that cells share; of the others (B, levels, h, w), for cells that
        keep 1, 2, ... levels, -1 where they do not keep this one. Mean squared error of the latents at each of
        these depths (B, levels, h, w).
    """
    levels = len(quantizer.strides) if levels is None else levels
    b, dim, h, w = z.shape
    shared, errors, rest = [], [], z.float()
    for level in range(sum(stride > 1 for stride in quantizer.strides[:levels])):
        joint = level + 1 < len(quantizer.strides) and quantizer.strides[level + 1] == 1
        shared.append(_shared(quantizer, level, rest) if joint else quantizer.nearest(level, rest))
        rest = rest - quantizer.look_up(level, shared[-1], (h, w))
        errors.append(rest.square().mean(1, keepdim=True))
    own = range(len(shared), levels)
    if not own:
        return shared, torch.cat(errors, dim=1)
    cells = rest.permute(0, 2, 3, 1).reshape(-1, dim)
    paths = torch.full((len(own), len(own), len(cells)), -1, device=z.device)  # by depth, level, cell
    found = rest.new_zeros(len(own), len(cells))
    ends = depth.flatten() if depth is not None else None
    order = torch.arange(len(cells), device=z.device) if ends is None else ends.argsort(stable=True)
    for chunk in order.split(_chunk(z.device)):  # cells that keep about as many levels
        n = (levels if ends is None else int(ends[chunk].max())) - len(shared)
        if n > 0:
            paths[:n, :n, chunk], found[:n, chunk] = _beam(quantizer, own[:n], cells[chunk], width)
    paths = F.pad(paths, (0, 0, 0, 0, len(shared), 0), value=-1).view(levels, len(own), b, h, w)
    errors.append(found.view(len(own), b, h, w).transpose(0, 1))
    return shared + [paths[:, i].transpose(0, 1) for i in range(len(own))], torch.cat(errors, dim=1)


def choose(tokens: list[Tensor], depth: Tensor) -> list[Tensor]:
    """What `search` found, levels that each cell keeps (B, 1, h, w) -> its tokens, (B, h', w') a level.

    Of a cell that keeps none, -1 on levels that cells do not share.
    """
    place = (depth - 1).clamp_min(0)
    return [t if t.dim() == 3 else torch.where(depth > 0, t.gather(1, place), -1)[:, 0] for t in tokens]


def deepest(tokens: list[Tensor]) -> list[Tensor]:
    """What `search` found -> the tokens of cells that keep all its levels, (B, h', w') a level."""
    return [t if t.dim() == 3 else t[:, -1] for t in tokens]


def _shared(quantizer: ResidualVQ, level: int, z: Tensor) -> Tensor:
    """Latents -> tokens (B, h', w') of a level that cells share, chosen together with the next level's."""
    s, (b, dim, h, w) = quantizer.strides[level], z.shape
    pooled = quantizer.pool(level, z)
    padded = F.pad(z, (0, -w % s, 0, -h % s))
    there = F.pad(z.new_ones(b, 1, h, w), (0, -w % s, 0, -h % s))

    def blocks(x: Tensor) -> Tensor:  # (B, C, h, w) -> (B * h' * w', s * s, C)
        return F.pixel_unshuffle(x, s).view(b, x.shape[1], s * s, -1).permute(0, 3, 2, 1).flatten(0, 1)

    book, best = quantizer.codebook(level), []
    chunks = (x.split(_chunk(z.device)) for x in (pooled.permute(0, 2, 3, 1).reshape(-1, dim), blocks(padded), blocks(there)))
    for mean, cells, weight in zip(*chunks):
        tried = _distances(mean, book).topk(min(CANDIDATES, len(book)), largest=False).indices
        rest = cells[:, None] - book[tried][:, :, None]  # (n, CANDIDATES, s * s, D)
        after = _distances(rest.flatten(0, 2), quantizer.codebook(level + 1)).min(1).values.view(rest.shape[:3])
        error = (SHARED_WEIGHT * rest.square().sum(-1) + after) * weight[:, None, :, 0]
        best.append(tried.gather(1, error.sum(2).argmin(1, keepdim=True))[:, 0])
    return torch.cat(best).view(b, *pooled.shape[-2:])


def _beam(quantizer: ResidualVQ, levels: range, x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """What is left of some cells (n, D) -> tokens (depths, levels, n), -1 beyond the depth, errors (depths, n)."""
    n, dim = x.shape
    tokens = torch.full((len(levels), len(levels), n), -1, dtype=torch.int64, device=x.device)
    rest, paths, errors = x[:, None], tokens.new_zeros(n, 1, 0), []
    for depth, level in enumerate(levels, start=1):
        book = quantizer.codebook(level)
        distances = _distances(rest.flatten(0, 1), book).view(n, -1)
        least, place = distances.topk(min(width, distances.shape[1]), largest=False)
        parent, code = (place // len(book))[..., None], (place % len(book))[..., None]
        rest = rest.gather(1, parent.expand(-1, -1, dim)) - book[code[..., 0]]
        paths = torch.cat([paths.gather(1, parent.expand(-1, -1, depth - 1)), code], dim=2)
        tokens[depth - 1, :depth] = paths[:, 0].t()
        errors.append(least[:, 0] / dim)
    return tokens, torch.stack(errors)


def _chunk(device: torch.device) -> int:
    return CHUNK if device.type == "cpu" else GPU_CHUNK


def _distances(x: Tensor, book: Tensor) -> Tensor:
    """Vectors (n, D), codes (N, D) -> squared distances (n, N)."""
    return relative_distances(x, book) + x.square().sum(1, keepdim=True)
