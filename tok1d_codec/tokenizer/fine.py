"""Fine and letter levels of the `t1d` family: what decoding leaves over, coded in blocks of a quarter and a 16th of a patch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..boxes import Box, cells
from ..nn.blocks import ResidualBlock, box_mean, zero_init
from .quantizer import ResidualVQ
from .search import WIDTH, search

REACH = 2  # pixels on either side of a border between blocks of fine levels that are blended
STRIP = 2**14  # blocks at once, in whole rows: bounds the memory
AMPLIFIED = 8  # brings what fine tokens stand for to the order of 1


class FineLevels(nn.Module):
    """Blocks of pixels <-> tokens: their principal components, coded by a residual VQ.

    The other levels say what a patch looks like, and the decoder makes up the rest. Where that is not good
    enough, as with eyes and letters, a few blocks of the difference mend it: closed loop, so that what they
    hold is needed. Letter levels mend in the same way what fine ones leave over, in smaller blocks.
    """

    def __init__(self, block: int, levels: int, components: int, codes: int, reach: int) -> None:
        """`block` pixels a side; `reach` pixels on either side of a border between blocks are blended, see `blend`."""
        super().__init__()
        self.block, self.levels, self.reach = block, levels, reach
        self.register_buffer("basis", torch.zeros(3 * block**2, components))  # orthonormal columns
        self.quantizer = ResidualVQ(components, (codes,) * levels, (1,) * levels)

    def blocks(self, rest: Tensor) -> Tensor:
        """Differences (B, 3, H, W), sides multiples of a block -> their blocks (B, rows, cols, 3 * block^2)."""
        return F.pixel_unshuffle(rest, self.block).permute(0, 2, 3, 1)

    def components(self, rest: Tensor) -> Tensor:
        """Differences (B, 3, H, W), 0 beyond the picture -> (B, components, rows, cols)."""
        rest = F.pad(rest, (0, -rest.shape[-1] % self.block, 0, -rest.shape[-2] % self.block))
        strips = rest.split(_rows_at_once(rest.shape[-1] // self.block) * self.block, dim=2)
        return torch.cat([self.blocks(strip) @ self.basis for strip in strips], dim=1).permute(0, 3, 1, 2)

    def encode(
        self, rest: Tensor, width: int = WIDTH, boxes: Sequence[Box] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Originals less what is decoded (B, 3, H, W) in [-1, 1] -> tokens and gains.

        Args:
            width: how many paths `search` keeps.
            boxes: in pixels; only for blocks that one of them reaches tokens are sought, the others are -1. None is all.
        Returns: tokens as `search` finds them; how much squared error each takes away where the block keeps no more
            (B, levels, rows, cols).
        """
        z = self.components(rest)
        there = torch.full((len(z), 1, *z.shape[-2:]), boxes is None, device=z.device)
        for box in boxes or ():
            there[..., *cells(box, self.block)] = True
        depth = None if boxes is None else self.levels * there
        tokens, errors = search(self.quantizer, z, width=width, depth=depth)
        before = torch.cat([z.square().mean(1, keepdim=True), errors[:, :-1]], dim=1)
        gains = (before - errors) * z.shape[1]
        if boxes is None:
            return tokens, gains
        return [level.masked_fill(~there, -1) for level in tokens], gains * there

    def add_(self, images: Tensor, tokens: list[Tensor]) -> Tensor:
        """Decoded (B, 3, H, W) in [0, 1], tokens (B, rows, cols) a level, -1 for absent -> better ones, in place."""
        _, rows, cols = tokens[0].shape
        for top in range(0, rows, step := _rows_at_once(cols)):
            first = max(top - 1, 0)  # blocks are blended with their neighbours
            pixels = self.pixels([level[:, first : top + step + 1] for level in tokens])
            strip = images[:, :, top * self.block : (top + step) * self.block]
            strip += pixels[:, :, (top - first) * self.block :][:, :, : strip.shape[2], : strip.shape[3]]
        return images.clamp_(0, 1)

    def pixels(self, tokens: list[Tensor]) -> Tensor:
        """(B, rows, cols) a level, -1 for absent -> the difference, of pictures in [0, 1], that they stand for.

        (B, 3, block * rows, block * cols), 0 where there are none.
        """
        z = self.quantizer.decode(tokens, tokens[0].shape[1:])
        pixels = F.pixel_shuffle((z.permute(0, 2, 3, 1) @ self.basis.t()).permute(0, 3, 1, 2), self.block)
        return blend(blend(pixels, self.block, self.reach).mT, self.block, self.reach).mT if self.reach else pixels


def _rows_at_once(cols: int) -> int:
    return max(1, STRIP // cols)


class FineBranch(nn.Module):
    """Maps of the pixel head, what fine tokens add to the picture -> what to add to the maps, there and close by.

    The decoder made up detail where it knew too little; here it hears more.
    """

    def __init__(self, channels: int, scale: int, wide: int) -> None:
        """`channels` of the maps, `scale` pixels along a side of a place of them, `wide` channels in between."""
        super().__init__()
        self.scale = scale
        self.merge = nn.Conv2d(channels + 3 * scale**2, wide, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(wide) for _ in range(2)))
        self.out = nn.Conv2d(wide, channels, 3, padding=1)
        zero_init(self.out)

    def forward(self, maps: Tensor, added: Tensor) -> Tensor:
        """(B, C, H, W), (B, 3, scale * H, scale * W) as `FineLevels.pixels` gives it -> (B, C, H, W)."""
        cells = F.pixel_unshuffle(added, self.scale)
        there = box_mean((cells.abs().amax(1, keepdim=True) > 0).to(maps), 1)
        x = self.merge(torch.cat([maps, AMPLIFIED * cells.to(maps)], dim=1))
        return self.out(F.silu(self.blocks(x))) * there


def blend(x: Tensor, block: int, reach: int = REACH) -> Tensor:
    """(B, C, H, W), W a multiple of `block` -> the same shape, with less of a step from column to column where blocks meet.

    A pixel at most `reach` from a border is mixed with its mirror image behind it, the nearer the more.
    """
    blocks = x.unflatten(3, (-1, block))
    share = 0.5 - (torch.arange(reach, device=x.device) + 0.5) / (2 * reach)
    right = blocks[..., 1:, :reach]
    left = blocks[..., :-1, -reach:].flip(-1)  # from the border on, as `right`
    step = (right - left) * share
    blocks = blocks.clone()
    blocks[..., 1:, :reach] -= step
    blocks[..., :-1, -reach:] += step.flip(-1)
    return blocks.flatten(3)
