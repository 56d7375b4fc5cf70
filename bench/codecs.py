"""Pixels <-> whole files, through one interface for t1d and for the codecs it is compared with."""

from __future__ import annotations

import io
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, features

from tok1d_codec.errors import BadPicture
from tok1d_codec.image.io import LONGEST

if TYPE_CHECKING:
    from tok1d_codec.models.store import Model

SCALES = (1, 2, 4, 8)
RATES_BPP = (0.003, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1)
EFFORTS = (0, 1)


@dataclass(frozen=True)
class Setting:
    """One rate: the codec's own knob, and by how much the sides are divided before it."""

    quality: float  # t1d: bits per pixel at most
    scale: int = 1


@dataclass(frozen=True)
class Point:
    """One picture at one setting."""

    setting: Setting
    data: bytes  # the whole file
    reconstruction: np.ndarray  # uint8 (H, W, 3)
    encode_seconds: float
    decode_seconds: float

    @property
    def rate_bpp(self) -> float:
        """8 x file bytes over the pixels of the picture."""
        height, width = self.reconstruction.shape[:2]
        return 8 * len(self.data) / (width * height)


class Codec(ABC):
    """What the benchmark asks of a codec."""

    name: str
    description: str
    settings: Sequence[Setting]

    @abstractmethod
    def encode(self, pixels: np.ndarray, setting: Setting) -> bytes:
        """Picture, uint8 (H, W, 3) -> whole file."""

    @abstractmethod
    def decode(self, data: bytes, width: int, height: int) -> np.ndarray:
        """Whole file -> picture, uint8 (height, width, 3)."""

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """-> what a reader needs to make the same files: versions, model and its hash."""

    def points(self, pixels: np.ndarray) -> Iterator[Point]:
        """Picture, uint8 (H, W, 3) -> file and reconstruction at each setting, with wall-clock seconds."""
        height, width = pixels.shape[:2]
        for setting in self.settings:
            started = time.perf_counter()
            data = self.encode(pixels, setting)
            encoded = time.perf_counter()
            reconstruction = self.decode(data, width, height)
            decoded = time.perf_counter()
            yield Point(setting, data, reconstruction, encoded - started, decoded - encoded)


class PillowCodec(Codec):
    """A format that Pillow writes, at full size and on pictures made smaller beforehand (Lanczos).

    The decoder enlarges to the original size (bicubic), which it is told at no cost in bytes. `encode` raises
    BadPicture for sides that the format does not have.
    """

    def __init__(self, name: str, qualities: Sequence[int], scales: Sequence[int] = SCALES) -> None:
        self.name, self.format, self.longest = name, _FORMATS[name], LONGEST[name.upper()]
        self.description = f"{self.format.label}, {self.format.said}; sides / 1, 2, 4, 8 (Lanczos, bicubic)"
        self.settings = tuple(Setting(quality, scale) for scale in scales for quality in qualities)

    def holds(self, pixels: np.ndarray, scale: int) -> bool:
        """Picture (H, W, 3), divisor of its sides -> does the format have such sides?"""
        return max(_smaller(pixels, scale)) <= self.longest

    def encode(self, pixels: np.ndarray, setting: Setting) -> bytes:
        picture, size = Image.fromarray(pixels), _smaller(pixels, setting.scale)
        if not self.holds(pixels, setting.scale):
            raise BadPicture(f"{self.format.label} has at most {self.longest} pixels a side, not {max(size)}; leave it out")
        if setting.scale != 1:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        file = io.BytesIO()
        picture.save(file, self.format.label, quality=setting.quality, **self.format.options)
        return file.getvalue()

    def decode(self, data: bytes, width: int, height: int) -> np.ndarray:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(picture)

    def meta(self) -> dict[str, Any]:
        return {self.format.library: features.version(self.format.library), "device": "cpu"}


class T1dCodec(Codec):
    """The codec of this package with one loaded model; "t1d", "t1d-effortN", "t1d-2", ..."""

    def __init__(
        self, model: Model, rates_bpp: Sequence[float] = RATES_BPP, effort: int = 0, name: str = "t1d"
    ) -> None:
        self.model, self.effort = model, effort
        self.name = name + (f"-effort{effort}" if effort else "")
        self.description = f"t1d, model {model.card.name}, effort {effort}, files of at most so many bits per pixel"
        self.settings = tuple(Setting(rate_bpp) for rate_bpp in rates_bpp)

    def encode(self, pixels: np.ndarray, setting: Setting) -> bytes:
        return encode_at(pixels, self.model, setting.quality, self.effort)

    def decode(self, data: bytes, width: int, height: int) -> np.ndarray:
        from tok1d_codec import codec

        return codec.decode(data, self.model)

    def meta(self) -> dict[str, Any]:
        device = self.model.tokenizer.device
        card = self.model.card
        return {"model": card.name, "model_sha256": card.sha256, "device": str(device), "effort": self.effort}


def encode_at(pixels: np.ndarray, model: Model, rate_bpp: float, effort: int | None = 0) -> bytes:
    """Picture, uint8 (H, W, 3) -> file of at most `rate_bpp`; of a tiny picture its smallest file."""
    from tok1d_codec import codec
    from tok1d_codec.errors import TargetTooSmall

    try:
        return codec.encode(pixels, model, bpp=rate_bpp, effort=effort)
    except TargetTooSmall as error:
        return codec.encode(pixels, model, size=error.least_bytes, effort=effort)


def _smaller(pixels: np.ndarray, scale: int) -> tuple[int, int]:
    """Picture (H, W, 3), divisor of its sides -> width, height."""
    height, width = pixels.shape[:2]
    return max(1, round(width / scale)), max(1, round(height / scale))


@dataclass(frozen=True)
class _Format:
    label: str  # Pillow's name of the format
    library: str  # the name under which Pillow tells the version of the library
    said: str
    options: dict[str, Any]


# Progressive JPEG is left out: on Kodak it is larger, at full size, 1/4 and 1/8 alike, up to quality 30.
_FORMATS = {
    "jpeg": _Format("JPEG", "libjpeg_turbo", "optimised Huffman tables, 4:2:0",
                    {"optimize": True, "subsampling": "4:2:0"}),
    "webp": _Format("WebP", "webp", "lossy, method 6", {"method": 6}),
    "avif": _Format("AVIF", "avif", "4:2:0, speed 0", {"subsampling": "4:2:0", "speed": 0}),
}
# Full size at the last of these takes 0.3 to 0.8 bpp, far above what t1d is made for.
_QUALITIES = {"jpeg": (1, 5, 10, 20), "webp": (0, 5, 20, 50), "avif": (1, 10, 20, 35)}


def open_codec(
    name: str, model_name: str = "t1d", device: str = "auto", rates_bpp: Sequence[float] = RATES_BPP, effort: int = 0
) -> Codec:
    """Name, one of `bench.CODECS` -> codec; the rest is t1d's: model and device as `load_model` takes them."""
    if name == "t1d":
        from tok1d_codec.models.cards import OWN_ID
        from tok1d_codec.models.store import load_model

        model = load_model(model_name, device)
        card = model.card
        if card.id == OWN_ID:
            name = f"t1d-own-{card.name}-{card.sha256[:6]}"
        elif model_name != name:
            name = card.name if card.name.startswith("t1d") else f"t1d-{card.name}"
        return T1dCodec(model, rates_bpp, effort, name)
    return PillowCodec(name, _QUALITIES[name])
