"""Quantizers that give a latent one index: a learned codebook (VQ) or a fixed grid of codes (FSQ, LFQ)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import without_autocast
from .quantizer import relative_distances

IDLE = 10  # a code that none of so many latents times the number of codes chose is put where latents are
ENTROPY_WEIGHT = 0.1  # of LFQ's entropy loss


class Quantizer(nn.Module, ABC):
    """Latents (..., D) <-> indices (...) below `size`; `dim` is D. Tokens are chosen in float32."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size, self.dim = size, dim
        self.statistics: dict[str, Tensor] = {}  # what only training remembers

    @abstractmethod
    def nearest(self, z: Tensor) -> Tensor:
        """(..., D) -> (...) int64."""

    @abstractmethod
    def look_up(self, index: Tensor) -> Tensor:
        """(...) int64 -> (..., D)."""

    @abstractmethod
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (..., D) -> codes, loss and indices, for training.

        Returns:
            codes (..., D) float32, whose gradient is passed on to the latents; a loss (scalar), without
            gradient if the quantizer needs none; indices (...).
        """

    def start_from(self, z: Tensor) -> None:
        """Sample latents (..., D) -> first codes. A fixed grid has nothing to start."""

    def revive(self, z: Tensor, index: Tensor) -> None:
        """Latents of a batch, their indices -> nothing; codes that nobody uses move. A grid has none."""


class Codebook(Quantizer):
    """Vectors <-> indices of the nearest codes; with `normalize`, of the nearest directions.

    Source: van den Oord et al., "Neural Discrete Representation Learning", arXiv:1711.00937, section 3.
    Differs: codes start as latents, and codes that fall idle become latents again.
    """

    def __init__(self, size: int, dim: int, normalize: bool = False, beta: float = 0.25) -> None:
        super().__init__(size, dim)
        self.normalize, self.beta = normalize, beta
        self.embedding = nn.Embedding(size, dim)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    def nearest(self, z: Tensor) -> Tensor:
        """(..., D) -> (...) int64. In float32, also under autocast: rounding must not choose tokens."""
        with without_autocast(z.device):
            rows, book = z.float().flatten(0, -2), self.embedding.weight.float()
            if self.normalize:
                rows, book = F.normalize(rows, dim=-1), F.normalize(book, dim=-1)
            return relative_distances(rows, book).argmin(1).view(z.shape[:-1])

    def look_up(self, index: Tensor) -> Tensor:
        codes = self.embedding(index)
        return F.normalize(codes, dim=-1) if self.normalize else codes

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = F.normalize(z.float(), dim=-1) if self.normalize else z.float()
        with torch.no_grad():
            index = self.nearest(z)
        codes = self.look_up(index)
        loss = F.mse_loss(codes, z.detach()) + self.beta * F.mse_loss(z, codes.detach())
        return z + (codes - z).detach(), loss, index

    @torch.no_grad()
    def start_from(self, z: Tensor) -> None:
        rows = z.float().flatten(0, -2)
        self.embedding.weight.copy_(rows[torch.randint(len(rows), (self.size,))])
        self.statistics["idle"] = torch.zeros(self.size, dtype=torch.int64, device=z.device)  # latents

    @torch.no_grad()
    def revive(self, z: Tensor, index: Tensor) -> None:
        idle, rows = self.statistics["idle"], z.float().flatten(0, -2)
        hits = torch.bincount(index.flatten(), minlength=self.size)
        if torch.distributed.is_initialized():  # every process moves its copy in the same way
            torch.distributed.all_reduce(hits)
        idle.add_(hits.sum()).masked_fill_(hits > 0, 0)
        dead = idle >= IDLE * self.size
        if dead.any():
            fresh = rows[torch.randint(len(rows), (int(dead.sum()),))]
            if torch.distributed.is_initialized():
                torch.distributed.broadcast(fresh, 0)
            self.embedding.weight[dead] = fresh
            idle[dead] = 0

    def mix(self, scores: Tensor) -> Tensor:
        """Scores of the codes (B, codes, h, w) -> their softmax average (B, D, h, w)."""
        return torch.einsum("bchw,cd->bdhw", scores.softmax(1), self.embedding.weight)


class FSQ(Quantizer):
    """Each number of a latent is bounded and rounded to one of a few values; an index has a digit for each.

    Source: Mentzer et al., "Finite Scalar Quantization: VQ-VAE Made Simple", arXiv:2309.15505, section 3.
    Differs: the shift for even counts is the inverse of the bound, so that a latent of 0 gives 0.
    """

    def __init__(self, counts: tuple[int, ...]) -> None:
        """`counts`: how many values each number of a latent can take."""
        super().__init__(math.prod(counts), len(counts))
        self.counts = counts

    def nearest(self, z: Tensor) -> Tensor:
        return self._index(self._bound(z).round())

    def look_up(self, index: Tensor) -> Tensor:
        counts, places = self._per_number(index)
        half = counts // 2
        return (index[..., None] // places % counts - half) / half

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        bounded = self._bound(z)
        rounded = bounded.detach().round()
        half = self._per_number(z)[0] // 2
        return (bounded + (rounded - bounded).detach()) / half, z.new_zeros(()), self._index(rounded)

    def _bound(self, z: Tensor) -> Tensor:
        """(..., D) -> float32, number i between -(counts[i] // 2) and (counts[i] - 1) // 2."""
        counts = self._per_number(z)[0]
        reach, offset = (counts - 1) * (0.999 / 2), (1 - counts % 2) / 2
        return torch.tanh(z.float() + torch.atanh(offset / reach)) * reach - offset

    def _index(self, rounded: Tensor) -> Tensor:
        counts, places = self._per_number(rounded)
        return ((rounded.long() + counts // 2) * places).sum(-1)

    def _per_number(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """-> how many values each number has, and what its digit counts in an index, int64 (D,)."""
        counts = torch.tensor(self.counts, device=like.device)
        return counts, counts.cumprod(0) // counts


class LFQ(Quantizer):
    """The signs of a latent's numbers are the bits of its index.

    The loss makes each latent sure of its code and the batch use all of them: entropies of a softmax over
    minus the squared distances to all codes. For one latent that is a product over the bits.

    Source: Yu et al., "Language Model Beats Diffusion -- Tokenizer is Key to Visual Generation",
    arXiv:2310.05737, section 3.1.
    """

    def __init__(self, size: int, beta: float = 0.25) -> None:
        super().__init__(size, _bits(size))
        self.beta = beta

    def nearest(self, z: Tensor) -> Tensor:
        return ((z > 0).long() << self._places(z)).sum(-1)

    def look_up(self, index: Tensor) -> Tensor:
        return (index[..., None] >> self._places(index) & 1) * 2.0 - 1.0

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with without_autocast(z.device):
            z = z.float()
            index = self.nearest(z)
            codes, rows = self.look_up(index), z.flatten(0, -2)
            book = self.look_up(torch.arange(self.size, device=z.device))
            sure = F.binary_cross_entropy_with_logits(4 * rows, torch.sigmoid(4 * rows), reduction="none")
            spread = torch.special.entr((2 * rows @ book.t()).softmax(1).mean(0)).sum()
            loss = self.beta * F.mse_loss(z, codes) + ENTROPY_WEIGHT * (sure.sum(1).mean() - spread)
        return z + (codes - z).detach(), loss, index

    def _places(self, like: Tensor) -> Tensor:
        return torch.arange(self.dim, device=like.device)


def make_quantizer(kind: str, size: int, dim: int, normalize: bool = False, beta: float = 0.25) -> Quantizer:
    """Kind, "vq", "fsq" or "lfq", number of codes, numbers in a latent -> quantizer.

    Raises: ValueError: unknown kind, or a size or dim that this kind cannot have.
    """
    wanted = latent_dim(kind, size, dim)
    if dim != wanted:
        raise ValueError(f"{kind} of {size} codes has latents of {wanted} numbers, not {dim}")
    if kind == "fsq":
        return FSQ(fsq_counts(size))
    return LFQ(size, beta) if kind == "lfq" else Codebook(size, dim, normalize, beta)


def latent_dim(kind: str, size: int, dim: int) -> int:
    """Kind of quantizer, number of codes -> numbers in a latent; for "vq" as asked, `dim`."""
    if kind not in ("vq", "fsq", "lfq"):
        raise ValueError(f"unknown quantizer {kind!r} (known: vq, fsq, lfq)")
    if kind == "vq":
        return dim
    return len(fsq_counts(size)) if kind == "fsq" else _bits(size)


def fsq_counts(size: int) -> tuple[int, ...]:
    """Number of codes, a power of two from 4 on -> counts of 8 and 4 values with that product.

    The paper's 8 x 5 x 5 x 5 and the like are no powers of two; with these, all quantizers have one rate.
    """
    bits = _bits(size)
    if bits < 2:
        raise ValueError(f"{size} codes; fsq needs at least 4")
    fours = -bits % 3
    return (8,) * ((bits - 2 * fours) // 3) + (4,) * fours


def _bits(size: int) -> int:
    """Power of two -> its exponent. Raises: ValueError."""
    if size < 2 or size & (size - 1):
        raise ValueError(f"{size} codes; fsq and lfq need a power of two")
    return size.bit_length() - 1
