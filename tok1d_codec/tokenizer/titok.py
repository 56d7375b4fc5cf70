"""The `titok` family: a tile of 256 pixels becomes a row of tokens, each of which sees the whole tile."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import TiTokConfig
from ..nn.blocks import zero_init
from .codebooks import Codebook, make_quantizer
from .tiled import TiledTokenizer
from .titok_pixels import FEATURES, PixelDecoder
from .titok_vit import PIXEL_CODES, Decoder, Encoder


class TiTokTokenizer(TiledTokenizer):
    """Pictures of any size <-> one level of indices (B, tiles, tokens); see `TiTokConfig` for the sizes.

    Its state dict has the keys of the released models, and `absent_code` if it was trained so that the first
    tokens of a tile decode without the others; else all of them are needed.

    Source: Yu et al., "An Image is Worth 32 Tokens for Reconstruction and Generation", arXiv:2406.07550.
    Differs: a picture is covered by tiles of 256 pixels that overlap by 32 or more and are faded into each
    other, instead of being resized and cropped to one; tails of tokens can be left out.
    """

    Config = TiTokConfig

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook_sizes = (config.codebook_size,)
        self.tokens = config.tokens
        width = config.encoder[0]
        self.latent_tokens = nn.Parameter(width**-0.5 * torch.randn(config.tokens, width))
        self.encoder = Encoder(config)
        self.quantize = make_quantizer(
            config.quantizer, config.codebook_size, config.code_dim, config.normalize, config.beta
        )
        if config.tail_drop:
            self.absent_code = nn.Parameter(torch.zeros(config.code_dim))
        self.decoder = Decoder(config)
        if config.legacy:
            self.pixel_quantize = Codebook(PIXEL_CODES, FEATURES)
            self.pixel_decoder = PixelDecoder()

    def latents(self, tiles: Tensor) -> Tensor:
        return self.encoder(tiles, self.latent_tokens)

    def pixels(self, codes: Tensor) -> Tensor:
        x = self.decoder(codes)
        return self.pixel_decoder(self.pixel_quantize.mix(x)) if self.config.legacy else x

    @torch.no_grad()
    def start_from(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> None:
        """As `TiledTokenizer.start_from`; before that, every picture that is not `legacy` is grey."""
        if not self.config.legacy:
            zero_init(self.decoder.ffn[0])
            nn.init.dirac_(self.decoder.conv_out.weight)
            self.decoder.conv_out.bias.fill_(0.5)
        super().start_from(images, weights)
