"""Pixels <-> the bytes of a `.t1d` file: the only place where the networks meet the bitstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitstream.coder import decode_tokens, encode_tokens
from bitstream.container import Container, pack, part_bytes, unpack, verify
from bitstream.errors import ChecksumMismatch, FormatError, LimitExceeded
from bitstream.header import MAX_PIXELS, MAX_SIDE, VERSION, Header

from .errors import BadPicture, MissingData, WrongWeights
from .models.cards import ModelCard, card_by_id
from .models.store import load_model, load_tables
from .prior.static import StaticTables

if TYPE_CHECKING:
    from .models.store import Model

DEFAULT_LEVELS = 4


def encode(pixels: np.ndarray, model: Model, levels: int | None = None) -> bytes:
    """Picture, uint8 (H, W, 3) RGB -> the bytes of a file.

    Args:
        levels: how many levels of tokens are written, 1 (smallest) to all that the model has;
            DEFAULT_LEVELS, if None.

    Raises:
        BadPicture: not a uint8 (H, W, 3) array. LimitExceeded: a side or the area is too large.
        ValueError: the model has no such number of levels.
    """
    import torch

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise BadPicture(f"a picture of dtype {pixels.dtype} and shape {pixels.shape}; give uint8 (H, W, 3)")
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise LimitExceeded(
            f"a picture of {width}x{height}; at most {MAX_SIDE} a side and {MAX_PIXELS} pixels; shrink it"
        )
    levels = min(DEFAULT_LEVELS, model.card.levels) if levels is None else levels
    if not 1 <= levels <= model.card.levels:
        raise ValueError(f"{levels} levels; model {model.card.name} has 1 to {model.card.levels}")
    device = next(model.tokenizer.parameters()).device
    image = torch.from_numpy(np.array(pixels)).to(device).permute(2, 0, 1)[None].float().div_(255)
    tokens = [index[0].cpu().numpy() for index in model.tokenizer.encode(image, levels)]
    coding, payload = encode_tokens(tokens, model.tables)
    header = Header(model.card.id, model.card.seed[0], width, height, levels, coding)
    return pack(header, payload, tokens, model.card.seed)


def decode(
    data: bytes, model: Model | None = None, device: str = "auto", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """The bytes of a file -> picture, uint8 (H, W, 3) RGB.

    Args:
        model: the model that the file names, if it is already loaded; else it is loaded on `device`.

    Raises:
        FormatError and its classes: the bytes are not a whole, undamaged file within the limits.
        UnknownModel, WrongWeights, MissingData: the model that it names is not the one at hand.
    """
    import torch

    container = unpack(data, max_pixels)
    header = container.header
    card = model.card if model else card_by_id(header.model_id)
    tokens = read_tokens(container, card, model.tables if model else None)
    model = model or load_model(card.name, device)
    target = next(model.tokenizer.parameters()).device
    indices = [torch.from_numpy(level.astype(np.int64))[None].to(target) for level in tokens]
    with torch.inference_mode():  # rounding in place: a large picture is not held twice as floats
        image = model.tokenizer.decode(indices, header.height, header.width)[0].mul_(255).round_()
        return image.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def read_tokens(container: Container, card: ModelCard, tables: StaticTables | None = None) -> list[np.ndarray]:
    """Container -> verified tokens, int32 (rows, cols) for each level; needs no torch.

    Raises:
        WrongWeights: the file was written with another model than `card`. FormatError: damaged.
    """
    header = container.header
    if (header.model_id, header.weights_tag) != (card.id, card.seed[0]):
        raise WrongWeights(
            f"the file needs model {header.model_id} with weights tag {header.weights_tag:02x}, "
            f"this is model {card.id} ({card.name}) with {card.seed[0]:02x}; use the t1d release that wrote it"
        )
    if header.levels > card.levels:
        raise FormatError(f"{header.levels} levels, but model {card.name} has {card.levels}; the file is damaged")
    shapes = card.token_shapes(header.height, header.width, header.levels)
    tokens = decode_tokens(header.coding, container.payload, shapes, tables or load_tables(card))
    verify(container, tokens, card.seed)
    return tokens


def info(data: bytes) -> dict:
    """The bytes of a file -> what they say, without decoding pixels; needs no torch.

    Returns:
        version, model, model_id, width, height, levels, tokens (per level), coding, bytes (by part and
        in all), bpp, and checksum: "ok", "mismatch" or "unknown (why)".

    Raises:
        FormatError and its classes: not a whole file. UnknownModel: written by a model not known here.
    """
    container = unpack(data)
    header = container.header
    card = card_by_id(header.model_id)
    shapes = card.token_shapes(header.height, header.width, header.levels)
    try:
        read_tokens(container, card)
        state = "ok"
    except ChecksumMismatch:
        state = "mismatch"
    except (MissingData, WrongWeights) as error:
        state = f"unknown ({error})"
    return {
        "version": VERSION,
        "model": card.name,
        "model_id": card.id,
        "width": header.width,
        "height": header.height,
        "levels": header.levels,
        "tokens": [rows * cols for rows, cols in shapes],
        "coding": header.coding.name.lower(),
        "bytes": {**part_bytes(container), "total": len(data)},
        "bpp": round(8 * len(data) / (header.width * header.height), 6),
        "checksum": state,
    }
