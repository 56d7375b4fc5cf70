"""Residual vector quantizer: a map of latents <-> one map of indices for each level."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DECAY = 0.99  # of the running code statistics, per training step
DEAD = 0.02  # a code used less often than this share of the average is re-seeded


class ResidualVQ(nn.Module):
    """Levels of codebooks, each coding what the levels before it left over.

    A level of stride s codes the mean of the remainder over s x s cells, so that the first level can
    be cheaper than one token a patch. Codebooks follow their cells by exponential moving averages.

    Source: van den Oord et al., "Neural Discrete Representation Learning", arXiv:1711.00937, appendix
    A.1 (EMA codebooks); Zeghidour et al., "SoundStream", arXiv:2107.03312, section III-C (residual
    levels, random depth); Tian et al., "VAR", arXiv:2404.02905 (coarser maps first).
    """

    def __init__(self, dim: int, codebook_sizes: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.dim, self.codebook_sizes, self.strides = dim, codebook_sizes, strides
        for i, size in enumerate(codebook_sizes):
            self.register_buffer(f"codebook{i}", torch.zeros(size, dim))
        # what the moving averages remember, `ema_countLEVEL` and `ema_sumLEVEL`: only training has them
        self.statistics: dict[str, Tensor] = {}

    def codebook(self, level: int) -> Tensor:
        """-> the code vectors of a level, (n, D)."""
        return getattr(self, f"codebook{level}")

    def encode(self, z: Tensor) -> list[Tensor]:
        """Latents (B, D, h, w) -> the nearest codes, per level (B, h', w') int64 indices, h' = ceil(h / stride)."""
        indices, rest = [], z.float()
        for level in range(len(self.strides)):
            indices.append(self.nearest(level, rest))
            rest = rest - self.look_up(level, indices[-1], z.shape[-2:])
        return indices

    def decode(self, indices: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Indices of the first levels, -1 for absent -> (B, D, h, w) float32, the sum of their code vectors."""
        return sum(self.look_up(level, index, size) for level, index in enumerate(indices))

    def depth(self, indices: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Indices of the first levels, -1 for absent -> how many of these levels each cell has, (B, 1, h, w) int64."""
        return sum(self.spread(level, (x >= 0).float()[:, None], size) for level, x in enumerate(indices)).long()

    def look_up(self, level: int, index: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, h', w') int64, -1 for absent -> code vectors (B, D, h, w), repeated over the cells."""
        codes = F.embedding(index.clamp_min(0), self.codebook(level)).permute(0, 3, 1, 2)
        return self.spread(level, codes * (index >= 0)[:, None], size)

    def spread(self, level: int, x: Tensor, size: tuple[int, int]) -> Tensor:
        """A map of a level (B, C, h', w') -> (B, C, h, w), each cell repeated over its stride."""
        if self.strides[level] > 1:
            x = F.interpolate(x, scale_factor=self.strides[level], mode="nearest")
        return x[:, :, : size[0], : size[1]]

    def nearest(self, level: int, x: Tensor) -> Tensor:
        """(B, D, h, w) -> the index of the code nearest to each cell of a level, (B, h', w')."""
        return self._nearest(level, self.pool(level, x))

    def pool(self, level: int, x: Tensor) -> Tensor:
        """(B, D, h, w) -> means of the cells that share a token of a level, (B, D, h', w')."""
        s = self.strides[level]
        return F.avg_pool2d(x, s, ceil_mode=True) if s > 1 else x

    def _nearest(self, level: int, x: Tensor) -> Tensor:
        b, d, h, w = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(-1, d)
        best = [relative_distances(rows, self.codebook(level)).argmin(1) for rows in flat.split(8192)]  # bounds the memory
        return torch.cat(best).view(b, h, w)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize latents (B, D, h, w), float32, for training, and move the codebooks towards them.

        Returns:
            sums of the code vectors of the first 1, 2, ... levels (levels, B, D, h, w), without gradient;
            commitment loss (scalar).
        """
        total, sums, commitment = torch.zeros_like(z), [], z.new_zeros(())
        for level in range(len(self.strides)):
            rest = self.pool(level, z.detach() - total)
            index = self._nearest(level, rest)
            self._follow(level, rest, index)
            total = total + self.look_up(level, index, z.shape[-2:])
            commitment = commitment + F.mse_loss(z, total)
            sums.append(total)
        return torch.stack(sums), commitment / len(self.strides)

    @torch.no_grad()
    def _follow(self, level: int, rest: Tensor, index: Tensor) -> None:
        book, size = self.codebook(level), self.codebook_sizes[level]
        count, total = self.statistics[f"ema_count{level}"], self.statistics[f"ema_sum{level}"]
        flat = rest.permute(0, 2, 3, 1).reshape(-1, self.dim)
        hits = torch.bincount(index.flatten(), minlength=size).to(flat.dtype)
        sums = torch.zeros_like(total).index_add_(0, index.flatten(), flat)
        if torch.distributed.is_initialized():  # every process moves its copy in the same way
            torch.distributed.all_reduce(hits)
            torch.distributed.all_reduce(sums)
        count.mul_(DECAY).add_(hits, alpha=1 - DECAY)
        total.mul_(DECAY).add_(sums, alpha=1 - DECAY)
        book.copy_(total / count.clamp_min(1e-6)[:, None])
        dead = count < DEAD * count.sum() / size
        if dead.any():
            fresh = flat[torch.randint(len(flat), (int(dead.sum()),))]
            if torch.distributed.is_initialized():
                torch.distributed.broadcast(fresh, 0)
            average = count.sum() / size
            book[dead], count[dead], total[dead] = fresh, average, fresh * average

    @torch.no_grad()
    def start_from(self, z: Tensor, iterations: int = 10) -> None:
        """k-means on sample latents (B, D, h, w) as the first codebooks, level by level."""
        rest = z.float()
        for level, size in enumerate(self.codebook_sizes):
            pooled = self.pool(level, rest)
            self._k_means(level, pooled, iterations)
            rest = rest - self.look_up(level, self._nearest(level, pooled), z.shape[-2:])
        self.follow_from_here()

    def _k_means(self, level: int, x: Tensor, iterations: int) -> None:
        flat, book, size = x.permute(0, 2, 3, 1).reshape(-1, self.dim), self.codebook(level), self.codebook_sizes[level]
        if len(flat) < size:
            raise ValueError(f"{len(flat)} latents cannot start a codebook of {size}; give more pictures")
        book.copy_(flat[torch.randperm(len(flat))[:size]])
        for _ in range(iterations):
            index = self._nearest(level, x).flatten()
            hits = torch.bincount(index, minlength=size)
            sums = torch.zeros_like(book).index_add_(0, index, flat)
            empty = hits == 0
            book.copy_(sums / hits.clamp_min(1)[:, None])
            book[empty] = flat[torch.randint(len(flat), (int(empty.sum()),))]

    def follow_from_here(self) -> None:
        """Let the moving averages start from the codebooks as they are."""
        for level, size in enumerate(self.codebook_sizes):
            book = self.codebook(level)
            self.statistics[f"ema_count{level}"] = book.new_ones(size)
            self.statistics[f"ema_sum{level}"] = book.clone()


def relative_distances(x: Tensor, book: Tensor) -> Tensor:
    """Vectors (n, D), codes (N, D) -> squared distances (n, N), less |x|^2, which is the same for every code."""
    return torch.addmm(book.square().sum(1), x, book.t(), alpha=-2)
