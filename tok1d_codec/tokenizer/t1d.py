"""The `t1d` family: ViT over patches, residual VQ, ViT and an upsampling convolutional head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..boxes import Box, grown, reached
from ..config import SIDE, TokenizerConfig
from ..nn.blocks import ResidualBlock, TransformerBlock, Upsample, enlarged, pad_to_multiples, zero_init
from .allocation import coarse_urgency, fine_urgency
from .base import Attempt, Loss, Tokenizer
from .chroma import smooth_chroma
from .fine import REACH, FineBranch, FineLevels
from .quantizer import ResidualVQ
from .refine import refine
from .repeats import remove_repeats
from .search import deepest, search
from .start import LATENT_SCALE, THUMB, start

TILE, GPU_TILE = 32, 64  # patches; the pixel head runs over squares of this side on large pictures
NEAR = 5  # patches around a tile that the pixel head and its branch see
HALO = NEAR + 4  # with the filters: `remove_repeats` compares 5 at a picture's end
FEW, MANY = 2, 6  # levels of a patch up to which the filters go all the way, from which not at all
STRIP = 2**12  # patches that are embedded at once, in whole rows
JOINT = 3  # stages of the pixel head before what fine tokens say comes in

Added = Callable[[int, int, int, int], Tensor]


class Encoder(nn.Module):
    """Patches -> latents: their first PCA coefficients, corrected by a transformer."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.patch, self.code_dim = config.patch, config.code_dim
        self.register_buffer("mean", torch.zeros(3 * config.patch**2))
        self.register_buffer("basis", torch.zeros(3 * config.patch**2, config.components))
        self.embed = nn.Linear(config.components, config.width)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.heads, config.radius) for _ in range(config.encoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, config.code_dim)
        zero_init(self.out)

    def coefficients(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], sides multiples of the patch -> (B, h, w, components)."""
        patches = F.pixel_unshuffle(images, self.patch).permute(0, 2, 3, 1)  # (B, h, w, 3 * patch^2)
        return (patches - self.mean) @ self.basis * LATENT_SCALE

    def forward(self, coefficients: Tensor) -> Tensor:
        """(B, h, w, components) -> latents (B, code_dim, h, w), float32."""
        x = self.embed(coefficients)
        for block in self.blocks:
            x = block(x)
        z = coefficients[..., : self.code_dim].float() + self.out(self.norm(x)).float()
        return z.permute(0, 3, 1, 2)


class Decoder(nn.Module):
    """Quantized latents -> features of each patch and its PCA coefficients -> pixels."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.patch, self.levels = config.patch, len(config.strides)
        self.smooth_chroma, self.remove_repeats = config.smooth_chroma, config.remove_repeats
        self.embed = nn.Linear(config.code_dim, config.width)
        # zeros given, not drawn and overwritten: a normal draw on the meta device makes torch import its compiler
        self.depth = nn.Embedding.from_pretrained(torch.zeros(self.levels + 1, config.width), freeze=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.heads, config.radius) for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.coefficient_head = nn.Linear(config.width, config.components)
        zero_init(self.coefficient_head)
        # coefficients -> the mean colours of THUMB x THUMB areas of the patch; set from the PCA basis
        self.thumb = nn.Linear(config.components, 3 * THUMB**2)
        self.head = PixelHead(config)

    def features(self, z: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, D, h, w), levels in use (B, 1, h, w) -> tokens (B, h, w, C), coefficients (B, h, w, K)."""
        z = z.permute(0, 2, 3, 1)
        x = self.embed(z) + self.depth(depth[:, 0])
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        coefficients = self.coefficient_head(x).float()
        return x, coefficients + F.pad(z.float(), (0, coefficients.shape[-1] - z.shape[-1]))

    def pixels(self, x: Tensor, coefficients: Tensor, depth: Tensor, added: Tensor | None = None) -> Tensor:
        """What `features` gave, and the levels in use -> (B, 3, H, W), about [-1, 1], in one piece.

        `added` (B, 3, H, W) is what fine tokens will add to the picture in [0, 1]: it is drawn to go with that.
        """
        thumb = F.pixel_shuffle(self.thumb(coefficients).permute(0, 3, 1, 2), THUMB)
        images = enlarged(thumb.float(), self.patch // THUMB) + self.head(x.permute(0, 3, 1, 2), added).float()
        if not (self.remove_repeats or self.smooth_chroma):
            return images
        share = enlarged(((MANY - depth.to(images)) / (MANY - FEW)).clamp(0, 1), self.patch)
        images = remove_repeats(images, share, self.patch) if self.remove_repeats else images
        return smooth_chroma(images, share, self.patch) if self.smooth_chroma else images

    def pixels_tiled(
        self, x: Tensor, coefficients: Tensor, depth: Tensor, added: Added | None = None, boxes: Sequence[Box] | None = None
    ) -> Tensor:
        """The same picture from tiles that overlap by more than the head sees: bounded memory, no seam.

        `added(top, bottom, left, right)` gives what `pixels` takes, for these rows and columns of patches. Given `boxes` in
        pixels, patches have all levels, which leaves nothing to the filters, and those that no box reaches may be 0.
        """
        b, h, w, _ = x.shape
        tile = TILE if x.device.type == "cpu" else GPU_TILE
        p = self.patch
        halo = HALO if boxes is None or self.levels < MANY else NEAR
        out = x.new_zeros((b, 3, h * p, w * p))
        for top in range(0, h, tile):
            for left in range(0, w, tile):
                inner = slice(top, min(top + tile, h)), slice(left, min(left + tile, w))
                if boxes is not None:
                    inner = reached(boxes, p, inner)
                    if inner is None:
                        continue
                rows, cols = seen = grown(inner, halo, (h, w))
                here = added(rows.start, rows.stop, cols.start, cols.stop) if added else None
                part = self.pixels(x[:, rows, cols], coefficients[:, rows, cols], depth[..., rows, cols], here)
                within = (slice((i.start - s.start) * p, (i.stop - s.start) * p) for i, s in zip(inner, seen))
                out[..., *(slice(i.start * p, i.stop * p) for i in inner)] = part[..., *within]
        return out


class PixelHead(nn.Module):
    """Tokens (B, C, h, w) -> detail (B, 3, patch * h, patch * w): convolutions between doublings."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        stages, channels = [], config.width
        for wide, blocks in zip(config.head_channels, config.head_blocks):
            stages += [Upsample(channels, wide), *(ResidualBlock(wide) for _ in range(blocks))]
            channels = wide
        self.stages = nn.Sequential(*stages)
        self.scale = config.patch // 2 ** len(config.head_channels)  # what the last shuffle still owes
        self.out = nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1)
        zero_init(self.out)
        self.joint = sum(1 + blocks for blocks in config.head_blocks[:JOINT])  # modules before the branch comes in
        self.fine = None
        if wide := config.fine_channels:
            self.fine = FineBranch(config.head_channels[JOINT - 1], config.patch // 2**JOINT, wide)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if number == self.joint and self.fine is not None and added is not None:
                x = x + self.fine(x, added)
        return F.pixel_shuffle(self.out(F.silu(x)), self.scale)


class T1DTokenizer(Tokenizer):
    """Any picture <-> levels of indices; see `TokenizerConfig` for the sizes.

    Source: Yu et al., "Vector-quantized Image Modeling with Improved VQGAN", arXiv:2110.04627 (ViT-VQ).
    Differs: attention to a neighbourhood instead of the whole square, residual levels, the transformer
    adds to a PCA transform coder, pixels come from an upsampling convolutional head.
    """

    Config = TokenizerConfig

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.coarse = len(config.codebook_sizes)  # levels
        self.codebook_sizes = config.token_codes
        self.encoder = Encoder(config)
        self.quantizer = ResidualVQ(config.code_dim, config.codebook_sizes, config.strides)
        self.decoder = Decoder(config)
        self.fine = self.letters = None
        if config.fine_levels:
            self.fine = FineLevels(config.block, config.fine_levels, config.fine_components, config.fine_codes, REACH)
        if config.letter_levels:
            self.letters = FineLevels(config.cell, config.letter_levels, config.letter_components, config.letter_codes, 0)

    @property
    def strides(self) -> tuple[int, ...]:
        """How many cells a side a token of each level stands for."""
        return self.config.token_strides

    @property
    def plain_levels(self) -> int:
        return self.coarse + self.config.fine_levels

    def codes(self, level: int) -> Tensor:
        """-> what each token of a level stands for, (n, D)."""
        for part in (self, *self._closed_loop()):
            if level < len(part.quantizer.strides):
                return part.quantizer.codebook(level)
            level -= len(part.quantizer.strides)
        raise IndexError("no such level")

    def split(self, indices: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Levels -> coarse, fine and letter levels among them."""
        last = self.plain_levels
        return indices[: self.coarse], indices[self.coarse : last], indices[last:]

    def networks(self) -> list[nn.Module]:
        return [*self.encoder.blocks, *self.decoder.blocks, self.decoder.head]

    def start_from(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> None:
        """See `start.start`: a PCA coder with k-means codebooks, or what a trained model knows, as first weights."""
        start(self, images, weights)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1], any size -> indices of all levels, [(B, rows, cols) int64, ...]."""
        indices = self.quantizer.encode(self.latents(images))
        for levels in self._closed_loop():
            indices = indices + deepest(levels.encode(self.left_over(images, indices))[0])
        return indices

    @torch.inference_mode()
    def rank(self, images: Tensor, boxes: Sequence[Box] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """The best tokens by `search`, letter tokens only within `boxes`, and by level the urgency of those after the first."""
        tokens, errors = search(self.quantizer, self.latents(images))
        urgency, indices = [*coarse_urgency(errors).unbind(1)], deepest(tokens)
        for levels in self._closed_loop():
            within = boxes if levels is self.letters else None
            if within is not None and not within:
                break
            found, gains = levels.encode(self.left_over(images, indices, within), boxes=within)
            tokens, indices = tokens + found, indices + deepest(found)
            urgency += fine_urgency(gains, urgency[-1]).unbind(1)
        return tokens, urgency

    def _closed_loop(self) -> list[FineLevels]:
        """-> the levels that mend what all those before leave over."""
        return [levels for levels in (self.fine, self.letters) if levels]

    @torch.inference_mode()
    def left_over(self, images: Tensor, indices: list[Tensor], boxes: Sequence[Box] | None = None) -> Tensor:
        """(B, 3, H, W) in [0, 1], tokens of the first levels -> the images less what these decode to, within `boxes`."""
        return self.decode(indices, *images.shape[-2:], boxes).neg_().add_(images)

    def latents(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, code_dim, h, w), before they are quantized."""
        images = pad_to_multiples(images, self.config.patch)
        rows = max(1, STRIP * self.config.patch // images.shape[-1])
        strips = images.split(rows * self.config.patch, dim=2)
        coefficients = torch.cat([self.encoder.coefficients(s * 2 - 1) for s in strips], dim=1)
        return self.encoder(coefficients)

    def refine(
        self, images: Tensor, indices: list[Tensor], loss: Loss, steps: int, progress: bool = False
    ) -> list[Attempt]:
        return refine(self, images, indices, loss, steps, progress)

    @torch.inference_mode()
    def decode(self, indices: list[Tensor], height: int, width: int, boxes: Sequence[Box] | None = None) -> Tensor:
        """Indices of the first levels, -1 for absent -> (B, 3, height, width) in [0, 1]; given `boxes`, at least there."""
        p = self.config.patch
        grid = (-(-height // p), -(-width // p))
        coarse, fine, letters = self.split(indices)
        z, depth = self.quantizer.decode(coarse, grid), self.quantizer.depth(coarse, grid)
        added = partial(self.added, fine) if fine and self.decoder.head.fine else None
        out = self.decoder.pixels_tiled(*self.decoder.features(z, depth), depth, added, boxes)
        out = out[:, :, :height, :width].add_(1).mul_(0.5).clamp_(0, 1)
        out = self.fine.add_(out, fine) if fine else out
        return self.letters.add_(out, letters) if letters else out

    def added(self, fine: list[Tensor], top: int, bottom: int, left: int, right: int) -> Tensor:
        """Fine tokens (B, rows, cols) a level, -1 for absent -> what they add to the picture in [0, 1].

        (B, 3, H, W), of the rows top to bottom and columns left to right of the patches, whole ones.
        """
        inside = [level[:, SIDE * top : SIDE * bottom, SIDE * left : SIDE * right] for level in fine]
        pixels, p = self.fine.pixels(inside), self.config.patch
        return F.pad(pixels, (0, p * (right - left) - pixels.shape[-1], 0, p * (bottom - top) - pixels.shape[-2]))
