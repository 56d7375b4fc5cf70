"""Attention of every token to the square of tokens around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 8  # queries are handled in squares of this side on large grids
CPU_BLOCKS, GPU_BLOCKS = 1, 64  # of these squares at once: small score matrices, or few small products


class NeighborhoodAttention(nn.Module):
    """Multi-head self-attention within `radius` tokens, with a learned bias for each offset.

    There is no window grid, so the result moves with the picture and leaves no window edge; cells
    beyond the border of the grid are masked. Memory grows linearly with the grid.

    Source: Hassani et al., "Neighborhood Attention Transformer", arXiv:2204.07143; the offset bias is
    Swin's (arXiv:2103.14030). Differs: at a border the neighbourhood shrinks instead of shifting.
    """

    def __init__(self, width: int, heads: int, radius: int) -> None:
        super().__init__()
        self.heads, self.radius = heads, radius
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, 2 * radius + 1, 2 * radius + 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) tokens -> (B, h, w, C)."""
        _, h, w, _ = x.shape
        dense = h * w <= (BLOCK + 2 * self.radius) ** 2
        return self.out(self._dense(x) if dense else self._blockwise(x))

    def _dense(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        q, k, v = self.qkv(x).view(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, L, d)
        rows = torch.arange(h, device=x.device).repeat_interleave(w)
        cols = torch.arange(w, device=x.device).repeat(h)
        bias = self._offset_bias(rows[None] - rows[:, None], cols[None] - cols[:, None])  # (heads, L, L)
        return _attend(q, k, v, bias).transpose(1, 2).reshape(b, h, w, c)

    def _blockwise(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        r, side = self.radius, BLOCK + 2 * self.radius
        pad_h, pad_w = -h % BLOCK, -w % BLOCK
        nh, nw = (h + pad_h) // BLOCK, (w + pad_w) // BLOCK
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q = F.pad(q, (0, 0, 0, pad_w, 0, pad_h))
        q = q.view(b, nh, BLOCK, nw, BLOCK, self.heads, -1).permute(0, 1, 3, 5, 2, 4, 6)
        q = q.reshape(b, nh * nw, self.heads, BLOCK * BLOCK, -1)
        k, v = (self._halo(t, pad_h, pad_w) for t in (k, v))  # (B, blocks, heads, side^2, d)

        inner = torch.arange(BLOCK, device=x.device)
        outer = torch.arange(side, device=x.device) - r
        delta = outer[None] - inner[:, None]  # (BLOCK, side)
        dy = delta[:, None, :, None].expand(BLOCK, BLOCK, side, side).reshape(BLOCK**2, side**2)
        dx = delta[None, :, None, :].expand(BLOCK, BLOCK, side, side).reshape(BLOCK**2, side**2)
        bias = self._offset_bias(dy, dx)

        row = torch.arange(nh, device=x.device)[:, None] * BLOCK + outer
        col = torch.arange(nw, device=x.device)[:, None] * BLOCK + outer
        inside = ((row >= 0) & (row < h))[:, None, :, None] & ((col >= 0) & (col < w))[None, :, None, :]
        inside = inside.reshape(nh * nw, 1, 1, side**2)
        # padded queries may see nothing at all: a finite floor keeps their softmax defined
        mask = torch.zeros(inside.shape, dtype=x.dtype, device=x.device).masked_fill(~inside, -1e4)
        out = torch.empty_like(q)
        at_once = CPU_BLOCKS if x.device.type == "cpu" else GPU_BLOCKS
        for i in range(0, nh * nw, at_once):
            blocks = slice(i, i + at_once)
            out[:, blocks] = _attend(q[:, blocks], k[:, blocks], v[:, blocks], bias + mask[blocks])
        out = out.view(b, nh, nw, self.heads, BLOCK, BLOCK, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return out.reshape(b, nh * BLOCK, nw * BLOCK, c)[:, :h, :w]

    def _halo(self, t: Tensor, pad_h: int, pad_w: int) -> Tensor:
        """(B, h, w, C) -> overlapping squares (B, blocks, heads, side^2, d)."""
        b, r, side = t.shape[0], self.radius, BLOCK + 2 * self.radius
        t = F.pad(t, (0, 0, r, r + pad_w, r, r + pad_h))
        t = t.unfold(1, side, BLOCK).unfold(2, side, BLOCK)  # (B, nh, nw, C, side, side)
        t = t.reshape(b, t.shape[1] * t.shape[2], self.heads, -1, side * side)
        return t.transpose(-1, -2)

    def _offset_bias(self, dy: Tensor, dx: Tensor) -> Tensor:
        """Offsets (L, M) in tokens -> additive bias (heads, L, M), very low beyond the radius."""
        r = self.radius
        bias = self.bias[:, dy.clamp(-r, r) + r, dx.clamp(-r, r) + r]
        return bias.masked_fill((dy.abs() > r) | (dx.abs() > r), -1e4)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Scaled dot-product attention with an additive bias; softmax in float32."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
    return scores.softmax(dim=-1, dtype=torch.float32).to(v.dtype) @ v
