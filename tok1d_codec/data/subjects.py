"""Where pictures show faces and text, so that training can look there more often than chance would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..boxes import Box, middle
from ..errors import MissingData
from ..image.files import atomic_write
from ..nn.faces import find_faces
from ..nn.text import find_text
from .shards import Pictures

LEAST_FACE = 32  # pixels; of smaller faces a patch or two is all there is


@dataclass(frozen=True)
class Subjects:
    """Boxes by the number of the picture that they are in, and the share of all crops that shall show one."""

    share: float
    boxes: dict[int, list[Box]]

    @cached_property
    def _numbers(self) -> list[int]:
        return list(self.boxes)

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        """-> a picture's number, any as likely as any other, and the middle (y, x) of one of its boxes."""
        number = self._numbers[rng.integers(len(self._numbers))]
        return number, middle(self.boxes[number][rng.integers(len(self.boxes[number]))])


class Pieces:
    """Squares around each of the boxes, as `Pictures` has whole pictures; of shorter sides where those are."""

    def __init__(self, pictures: Pictures, boxes: dict[int, list[Box]], side: int) -> None:
        self.pictures, self.side = pictures, side
        self.places = [(number, box) for number, found in boxes.items() for box in found]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> np.ndarray:
        number, box = self.places[i]
        pixels = self.pictures[number]
        y, x = (max(0, min(m - self.side // 2, size - self.side)) for m, size in zip(middle(box), pixels.shape))
        return pixels[y : y + self.side, x : x + self.side]


def find_subjects(pictures: Pictures, kind: str, cache: Path) -> dict[int, list[Box]]:
    """All pictures that show a subject of this `kind`, "face" or "text" -> its boxes, by number of picture.

    On one core a thousand pictures of 300 pixels take half a minute; the JSON file `cache` serves later calls.
    Raises: MissingData: no picture shows any.
    """
    known = hashlib.sha256(pictures.index.read_bytes()).hexdigest()
    found = json.loads(cache.read_text()) if cache.exists() else {}
    if found.get("pictures") != known:
        numbers = tqdm(range(len(pictures)), desc=f"find {kind}", unit=" pictures")
        boxes = {i: KINDS[kind](_as_image(pictures[i])) for i in numbers}
        found = {"pictures": known, "boxes": {str(i): b for i, b in boxes.items() if b}}
        atomic_write(cache, json.dumps(found).encode(), force=True)
    if not found["boxes"]:
        raise MissingData(f"no {kind} was found in {len(pictures)} pictures to learn from; give others, or do without {kind}")
    return {int(i): [tuple(box) for box in boxes] for i, boxes in found["boxes"].items()}


def _large_faces(image: Tensor) -> list[Box]:
    return [face.box for face in find_faces(image) if face.box[2] - face.box[0] >= LEAST_FACE]


KINDS: dict[str, Callable[[Tensor], list[Box]]] = {"face": _large_faces, "text": find_text}


def _as_image(pixels: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
