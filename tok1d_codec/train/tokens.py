"""Pictures -> the tokens that a prior learns from, found once and kept in one file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from tqdm import tqdm

from ..data.crops import to_signed
from ..data.shards import Pictures
from ..errors import MissingData
from ..tokenizer.t1d import T1DTokenizer, pad_to_patches

BATCH = 16
MAX_CELLS = 12  # a crop has at most this many patches a side
WHOLE = 0.7  # share of the crops without a half-filled patch at their right and bottom sides


@dataclass(frozen=True)
class TokenSet:
    """Tokens of N crops on common canvases; what lies outside a crop is arbitrary.

    Args:
        levels: uint16 (N, rows, cols) a level, of 0..codebook_sizes[level]-1.
        shapes: int64 (N, 2), the rows and columns of patches that a crop has.
        errors: float16 (N, levels, H, W), squared error of the latent after each level.
    """

    levels: list[np.ndarray]
    shapes: np.ndarray
    errors: np.ndarray
    codebook_sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.shapes)

    def level_shapes(self, i: int) -> list[tuple[int, int]]:
        """-> (rows, cols) of each level of crop i."""
        return [tuple(int(-(-side // s)) for side in self.shapes[i]) for s in self.strides]

    def crop(self, i: int) -> list[np.ndarray]:
        """-> int32 (rows, cols) a level of crop i, as the range coder takes them."""
        shapes = self.level_shapes(i)
        return [level[i, :rows, :cols].astype(np.int32) for level, (rows, cols) in zip(self.levels, shapes)]

    def hits(self, level: int) -> np.ndarray:
        """-> int64 (n,), how often each code of a level occurs."""
        counts = np.zeros(self.codebook_sizes[level], np.int64)
        for i in range(len(self)):
            rows, cols = self.level_shapes(i)[level]
            counts += np.bincount(self.levels[level][i, :rows, :cols].ravel(), minlength=len(counts))
        return counts

    def save(self, path: Path) -> None:
        """-> a safetensors file; a kill at any moment leaves none or a whole one."""
        arrays = {f"tokens.{i}": level for i, level in enumerate(self.levels)}
        arrays |= {"shapes": self.shapes, "errors": self.errors, "strides": np.array(self.strides)}
        arrays["codebook_sizes"] = np.array(self.codebook_sizes)
        partial = path.with_suffix(".partial")
        save_file(arrays, partial)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> TokenSet:
        """Raises: MissingData."""
        try:
            with safe_open(path, framework="np") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}
            sizes = tuple(int(n) for n in arrays["codebook_sizes"])
            levels = [arrays[f"tokens.{i}"] for i in range(len(sizes))]
            strides = tuple(int(s) for s in arrays["strides"])
            return cls(levels, arrays["shapes"], arrays["errors"], sizes, strides)
        except (OSError, SafetensorError, KeyError) as error:
            raise MissingData(f"no tokens in {path} ({str(error).splitlines()[0]})") from None


def tokenize(
    model: T1DTokenizer, pictures: Pictures, rounds: int, seed: int = 0, centred: bool = False,
    name: str = "tokens",
) -> TokenSet:  # fmt: skip
    """Pictures -> tokens of `rounds` crops of each.

    Args:
        centred: the middle of each picture, whole patches, as a validation set wants it; otherwise random
            places and left-right flips, so that patches never lie twice on the same pixels.
    """
    rng, p = np.random.default_rng(seed), model.config.patch
    sides = np.array([pictures[i].shape[:2] for i in range(len(pictures))])
    order = np.lexsort((sides[:, 1], sides[:, 0]))  # pictures of like shape share a batch
    count = rounds * len(pictures)
    strides, sizes = model.config.strides, model.codebook_sizes
    canvases = [np.zeros((count, -(-MAX_CELLS // s), -(-MAX_CELLS // s)), np.uint16) for s in strides]
    shapes = np.zeros((count, 2), np.int64)
    errors = np.zeros((count, len(sizes), MAX_CELLS, MAX_CELLS), np.float16)
    starts = [(r, s) for r in range(rounds) for s in range(0, len(order), BATCH)]
    for turn, start in tqdm(starts, desc=f"encode {name}", unit=" batches"):
        chosen = order[start : start + BATCH]
        side = _crop_side(sides[chosen].min(0), p, rng, centred)
        crops = np.stack([_cut(pictures[i], side, rng, centred) for i in chosen])
        indices, left = _encode(model, to_signed(torch.from_numpy(crops)))
        at = slice(turn * len(order) + start, turn * len(order) + start + len(chosen))
        for canvas, index in zip(canvases, indices):
            canvas[at, : index.shape[1], : index.shape[2]] = index.numpy()
        shapes[at] = left.shape[-2:]
        errors[at, :, : left.shape[2], : left.shape[3]] = left.numpy()
    return TokenSet(canvases, shapes, errors, tuple(sizes), tuple(strides))


def _crop_side(side: np.ndarray, patch: int, rng: np.random.Generator, centred: bool) -> np.ndarray:
    """Smallest picture of a batch (h, w) -> height and width of its crops, up to MAX_CELLS patches."""
    whole = np.minimum(side // patch, MAX_CELLS) * patch
    if centred or rng.random() < WHOLE:
        return whole if centred else np.minimum((side - rng.integers(patch)) // patch, MAX_CELLS) * patch
    return np.minimum(side - rng.integers(patch, size=2), MAX_CELLS * patch)


def _cut(pixels: np.ndarray, side: np.ndarray, rng: np.random.Generator, centred: bool) -> np.ndarray:
    """Picture uint8 (H, W, 3) -> a piece of it, uint8 (*side, 3)."""
    room = pixels.shape[:2] - side
    top, left = room // 2 if centred else rng.integers(room + 1)
    crop = pixels[top : top + side[0], left : left + side[1]]
    return crop if centred or rng.random() < 0.5 else crop[:, ::-1]


@torch.inference_mode()
def _encode(model: T1DTokenizer, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """(B, 3, H, W) in [-1, 1] -> indices (B, rows, cols) a level, squared errors (B, levels, h, w)."""
    z = model.encoder(model.encoder.coefficients(pad_to_patches(images, model.config.patch)))
    indices, errors = model.quantizer.encode(z)
    return indices, errors.clamp_max(6e4)  # the largest float16
