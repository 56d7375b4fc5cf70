"""The two transformers of the `titok` family: a tile -> latents, and codes -> what pixels are made from.

Modules and parameters have the names that the released state dicts use, so that those load as they are.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import TITOK_PATCH as PATCH
from ..config import TiTokConfig
from ..image.tiles import TILE

GRID = TILE // PATCH  # cells a side
PIXEL_CODES = 1024  # codes of pixel features that a legacy decoder chooses from


class Attention(nn.Module):
    """Multi-head self-attention of all tokens: (B, L, W) -> (B, L, W)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, L, W / heads)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm attention and MLP: (B, L, W) -> (B, L, W)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        layers = {
            "c_fc": nn.Linear(width, mlp_ratio * width),
            "gelu": nn.GELU(),
            "c_proj": nn.Linear(mlp_ratio * width, width),
        }
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """What encoder and decoder share: tokens of a class, of the cells and of the latents, and the blocks.

    Source: Yu et al., "An Image is Worth 32 Tokens for Reconstruction and Generation", arXiv:2406.07550.
    """

    def __init__(self, size: tuple[int, int, int], tokens: int) -> None:
        super().__init__()
        width, layers, heads = size
        self.class_embedding = _embedding(1, width)
        self.positional_embedding = _embedding(1 + GRID**2, width)
        self.latent_token_positional_embedding = _embedding(tokens, width)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_post = nn.LayerNorm(width)

    def attend(self, cells: Tensor, latents: Tensor) -> Tensor:
        """Cells (B, cells, W), latents (B or 1, N, W) -> (B, 1 + cells + N, W) after the last block."""
        first = self.class_embedding.expand(len(cells), 1, -1)
        x = torch.cat([first, cells], dim=1) + self.positional_embedding
        latents = (latents + self.latent_token_positional_embedding).expand(len(cells), -1, -1)
        x = self.ln_pre(torch.cat([x, latents], dim=1))
        for block in self.transformer:
            x = block(x)
        return x


class Encoder(Transformer):
    """Tiles -> latents."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__(config.encoder, config.tokens)
        width = config.encoder[0]
        self.legacy = config.legacy
        self.patch_embed = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.conv_out = nn.Conv2d(width, config.code_dim, 1)

    def forward(self, tiles: Tensor, latent_tokens: Tensor) -> Tensor:
        """Tiles (B, 3, TILE, TILE) in [0, 1], learned tokens (N, W) -> latents (B, N, code_dim)."""
        cells = self.patch_embed(tiles).flatten(2).transpose(1, 2)  # (B, cells, W)
        x = self.ln_post(self.attend(cells, latent_tokens[None])[:, 1 + GRID**2 :])  # (B, N, W)
        b, n, width = x.shape
        if self.legacy:
            # the first models were trained with the axes mixed up: their memory order is read as (W, N)
            x = x.reshape(b, width, n, 1)
        else:
            x = x.transpose(1, 2)[..., None]  # (B, W, N, 1)
        return self.conv_out(x)[..., 0].transpose(1, 2)


class Decoder(Transformer):
    """Code vectors -> pixels, or, of a legacy model, scores of the codes of pixel features."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__(config.decoder, config.tokens)
        width = config.decoder[0]
        self.mask_token = nn.Parameter(width**-0.5 * torch.randn(1, 1, width))
        self.decoder_embed = nn.Linear(config.code_dim, width)
        if config.legacy:
            self.ffn = nn.Sequential(
                nn.Conv2d(width, 2 * width, 1), nn.Tanh(), nn.Conv2d(2 * width, PIXEL_CODES, 1)
            )
            self.conv_out = nn.Identity()
        else:
            self.ffn = nn.Sequential(nn.Conv2d(width, 3 * PATCH**2, 1), CellsToPixels())
            self.conv_out = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, N, code_dim) -> (B, 3, TILE, TILE), or (B, PIXEL_CODES, GRID, GRID) scores."""
        cells = self.mask_token.expand(len(codes), GRID**2, -1)
        x = self.attend(cells, self.decoder_embed(codes))
        x = self.ln_post(x[:, 1 : 1 + GRID**2])  # (B, cells, W)
        return self.conv_out(self.ffn(x.transpose(1, 2).unflatten(2, (GRID, GRID))))


class CellsToPixels(nn.Module):
    """(B, PATCH * PATCH * 3, h, w), colours fastest -> (B, 3, PATCH * h, PATCH * w)."""

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        x = x.reshape(b, PATCH, PATCH, 3, h, w).permute(0, 3, 4, 1, 5, 2)  # (B, 3, h, rows, w, columns)
        return x.reshape(b, 3, PATCH * h, PATCH * w)


def _embedding(count: int, width: int) -> nn.Parameter:
    """-> (count, width), small random values."""
    return nn.Parameter(width**-0.5 * torch.randn(count, width))
