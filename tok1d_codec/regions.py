"""Regions of interest: places that get more of the bytes than others, as someone said or as eyes do."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from .boxes import Box, cells
from .config import SECOND_FIRST

if TYPE_CHECKING:
    from torch import Tensor

FAVOUR = 5.0  # how much more urgent tokens of a region of interest are
FEATURE_FAVOUR = 10.0  # of the eyes and the mouth of a face
TEXT_FAVOUR = 20.0  # of a line of text, which is small, and which half of the tokens do not make legible


def checked_boxes(boxes: Sequence[Box], height: int, width: int) -> list[Box]:
    """-> the same in plain integers. Raises: ValueError for a box of other numbers, empty or not within the picture."""
    found = []
    for box in boxes:
        try:
            left, top, right, bottom = map(index, box)
        except (TypeError, ValueError):
            raise ValueError(f"a region is four integers, not {box!r}") from None
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(f"{left},{top},{right},{bottom} is not LEFT,TOP,RIGHT,BOTTOM within {width}x{height}")
        found.append((left, top, right, bottom))
    return found


def find_regions(image: Tensor, faces: bool, text: bool) -> list[tuple[Box, float]]:
    """A picture (1, 3, H, W) in [0, 1] -> boxes around its faces and its lines of text, and how they are favoured."""
    from .nn.faces import find_faces
    from .nn.text import find_text

    found = []
    for face in find_faces(image) if faces else []:
        found += [(face.box, FAVOUR), *((box, FEATURE_FAVOUR) for box in face.features)]
    return found + ([(box, TEXT_FAVOUR) for box in find_text(image)] if text else [])


def favoured(
    urgency: list[np.ndarray], sides: Sequence[int], regions: Sequence[tuple[Box, float]]
) -> list[np.ndarray]:
    """Urgencies by level -> those times what the most favoured region asks that reaches a cell.

    What is above SECOND_FIRST stays as it is: files so small that places lack a second level favour none. So does what is
    below 0, where tokens make it worse: a larger place would come after a smaller one within it.

    Args:
        urgency: (rows, cols) for each level; sides: pixels a side of its cells.
        regions: boxes, and how many times as urgent their tokens are.
    """
    found = []
    for ranks, side in zip(urgency, sides, strict=True):
        weights = np.ones_like(ranks)
        for box, times in regions:
            reached = weights[cells(box, side)]
            np.maximum(reached, times, out=reached)
        found.append(np.where((ranks > 0) & (ranks < SECOND_FIRST), ranks * weights, ranks))
    return found
