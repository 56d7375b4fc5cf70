"""The Python API: pictures as Pillow, numpy or torch have them, one or many, to files in memory and back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from bitstream.header import MAX_PIXELS

from . import codec
from .errors import BadPicture, PartialPictureWarning
from .models.store import shared_model

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from .models.store import Model
    from .boxes import Box

    Picture = Union[Image.Image, np.ndarray, torch.Tensor]

SLACK = 0.1  # beyond [0, 1], as filters leave it; more is another range


def encode(
    image: Picture | Sequence[Picture], model: Model | str = "t1d", *, levels: int | None = None,
    quality: float | None = None, bpp: float | None = None, size: int | None = None, effort: int | None = None,
    roi: Sequence[Box] = (), faces: bool = True, text: bool = True,
) -> bytes | list[bytes]:  # fmt: skip
    """Picture -> the bytes of a `.t1d` file; several pictures -> a list of them.

    Args:
        image: a Pillow image of any mode; numpy uint8 (H, W, 3), RGB; torch (3, H, W), uint8 or float in
            [0, 1]; or a list of these, or an array with one more axis in front.
        model: what `load_model` gave, or its name.
        levels, quality, bpp, size: at most one of them says how large the file may be; see `rate.Target`.
        effort: 0 to 9, how long to search for tokens that look better at that size; None is 1 for pictures of up to
            1024 pixels a side, and 0 for larger ones.
        roi: regions of interest, (left, top, right, bottom) in pixels, which get more of the bytes than others.
        faces, text: find faces, or lines of text, and take them for regions of interest too.

    Raises:
        BadPicture: not a picture of these kinds. LimitExceeded: a side or the area is too large.
        TargetTooSmall: no file of this picture has so few bytes.
        ValueError: a target out of its range, or a region that is not within the picture.

    Example:
        >>> data = encode(Image.open("in.png"), bpp=0.02)
    """
    loaded = _loaded(model)
    target = {"levels": levels, "quality": quality, "bpp": bpp, "size": size}
    target |= {"effort": effort, "roi": roi, "faces": faces, "text": text}
    if _is_batch(image):
        return [codec.encode(to_pixels(one), loaded, **target) for one in image]
    return codec.encode(to_pixels(image), loaded, **target)


def decode(
    data: bytes | Sequence[bytes], model: Model | str | None = None, *, device: str = "auto",
    max_pixels: int = MAX_PIXELS, partial: bool = False,
) -> np.ndarray | list[np.ndarray]:  # fmt: skip
    """The bytes of a file -> picture, numpy uint8 (H, W, 3) RGB; several files -> a list of them.

    Args:
        model: the model that the files name, as `load_model` gave it, or its name; None finds it, and loads it on
            `device`, once.
        max_pixels: larger pictures are refused before anything is allocated for them.
        partial: the first bytes of a file, or a damaged one, will do, and give a coarser picture and a
            `errors.PartialPictureWarning`.

    Raises:
        FormatError and its classes: not a whole, undamaged file. LimitExceeded: larger than `max_pixels`.
        UnknownModel, WrongWeights, MissingData: the model that it names is not the one at hand.
        TypeError: something else than bytes, such as the name of a file.
    """
    options = _loaded(model, device), device, max_pixels, partial
    if isinstance(data, (list, tuple)):
        found = []  # no comprehension, which before Python 3.12 is a frame of its own: warnings name the caller's line
        for n, one in enumerate(data, start=1):
            found.append(_decode_one(one, f"file {n} of {len(data)} is ", *options))
        return found
    return _decode_one(data, "", *options)


def _decode_one(
    data: bytes, which: str, model: Model | None, device: str, max_pixels: int, partial: bool
) -> np.ndarray:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"decode takes the bytes of a file or a list of those, not {type(data).__name__}")
    data = bytes(data)
    model = model or shared_model(codec.model_name(data, max_pixels), device)
    if not partial:
        return codec.decode(data, model, max_pixels=max_pixels)
    pixels, held = codec.decode_partial(data, model, max_pixels=max_pixels)
    if held.damaged or held.complete < len(held.levels):
        said = f"{which}a part of a picture: {held.complete} of {len(held.levels)} levels are whole"
        warnings.warn(said, PartialPictureWarning, stacklevel=3)
    return pixels


def tokenize(
    image: Picture | Sequence[Picture], model: Model | str = "t1d", *, levels: int | None = None
) -> list:
    """Picture -> its tokens, int64 (rows, cols) for each level; several pictures -> a list of such lists.

    Level i has `load_model(...).card.codebook_sizes[i]` codes, and one token for each `card.sides[i]` pixels. Every
    prefix of the levels is a coarser picture; `levels` says how many are wanted, None is all.

    Raises: as `encode`; ValueError for levels that the model does not have.
    """
    loaded = _loaded(model)
    if _is_batch(image):
        return [codec.tokenize(to_pixels(one), loaded, levels) for one in image]
    return codec.tokenize(to_pixels(image), loaded, levels)


def detokenize(
    tokens: Sequence[np.ndarray], height: int, width: int, model: Model | str = "t1d"
) -> np.ndarray:
    """Tokens as `tokenize` gives them, those of the first levels or of all -> picture, uint8 (height, width, 3) RGB.

    A token of -1 is absent; places that lack it are drawn from the levels before.

    Raises: ValueError for other shapes than such a picture has, or tokens that are no codes.
    """
    return codec.detokenize(tokens, height, width, _loaded(model))


def to_pixels(image: Picture) -> np.ndarray:
    """One picture of any kind -> uint8 (H, W, 3) RGB. Raises: BadPicture."""
    if hasattr(image, "getexif"):  # Pillow's
        from .image.io import to_picture

        return to_picture(image).pixels
    if hasattr(image, "detach"):  # torch's
        image = image.detach().cpu()
        if image.ndim == 3 and image.is_floating_point():
            low, high = map(float, image.aminmax()) if image.numel() else (0.0, 0.0)
            if not -SLACK <= low <= high <= 1 + SLACK:
                raise BadPicture(f"a float tensor from {low:g} to {high:g}; give one in [0, 1], or uint8")
            image = image.mul(255).round().clamp(0, 255).byte()
        image = np.moveaxis(image.numpy(), 0, -1) if image.ndim == 3 else image.numpy()
    if not isinstance(image, np.ndarray):
        raise BadPicture(f"a picture of type {type(image).__name__}; give a Pillow image, an array or a tensor")
    return np.ascontiguousarray(image)


def _is_batch(image: object) -> bool:
    return isinstance(image, (list, tuple)) or getattr(image, "ndim", 3) == 4


def _loaded(model: Model | str | None, device: str = "auto") -> Model | None:
    return shared_model(model, device) if isinstance(model, (str, os.PathLike)) else model
