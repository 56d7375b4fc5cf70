"""Tar shards or folders of pictures -> one memory-mapped file of decoded pictures."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..errors import MissingData

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"}


class Pictures:
    """Decoded pictures, uint8 (H, W, 3) each, read from disk as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._index = json.loads(path.with_suffix(".json").read_text())["pictures"]  # [[offset, h, w], ...]
        self._pixels = np.memmap(path, np.uint8, "r")

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> np.ndarray:
        offset, h, w = self._index[i]
        return self._pixels[offset : offset + 3 * h * w].reshape(h, w, 3)


def load_pictures(sources: list[str], cache: Path, min_side: int) -> Pictures:
    """Tars and folders -> pictures with a short side of at least `min_side` pixels.

    Decoding is done once; `cache` (`NAME.u8` and `NAME.json`) serves later calls with the same sources.

    Raises:
        MissingData: a source does not exist, or none holds a picture.
    """
    files = [str(f) for s in sources for f in _source_files(Path(s))]
    index_file = cache.with_suffix(".json")
    if index_file.exists():
        known = json.loads(index_file.read_text())
        if known["files"] == files and known["min_side"] == min_side:
            return Pictures(cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    index, offset = [], 0
    with open(cache, "wb") as out:
        for data in tqdm(_blobs(files), desc=f"decode {cache.stem}", unit=" pictures"):
            pixels = _decode(data, min_side)
            out.write(pixels.tobytes())
            index.append([offset, *pixels.shape[:2]])
            offset += pixels.size
    if not index:
        raise MissingData(f"no picture in {', '.join(sources)}; give tar files or folders of pictures")
    index_file.write_text(json.dumps({"files": files, "min_side": min_side, "pictures": index}))
    return Pictures(cache)


def _source_files(source: Path) -> list[Path]:
    """A tar, a picture, or a folder of either -> sorted files."""
    if source.is_dir():
        return sorted(f for f in source.rglob("*") if f.suffix.lower() in SUFFIXES | {".tar"})
    if source.is_file():
        return [source]
    raise MissingData(f"no such file or folder: {source}; give tar files or folders of pictures")


def _blobs(files: list[str]) -> Iterator[bytes]:
    for file in files:
        if not file.endswith(".tar"):
            yield Path(file).read_bytes()
            continue
        with tarfile.open(file) as tar:
            for member in tar:
                if Path(member.name).suffix.lower() in SUFFIXES:
                    yield tar.extractfile(member).read()


def _decode(data: bytes, min_side: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    short = min(image.size)
    if short < min_side:
        size = [-(-side * min_side // short) for side in image.size]
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)
