"""The `titok` family: a tile of 256 pixels becomes a row of tokens, each of which sees the whole tile."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..image.tiles import tile_count
from ..titok_config import TiTokConfig
from .base import Tokenizer
from .tiling import BATCH, blend, cut
from .titok_pixels import FEATURES, PixelDecoder
from .titok_vit import PIXEL_CODES, Decoder, Encoder


class Codebook(nn.Module):
    """Vectors <-> indices of the nearest codes."""

    def __init__(self, size: int, dim: int, normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize
        self.embedding = nn.Embedding(size, dim)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    def nearest(self, z: Tensor) -> Tensor:
        """(..., D) -> (...) int64. In float32, also under autocast: rounding must not choose tokens."""
        with torch.autocast(z.device.type, enabled=False):
            rows, book = z.float().flatten(0, -2), self.embedding.weight.float()
            if self.normalize:
                rows, book = F.normalize(rows, dim=-1), F.normalize(book, dim=-1)
            # |z|^2 is the same for every code
            return torch.addmm(book.square().sum(1), rows, book.t(), alpha=-2).argmin(1).view(z.shape[:-1])

    def look_up(self, index: Tensor) -> Tensor:
        """(...) int64 -> (..., D)."""
        codes = self.embedding(index)
        return F.normalize(codes, dim=-1) if self.normalize else codes

    def mix(self, scores: Tensor) -> Tensor:
        """Scores of the codes (B, codes, h, w) -> their softmax average (B, D, h, w)."""
        return torch.einsum("bchw,cd->bdhw", scores.softmax(1), self.embedding.weight)


class TiTokTokenizer(Tokenizer):
    """Pictures of any size <-> one level of indices (B, tiles, tokens); see `TiTokConfig` for the sizes.

    Its state dict has the keys of the released models. All tokens of a tile are needed to decode it.

    Source: Yu et al., "An Image is Worth 32 Tokens for Reconstruction and Generation", arXiv:2406.07550.
    Differs: a picture is covered by tiles of 256 pixels that overlap by 32 or more and are faded into each
    other, instead of being resized and cropped to one.
    """

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook_sizes = (config.codebook_size,)
        width = config.encoder[0]
        self.latent_tokens = nn.Parameter(width**-0.5 * torch.randn(config.tokens, width))
        self.encoder = Encoder(config)
        self.quantize = Codebook(config.codebook_size, config.code_dim, config.normalize)
        self.decoder = Decoder(config)
        if config.legacy:
            self.pixel_quantize = Codebook(PIXEL_CODES, FEATURES)
            self.pixel_decoder = PixelDecoder()

    def latents(self, tiles: Tensor) -> Tensor:
        """(B, 3, TILE, TILE) in [0, 1] -> latents (B, tokens, code_dim), not yet quantized."""
        return self.encoder(tiles, self.latent_tokens)

    def pixels(self, codes: Tensor) -> Tensor:
        """Code vectors (B, tokens, code_dim) -> (B, 3, TILE, TILE), about [0, 1]."""
        x = self.decoder(codes)
        return self.pixel_decoder(self.pixel_quantize.mix(x)) if self.config.legacy else x

    @torch.inference_mode()
    def encode(self, images: Tensor, levels: int | None = None) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1], any size -> [(B, tiles, tokens) int64], row by row of tiles.

        Raises: ValueError for `levels` other than 1 or None.
        """
        if levels not in (None, 1):
            raise ValueError(f"{levels} levels; the family titok has 1")
        tokens = [self.quantize.nearest(self.latents(tiles)) for tiles in cut(images)]
        return [torch.cat(tokens).view(len(images), -1, self.config.tokens)]

    @torch.inference_mode()
    def decode(self, indices: list[Tensor], height: int, width: int) -> Tensor:
        """[(B, tiles, tokens)] -> (B, 3, height, width) in [0, 1]; a tile with an absent token, -1, is grey.

        Raises: ValueError if the tiles or tokens are not those of a picture of this size.
        """
        (index,) = indices
        expected = (tile_count(height, width), self.config.tokens)
        if index.shape[1:] != expected:
            found = tuple(index.shape)
            raise ValueError(f"indices of shape {found}; {width}x{height} pixels need (B, *{expected})")
        parts = (self._whole_tiles(part) for part in index.flatten(0, 1).split(BATCH))
        return blend(parts, len(index), height, width).clamp_(0, 1)

    def _whole_tiles(self, index: Tensor) -> Tensor:
        """(n, tokens), -1 for absent -> pixels (n, 3, TILE, TILE)."""
        absent = (index < 0).any(1)[:, None, None, None]
        return self.pixels(self.quantize.look_up(index.clamp(min=0))).masked_fill(absent, 0.5)
