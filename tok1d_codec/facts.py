"""What a `.t1d` file says, without decoding pixels; needs no torch."""

from __future__ import annotations

from bitstream.container import part_bytes, unpack
from bitstream.errors import FormatError
from bitstream.header import MAX_PIXELS

from .codec import read_tokens
from .errors import MissingData, UnknownModel, WrongWeights
from .models.cards import OWN_ID, card_by_id, card_by_name


def info(data: bytes, model: str | None = None, max_pixels: int = MAX_PIXELS) -> dict:
    """The bytes of a file, whole or cut -> what they say.

    Args:
        model: weight file, of a file that a model of one's own made.
        max_pixels: larger pictures are refused.

    Returns:
        version, model, model_id, width, height, scale, levels, tokens (per level, as far as they are there),
        coding, bytes (by part and in all), level_bytes (of each level), bpp, missing_bytes, and checksum:
        "ok", "mismatch", "cut (N levels are whole)", "wrong weights (why)", "unknown model (why)", with None for the
        model, or, without weights, "unknown (why)".

    Raises:
        FormatError and its classes: not a file or the beginning of one. WrongWeights, MissingData: `model` is no
        weight file. TypeError: no bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"info takes the bytes of a file, not {type(data).__name__}")
    container = unpack(bytes(data), max_pixels, cut=True)
    header = container.header
    card = decoded = None
    try:
        card = card_by_name(model) if model and header.model_id == OWN_ID else card_by_id(header.model_id)
    except UnknownModel as error:
        state = f"unknown model ({error})"
    try:
        if card:
            decoded = read_tokens(container, card)
            state = f"cut ({decoded.complete} levels are whole)" if container.missing else "ok"
    except FormatError:
        state = "mismatch"
    except WrongWeights as error:
        state = f"wrong weights ({error})"
    except MissingData as error:
        state = f"unknown ({error})"
    return {
        "version": header.version,
        "model": card.name if card else None,
        "model_id": header.model_id,
        "width": header.width,
        "height": header.height,
        "scale": header.scale,
        "levels": header.levels,
        "tokens": [int((level >= 0).sum()) for level in decoded.levels] if decoded else None,
        "coding": header.coding.name.lower(),
        "bytes": {**part_bytes(container), "total": len(data)},
        "level_bytes": [round(bits / 8, 1) for bits in decoded.level_bits] if decoded else None,
        "bpp": round(8 * len(data) / (header.width * header.height), 6),
        "missing_bytes": container.missing,
        "checksum": state,
    }
