"""A Pillow image of any mode -> 8-bit sRGB on white, and a note for everything that was lost on the way."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

# The mode that a profile for a colour space is applied in, and the modes that may be brought to it.
_PROFILE_MODES = {"RGB ": ("RGB", ("RGB", "L")), "GRAY": ("L", ("L",)), "CMYK": ("CMYK", ("CMYK",)),
                  "Lab ": ("LAB", ("LAB",))}  # fmt: skip
_SIXTEEN = (";16B", ";16L", ";16N")  # ends of raw modes
_GREY_STEPS = {"L;2": 85, "L;4": 17}  # 8-bit grey levels per step of a PNG of 2 or 4 bits


def to_srgb(image: Image.Image, raw_mode: str = "") -> tuple[Image.Image, tuple[str, ...]]:
    """Loaded image of any mode -> image of mode RGB, same size, and notes.

    Order: 12, 16 and 32 bits to 8, transparency split off, ICC profile to sRGB, flattened on white.

    Args:
        image: any Pillow mode, pixels loaded.
        raw_mode: how the file stores its samples, as Pillow names it ("RGB;16B", "L;2", ...); "I;16I" where 0 is white.
    """
    bits = 12 if raw_mode == "I;12" else 16 if image.mode.startswith("I;16") or raw_mode.endswith(_SIXTEEN) else 8
    notes = [f"{bits} bits a sample reduced to 8"] if bits > 8 else []
    if isinstance(image.info.get("transparency"), tuple) and ";16" in raw_mode:
        del image.info["transparency"]  # Pillow has kept the upper halves of the samples, which do not tell
        notes.append("transparent colour of 16 bits a sample ignored")
    alpha = _alpha(image, raw_mode)
    colour, note = _eight_bits(image, bits, raw_mode == "I;16I")
    notes.extend(note)
    colour, note = _apply_profile(colour, image.info.get("icc_profile"))
    notes.extend(note)
    if alpha is not None and alpha.getextrema()[0] < 255:
        white = Image.new("RGB", colour.size, "white")
        white.paste(colour, mask=alpha)
        colour = white
        notes.append("transparency flattened on white")
    return colour, tuple(notes)


def scale_to_uint8(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Numbers of 32 bits -> uint8 of the same shape, and the range that became 0..255.

    Files with such samples do not say what white is. The range is the first of 0..1, 0..255 and 0..65535
    that holds every value, else from the smallest to the largest value. NaN becomes black; an infinity
    the end of the range.
    """
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    smallest, largest = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    usual = ((0, top) for top in (1, 255, 65535) if 0 <= smallest and largest <= top)
    low, high = next(usual, (smallest, largest))
    span = max(high - low, np.finfo(np.float64).tiny)  # one value, out of the usual ranges, is black
    unit = np.clip(np.nan_to_num((values - low) / span, nan=0.0), 0.0, 1.0)
    return np.rint(unit * 255).astype(np.uint8), f"{low:g}..{high:g}"


def _alpha(image: Image.Image, raw_mode: str) -> Image.Image | None:
    """Opacity as an image of mode L, or None where the file has none."""
    if not image.has_transparency_data:
        return None
    key = image.info.get("transparency")
    if image.mode.startswith("I;16"):  # Pillow clips 16 bits to 8 before it compares
        return Image.fromarray(np.where(np.asarray(image) == key, 0, 255).astype(np.uint8))
    if isinstance(key, int) and raw_mode in _GREY_STEPS:  # the key is unscaled, the pixels are not
        image.info["transparency"] = key * _GREY_STEPS[raw_mode]
    return image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA").getchannel("A")


def _eight_bits(image: Image.Image, bits: int, inverted: bool) -> tuple[Image.Image, list[str]]:
    """Any mode -> L, RGB, CMYK or LAB without transparency. `bits` and `inverted` (0 is white) are of grey ones."""
    mode = image.mode
    if mode[0] == "I" and bits > 8:
        wide, top = np.asarray(image).astype(np.uint32), (1 << bits) - 1
        wide = top - wide if inverted else wide
        return Image.fromarray(((wide * 255 + top // 2) // top).astype(np.uint8)), []
    if mode in ("I", "F"):
        grey, span = scale_to_uint8(np.asarray(image))
        return Image.fromarray(grey), [f"32-bit samples {span} scaled to 8 bits"]
    if mode in ("L", "RGB", "CMYK", "LAB"):
        return image, []
    if mode in ("1", "LA", "La"):
        return image.convert("LA").convert("L"), []
    return image.convert("RGBA").convert("RGB") if image.has_transparency_data else image.convert("RGB"), []


def _apply_profile(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """L, RGB, CMYK or LAB -> RGB, by the embedded profile where it can be used."""
    notes = []
    if profile:
        try:
            return _convert(image, profile)
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            notes.append("unusable ICC profile ignored")
    if image.mode in ("CMYK", "LAB"):
        notes.append(f"{image.mode} converted to RGB without a profile")
    return image.convert("RGB"), notes


def _convert(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[str]]:
    """Raises ValueError where the profile is for another kind of picture, PyCMSError where it is broken."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode, modes = _PROFILE_MODES.get(source.profile.xcolor_space, ("", ()))
    if image.mode not in modes:
        raise ValueError(f"a profile for {source.profile.xcolor_space} on {image.mode}")
    result = ImageCms.profileToProfile(
        image.convert(mode), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    name = "".join(c for c in ImageCms.getProfileDescription(source).strip() if c.isprintable())[:60]
    return result, [] if "sRGB" in name else [f"ICC profile {name!r} converted to sRGB"]
