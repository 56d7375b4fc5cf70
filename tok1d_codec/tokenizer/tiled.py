"""What the families share that see one tile at a time and give it a row of tokens."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import WrongWeights
from ..image.tiles import tile_count
from .base import Tokenizer
from .codebooks import Quantizer
from .tiling import batch_size, blend, cut


class TiledTokenizer(Tokenizer):
    """Pictures of any size <-> one level of indices (B, tiles, tokens), row by row of tiles.

    A picture is covered by overlapping tiles, whose pixels are faded into each other. A family with an
    `absent_code` decodes a tile from its first tokens; without one, a tile needs all of them.
    """

    tokens: int  # of a tile
    encoder: nn.Module
    decoder: nn.Module
    quantize: Quantizer
    absent_code: nn.Parameter | None  # (D,), learned; stands where a token is left out

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("absent_code", None)

    def networks(self) -> list[nn.Module]:
        return [self.encoder, self.decoder]

    @abstractmethod
    def latents(self, tiles: Tensor) -> Tensor:
        """(B, 3, TILE, TILE) in [0, 1] -> latents (B, tokens, D), not yet quantized."""

    @abstractmethod
    def pixels(self, codes: Tensor) -> Tensor:
        """Code vectors (B, tokens, D) -> (B, 3, TILE, TILE), about [0, 1]."""

    @torch.inference_mode()
    def encode(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1], any size -> [(B, tiles, tokens) int64], row by row of tiles."""
        tokens = [self.quantize.nearest(self.latents(tiles)) for tiles in cut(images)]
        return [torch.cat(tokens).view(len(images), -1, self.tokens)]

    @torch.inference_mode()
    def decode(self, indices: list[Tensor], height: int, width: int) -> Tensor:
        """[(B, tiles, tokens)], -1 for absent -> (B, 3, height, width) in [0, 1].

        A tile is grey if it lacks a token, or, where prefixes of tokens decode, all of them. There, tokens
        that are absent from the end of all tiles need not be in the array.

        Raises: ValueError if the tiles or tokens are not those of a picture of this size.
        """
        (index,) = indices
        if self.absent_code is not None:
            index = F.pad(index, (0, max(self.tokens - index.shape[-1], 0)), value=-1)
        expected = (tile_count(height, width), self.tokens)
        if index.shape[1:] != expected:
            found = tuple(index.shape)
            raise ValueError(f"indices of shape {found}; {width}x{height} pixels need (B, *{expected})")
        parts = (self._tile_pixels(part) for part in index.flatten(0, 1).split(batch_size(index.device)))
        return blend(parts, len(index), height, width).clamp_(0, 1)

    def _tile_pixels(self, index: Tensor) -> Tensor:
        """(n, tokens), -1 for absent -> pixels (n, 3, TILE, TILE)."""
        absent, codes = index < 0, self.quantize.look_up(index.clamp(min=0))
        grey = absent.any(1) if self.absent_code is None else absent.all(1)
        return self.pixels(self.hide(codes, absent)).masked_fill(grey[:, None, None, None], 0.5)

    def hide(self, codes: Tensor, absent: Tensor) -> Tensor:
        """Codes (B, tokens, D), absent (B, tokens) bool -> codes, `absent_code` in place of the absent."""
        return codes if self.absent_code is None else torch.where(absent[..., None], self.absent_code, codes)

    @torch.no_grad()
    def start_from(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> None:
        """Set the network before training, from a sample `images` (B, 3, TILE, TILE) in [-1, 1].

        Codes start as latents of the sample. The `weights` of a trained model replace everything.

        Raises: WrongWeights: these are of another family or of other sizes.
        """
        tiles = (images + 1) / 2
        self.quantize.start_from(torch.cat([self.latents(part) for part in tiles.split(batch_size(tiles.device))]))
        if weights:
            own = self.state_dict()
            wrong = [k for k, v in own.items() if k not in weights or weights[k].shape != v.shape]
            if wrong:
                raise WrongWeights(f"no {wrong[0]} of this shape in the model to start from; give one of this preset")
            self.load_state_dict({k: weights[k].to(v) for k, v in own.items()})
