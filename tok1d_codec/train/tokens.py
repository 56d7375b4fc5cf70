"""Pictures -> the tokens that a prior learns from, found once and kept in one file."""

from __future__ import annotations

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
from ..data.subjects import Pieces
from ..errors import MissingData
from ..models.imported import contents_sha256
from ..models.writing import whole
from ..tokenizer.t1d import T1DTokenizer

BATCH = 16
MAX_CELLS = 12  # a crop has at most this many patches a side
LAYOUT = 2  # of the file: tokens of all depths
WHOLE = 0.7  # share of the crops without a half-filled patch at their right and bottom sides


@dataclass(frozen=True)
class TokenSet:
    """Tokens of N crops on common canvases; what lies outside a crop is arbitrary.

    Args:
        levels: uint16, of 0..codebook_sizes[level]-1, or 65535 for absent. (N, rows, cols); or (N, depths, rows,
            cols) where tokens depend on how many levels a cell keeps, as `Tokenizer.rank` has them.
        shapes: int64 (N, 2), the rows and columns of cells of the last level that a crop has.
        urgency: float32, of each level after the first (N, rows, cols); see `Tokenizer.rank`.
        model: sha256 of the weights of the tokenizer that they are from, see `imported.contents_sha256`.
        made_from: sha256 of what the pictures were and how crops were taken.
    """

    levels: list[np.ndarray]
    shapes: np.ndarray
    urgency: list[np.ndarray]
    codebook_sizes: tuple[int, ...]
    strides: tuple[int, ...]
    model: str = ""
    made_from: str = ""

    def __len__(self) -> int:
        return len(self.shapes)

    def level_shapes(self, i: int) -> list[tuple[int, int]]:
        """-> (rows, cols) of each level of crop i."""
        return [tuple(int(-(-side // s)) for side in self.shapes[i]) for s in self.strides]

    def hits(self, level: int) -> np.ndarray:
        """-> int64 (n,), how often each code of a level occurs, where cells keep all levels."""
        counts, canvas = np.zeros(self.codebook_sizes[level], np.int64), self.levels[level]
        for i in range(len(self)):
            rows, cols = self.level_shapes(i)[level]
            tokens = canvas[i] if canvas.ndim == 3 else canvas[i, -1]
            counts += np.bincount(tokens[:rows, :cols].ravel(), minlength=len(counts))
        return counts

    def save(self, path: Path) -> None:
        """-> a safetensors file; a kill at any moment leaves none or a whole one."""
        arrays = {f"tokens.{i}": level for i, level in enumerate(self.levels)}
        arrays |= {f"urgency.{i}": level for i, level in enumerate(self.urgency)}
        arrays |= {"shapes": self.shapes, "strides": np.array(self.strides)}
        arrays |= {"codebook_sizes": np.array(self.codebook_sizes), "layout": np.array(LAYOUT)}
        with whole(path) as partial:
            save_file(arrays, partial, metadata={"model": self.model, "made_from": self.made_from})

    @staticmethod
    def origin(path: Path) -> str:
        """A file of tokens -> `made_from`; "" for none, and for no such file."""
        try:
            with safe_open(path, framework="np") as file:
                return (file.metadata() or {}).get("made_from", "")
        except (OSError, SafetensorError):
            return ""

    @classmethod
    def load(cls, path: Path) -> TokenSet:
        """Raises: MissingData."""
        try:
            with safe_open(path, framework="np") as file:
                arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
            if arrays["layout"] != LAYOUT:
                raise KeyError("layout")
            sizes = tuple(int(n) for n in arrays["codebook_sizes"])
            levels = [arrays[f"tokens.{i}"] for i in range(len(sizes))]
            strides = tuple(int(s) for s in arrays["strides"])
            urgency = [arrays[f"urgency.{i}"] for i in range(len(sizes) - 1)]
            return cls(levels, arrays["shapes"], urgency, sizes, strides, metadata.get("model", ""),
                       metadata.get("made_from", ""))  # fmt: skip
        except (OSError, SafetensorError, KeyError) as error:
            raise MissingData(f"no tokens in {path}, or none of this release ({str(error).splitlines()[0]})") from None


def tokenize(
    model: T1DTokenizer, pictures: Pictures | Pieces, rounds: int, seed: int = 0, centred: bool = False,
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
    shapes = np.zeros((count, 2), np.int64)
    most = min(MAX_CELLS, -(-int(sides.max()) // p)) * p
    canvases: list[np.ndarray] = []
    starts = [(r, s) for r in range(rounds) for s in range(0, len(order), BATCH)]
    for turn, start in tqdm(starts, desc=f"encode {name}", unit=" batches"):
        chosen = order[start : start + BATCH]
        side = _crop_side(sides[chosen].min(0), p, rng, centred)
        crops = np.stack([_cut(pictures[i], side, rng, centred) for i in chosen])
        tokens, urgency = model.rank((to_signed(torch.from_numpy(crops)) + 1) / 2)
        found = [*tokens, *urgency]
        at = slice(turn * len(order) + start, turn * len(order) + start + len(chosen))
        if not canvases:
            strides = [*model.strides, *model.strides[1:]]
            canvases = [_canvas(count, part, -(-most // (model.config.cell * s))) for part, s in zip(found, strides)]
        for canvas, part in zip(canvases, found):
            canvas[at, ..., : part.shape[-2], : part.shape[-1]] = part.numpy()
        shapes[at] = tokens[-1].shape[-2:]
    found = canvases[: len(tokens)], shapes, canvases[len(tokens) :], model.codebook_sizes, model.strides
    return TokenSet(*found, contents_sha256(model.state_dict()))


def _canvas(count: int, like: Tensor, side: int) -> np.ndarray:
    """Tokens or urgencies of a batch, cells a side that a crop may have -> zeros for those of `count` crops."""
    dtype = np.float32 if like.is_floating_point() else np.uint16
    return np.zeros((count, *like.shape[1:-2], side, side), dtype)


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
