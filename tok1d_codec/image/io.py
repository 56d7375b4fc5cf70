"""Picture files <-> pixels: whatever Pillow opens in, PNG, JPEG, WebP and TIFF out."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION

from bitstream.errors import LimitExceeded, T1DError
from bitstream.header import MAX_PIXELS, MAX_SIDE
from tok1d_codec.errors import BadPicture
from tok1d_codec.image.colour import to_srgb
from tok1d_codec.image.files import STREAM, atomic_write, check_output, open_input

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif"))  # looked for in folders
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_OPTIONS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
LONGEST = {"JPEG": 65500, "WEBP": 16383, "AVIF": 32768}  # pixels a side that their libraries write
_pillow = threading.RLock()


@dataclass(frozen=True)
class Picture:
    """What is left of a picture file: pixels uint8 (H, W, 3), sRGB, upright; one note per thing lost."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def read_picture(source: str | os.PathLike | bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """A picture file, `-` for stdin, or the bytes of one -> Picture.

    The EXIF orientation is applied, the embedded ICC profile converted to sRGB, transparency flattened
    on white, 12, 16 and 32 bits reduced to 8 (`colour.scale_to_uint8` says how), the first frame kept.

    Args:
        max_pixels: limit on width x height, checked before pixels are decoded.
    Raises:
        BadPicture: not a picture, damaged, or cut short.
        LimitExceeded: more than `max_pixels`, or a side above MAX_SIDE.
        MissingData, OSError: as `open_input`.
    """
    name = "the picture" if isinstance(source, bytes) else repr(str(source))
    with io.BytesIO(source) if isinstance(source, bytes) else open_input(source) as file:
        try:
            with _pillow_limit(max_pixels), Image.open(file) as image:
                return _decode(image, max_pixels, name)
        except T1DError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise LimitExceeded(f"{name} has more than {max_pixels} pixels; make it smaller first") from None
        except UnidentifiedImageError:
            raise BadPicture(f"{name} is not a picture; give a PNG, JPEG, WebP, TIFF or the like") from None
        except MemoryError:
            raise
        except Exception as error:  # what Pillow's many readers raise on damaged files is no closed set
            raise _damaged(name, error) from error


def to_picture(image: Image.Image) -> Picture:
    """A Pillow image of any mode, as it was opened or made -> Picture, as `read_picture` does it.

    Raises: BadPicture, LimitExceeded.
    """
    raw_mode = _raw_mode(image)
    try:
        image.load()
        try:
            copy = ImageOps.exif_transpose(image)
        except Exception:  # damaged EXIF, which `_decode` notes
            copy = image.copy()
        return _decode(copy, MAX_PIXELS, "the image", raw_mode)
    except (T1DError, MemoryError):
        raise
    except Exception as error:  # as above
        raise _damaged("the image", error) from error


def _damaged(name: str, error: Exception) -> BadPicture:
    return BadPicture(f"{name} is damaged or cut short ({error}); get a whole copy")


def write_picture(
    pixels: np.ndarray, target: str | os.PathLike, format: str | None = None, force: bool = False
) -> None:
    """Pixels uint8 (H, W, 3) -> a picture file, whole or not at all; `-` is stdout.

    Args:
        format: "png", "jpeg", "webp" or "tiff"; by default the target's extension decides, PNG for `-`.
    Raises:
        BadPicture: no such format, or one that cannot hold a picture of this size.
        OutputExists, MissingData, OSError: as `atomic_write`.
    """
    kind = output_format(target, format)
    check_output(target, force)
    check_size(pixels.shape[1], pixels.shape[0], kind)
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, kind, **_OPTIONS[kind])
    except (OSError, ValueError) as error:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise BadPicture(f"{kind} cannot hold {size} pixels ({error}); write PNG or TIFF") from error
    atomic_write(target, buffer.getvalue(), force)


def check_size(width: int, height: int, kind: str) -> None:
    """Size of a picture in pixels, its format as Pillow has it -> nothing. Raises: BadPicture if it cannot hold that."""
    most = LONGEST.get(kind, max(width, height))
    if max(width, height) > most:
        raise BadPicture(f"{kind} cannot hold {width}x{height} pixels, at most {most} a side; write PNG or TIFF")


def output_format(target: str | os.PathLike, format: str | None = None) -> str:
    """The name of a picture to write -> "PNG", "JPEG", "WEBP" or "TIFF". Raises BadPicture."""
    if format is None and str(target) == STREAM:
        return "PNG"
    suffix = Path(target).suffix.lower() if format is None else f".{format.lower()}"
    if suffix not in FORMATS:
        came = suffix or "a name without extension"
        raise BadPicture(f"cannot write {came}; use one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _decode(image: Image.Image, max_pixels: int, name: str, raw_mode: str | None = None) -> Picture:
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        allowed = f"{max_pixels} pixels and {MAX_SIDE} a side"
        raise LimitExceeded(f"{name} is {width}x{height}; allowed are {allowed}; make it smaller first")
    notes = ("first frame of several kept",) if getattr(image, "is_animated", False) else ()
    raw_mode = _raw_mode(image) if raw_mode is None else raw_mode
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # as above; a picture with damaged EXIF is still a picture
        notes += ("unreadable EXIF ignored",)
    rgb, colour_notes = to_srgb(image, raw_mode)
    return Picture(np.array(rgb), notes + colour_notes)


def _raw_mode(image: Image.Image) -> str:
    """How the samples lie in the file, known only until they are loaded; "" where Pillow does not tell."""
    if image.mode == "I;16" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == 0:
        return "I;16I"  # as Pillow names it for fewer bits, which it inverts itself
    if image.mode == "I;16" and getattr(image, "tag_v2", {}).get(BITSPERSAMPLE) == (12,):
        return "I;12"
    if not getattr(image, "tile", None):
        return ""
    codec, _, _, arguments = image.tile[0]
    if not isinstance(arguments, tuple):
        arguments = (arguments,)
    if codec in ("ppm", "ppm_plain") and arguments[1:] > (255,):  # Netpbm: (mode, largest sample)
        return f"{arguments[0]};16B"
    return arguments[0] if arguments and isinstance(arguments[0], str) else ""


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Pillow's guard at our limit, as an error and not a warning; its settings are global, hence a lock."""
    with _pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is raised or noted
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
