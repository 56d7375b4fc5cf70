"""Where faces are: three small networks, each asked only where the one before saw something."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..boxes import Box

WEIGHTS = Path(__file__).parents[1] / "models" / "faces.safetensors"
"""Of facenet-pytorch 2.6.0 (Copyright 2019 Timothy Esler, MIT licence), float16."""

SMALLEST = 32  # pixels; smaller faces have too few tokens for features
SHARE = 32  # of the short side, which bounds the time: smaller ones are not looked for
LARGE = 768  # pixels; a picture with a short side of n times that is made smaller by n
CELL, STRIDE = 12, 2  # pixels that the first network sees for an answer, and from one to the next
PYRAMID = 0.709  # a level of the pyramid is so much smaller than the last
SCORES = (0.6, 0.7, 0.95)  # of a face, from which each network believes in it
OVERLAP = 0.7  # intersection over union from which two boxes show the same face; half of it for the last network
MANY = 400  # boxes that are looked at more closely, at most
EYE = (0.16, 0.11)  # half of an eye's width and height, lids and brow with it, over those of the face
MOUTH = (0.06, 0.11)  # what is added to the corners of the mouth on each side, over the same


@dataclass(frozen=True)
class Face:
    """Where a face is, and what of it is looked at first: both eyes and the mouth.

    Boxes are not empty and within the picture.
    """

    box: Box
    features: tuple[Box, ...]


class FaceNetworks(nn.Module):
    """Squares of pixels -> scores of not being a face and being one, and how far its sides are from the square's.

    Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
    arXiv:1604.02878. The last network also says where eyes, nose and corners of the mouth are: their columns, then
    their rows, over the sides of the square.
    """

    def __init__(self) -> None:
        super().__init__()
        self.propose = nn.Sequential(
            *_layer(3, 10), nn.MaxPool2d(2, 2, ceil_mode=True), *_layer(10, 16), *_layer(16, 32), nn.Conv2d(32, 6, 1)
        )
        self.refine = nn.Sequential(
            *_layer(3, 28), nn.MaxPool2d(3, 2, ceil_mode=True), *_layer(28, 48), nn.MaxPool2d(3, 2, ceil_mode=True),
            *_layer(48, 64, 2), nn.Flatten(), nn.Linear(576, 128), nn.PReLU(128), nn.Linear(128, 6),
        )  # fmt: skip
        self.decide = nn.Sequential(
            *_layer(3, 32), nn.MaxPool2d(3, 2, ceil_mode=True), *_layer(32, 64), nn.MaxPool2d(3, 2, ceil_mode=True),
            *_layer(64, 64), nn.MaxPool2d(2, 2, ceil_mode=True), *_layer(64, 128, 2), nn.Flatten(),
            nn.Linear(1152, 256), nn.PReLU(256), nn.Linear(256, 16),
        )  # fmt: skip


def _layer(channels_in: int, channels_out: int, size: int = 3) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels_in, channels_out, size), nn.PReLU(channels_out)


@cache
def _networks() -> FaceNetworks:
    networks = FaceNetworks().eval().requires_grad_(False)
    networks.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return networks


@torch.inference_mode()
def find_faces(image: Tensor) -> list[Face]:
    """A picture (1, 3, H, W) in [0, 1] -> the faces in it.

    Runs on the CPU wherever the picture is: many small steps, of which each waits for the one before.
    """
    shrunk = max(1, min(image.shape[-2:]) // LARGE)
    image = F.avg_pool2d(image, shrunk).cpu().mul_(255).sub_(127.5).div_(128)
    networks, (height, width) = _networks(), image.shape[-2:]
    boxes, scores = _proposals(networks.propose, image)
    closer = (networks.refine, 24, SCORES[1], OVERLAP), (networks.decide, 48, SCORES[2], OVERLAP / 2)
    for network, side, least, overlap in closer:
        squares = _squares(boxes)[:MANY]
        crops = [_crop(image, square, side) for square in squares]
        inside = [i for i, crop in enumerate(crops) if crop is not None]
        if not inside:
            return []
        answers, squares = network(torch.cat([crops[i] for i in inside])), squares[inside]
        boxes, scores, points = _believed(squares, answers, least)
        kept = _without_doubles(boxes, scores, overlap)
        boxes, scores, points = boxes[kept], scores[kept], points[kept]
    limits = boxes.new_tensor([width, height, width, height])
    parts = torch.cat([boxes[:, None], _features(boxes, points)], dim=1)  # (n, 4, 4)
    parts = (parts.round().clamp_min(0).minimum(limits).int() * shrunk).tolist()
    faces = ([tuple(box) for box in face] for face in parts)
    return [Face(box, tuple(filter(_not_empty, features))) for box, *features in faces if _not_empty(box)]


def _not_empty(box: Box) -> bool:
    return box[0] < box[2] and box[1] < box[3]


def _features(boxes: Tensor, points: Tensor) -> Tensor:
    """Faces (n, 4), eyes, nose and corners of the mouth (n, 5, 2) -> boxes of the eyes and the mouth (n, 3, 4)."""
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    (first, last), eyes = points[:, 3:].aminmax(dim=1, keepdim=True), points[:, :2]
    low, high = torch.cat([eyes, first], dim=1), torch.cat([eyes, last], dim=1)
    around = sides * sides.new_tensor([EYE, EYE, MOUTH])
    return torch.cat([low - around, high + around], dim=2)


def _proposals(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """-> boxes (n, 4) that may show faces of any size, the likeliest first, and their scores (n,)."""
    height, width = image.shape[-2:]
    scale = CELL / max(SMALLEST, min(height, width) / SHARE)
    found = []
    while min(height, width) * scale >= CELL:
        size = [max(CELL, round(side * scale)) for side in (height, width)]
        answers = network(F.interpolate(image, size, mode="area"))[0]  # (6, rows, cols)
        rows, cols = torch.meshgrid(*(torch.arange(n) for n in answers.shape[1:]), indexing="ij")
        corner = torch.stack([cols, rows], dim=2).flatten(0, 1) * STRIDE
        squares = torch.cat([corner, corner + CELL], dim=1) / scale
        boxes, scores, _ = _believed(squares, answers.flatten(1).t(), SCORES[0])
        kept = _without_doubles(boxes, scores, 0.5)
        found.append((boxes[kept], scores[kept]))
        scale *= PYRAMID
    if not found:
        return image.new_zeros(0, 4), image.new_zeros(0)
    boxes, scores = (torch.cat(parts) for parts in zip(*found))
    kept = _without_doubles(boxes, scores, OVERLAP)
    return boxes[kept], scores[kept]


def _believed(squares: Tensor, answers: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Squares (n, 4), what a network says of them (n, 6 or more) -> boxes (m, 4) of faces, their scores (m,), points (m, k, 2)."""
    scores = answers[:, :2].softmax(1)[:, 1]
    there = scores > least
    corner, sides = squares[:, :2], squares[:, 2:] - squares[:, :2]
    boxes = squares + sides.repeat(1, 2) * answers[:, 2:6]
    points = corner[:, None] + sides[:, None] * torch.stack(answers[:, 6:].chunk(2, dim=1), dim=2)
    return boxes[there], scores[there], points[there]


def _squares(boxes: Tensor) -> Tensor:
    """Boxes (n, 4) -> the squares around their centres that hold them, whole pixels."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([centre - half, centre + half], dim=1).round()


def _crop(image: Tensor, square: Tensor, side: int) -> Tensor | None:
    """What a picture has of a square -> (1, 3, side, side), or None if that is nothing."""
    left, top, right, bottom = (max(0, int(edge)) for edge in square)
    part = image[..., top:bottom, left:right]
    return F.interpolate(part, (side, side), mode="area") if part.numel() else None


def _without_doubles(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Boxes (n, 4), scores (n,) -> indices of those that no likelier one overlaps too much, the likeliest first."""
    order = scores.argsort(descending=True)[: 10 * MANY]
    kept = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        low, high = (f(boxes[first], boxes[order]) for f in (torch.maximum, torch.minimum))
        shared = (high[:, 2:] - low[:, :2]).clamp_min(0).prod(1)
        area, own = ((b[..., 2:] - b[..., :2]).prod(-1) for b in (boxes[order], boxes[first]))
        order = order[shared <= overlap * (area + own - shared)]
    return torch.stack(kept) if kept else scores.new_zeros(0, dtype=torch.long)
