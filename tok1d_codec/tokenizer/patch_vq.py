"""The `patch-vq` family: a token for each patch of a tile, one codebook, transformers on both sides."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import PatchVQConfig
from ..image.tiles import TILE
from ..nn.blocks import zero_init
from .codebooks import make_quantizer
from .tiled import TiledTokenizer
from .titok_vit import Block


class PatchTransformer(nn.Module):
    """Learned positions, pre-norm blocks and a norm: (B, tokens, W) -> (B, tokens, W)."""

    def __init__(self, tokens: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(width**-0.5 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class PatchVQTokenizer(TiledTokenizer):
    """Pictures of any size <-> one level of indices (B, tiles, tokens); see `PatchVQConfig` for the sizes.

    Source: van den Oord et al., "Neural Discrete Representation Learning", arXiv:1711.00937 (VQ-VAE);
    Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929 (patches, positions, blocks).
    Differs: the networks are two transformers; pictures of other sizes go through overlapping tiles.
    """

    Config = PatchVQConfig

    def __init__(self, config: PatchVQConfig) -> None:
        super().__init__()
        if TILE % config.patch:
            raise ValueError(f"patches of {config.patch} pixels do not fill a tile of {TILE}")
        self.config = config
        self.codebook_sizes = (config.codebook_size,)
        self.grid = TILE // config.patch  # patches a side
        self.tokens = self.grid**2
        patch_numbers, width = 3 * config.patch**2, config.width
        self.embed = nn.Linear(patch_numbers, width)
        self.encoder = PatchTransformer(self.tokens, width, config.heads, config.encoder_layers)
        self.to_latent = nn.Linear(width, config.code_dim)
        self.quantize = make_quantizer(
            config.quantizer, config.codebook_size, config.code_dim, beta=config.beta
        )
        self.from_code = nn.Linear(config.code_dim, width)
        self.decoder = PatchTransformer(self.tokens, width, config.heads, config.decoder_layers)
        self.to_pixels = nn.Linear(width, patch_numbers)

    def latents(self, tiles: Tensor) -> Tensor:
        patches = F.pixel_unshuffle(tiles * 2 - 1, self.config.patch)  # (B, 3 * patch^2, grid, grid)
        x = self.embed(patches.flatten(2).transpose(1, 2))  # (B, tokens, W)
        return self.to_latent(self.encoder(x))

    def pixels(self, codes: Tensor) -> Tensor:
        patches = self.to_pixels(self.decoder(self.from_code(codes)))  # (B, tokens, 3 * patch^2)
        patches = patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return F.pixel_shuffle(patches, self.config.patch) / 2 + 0.5

    @torch.no_grad()
    def start_from(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> None:
        """As `TiledTokenizer.start_from`; before that, every picture is grey."""
        zero_init(self.to_pixels)
        super().start_from(images, weights)
