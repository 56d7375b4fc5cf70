"""Tar shards or folders of pictures -> one memory-mapped file of decoded pictures."""

from __future__ import annotations

import json
import lzma
import os
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from bitstream.errors import LimitExceeded

from ..errors import BadPicture, MissingData
from ..image.io import SUFFIXES, read_picture

THINNEST = 32  # longer sides over shorter ones: more is not made larger
HOLD_OUT = 50  # where nothing is named val*, every so manieth picture or tar is held out


class Pictures:
    """Decoded pictures, uint8 (H, W, 3) each, read from disk as they are asked for."""

    def __init__(self, path: Path) -> None:
        self.index = _index_file(path)
        self._places = json.loads(self.index.read_text())["pictures"]  # [[offset, h, w], ...]
        self._pixels = np.memmap(path, np.uint8, "r")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> np.ndarray:
        offset, h, w = self._places[i]
        return self._pixels[offset : offset + 3 * h * w].reshape(h, w, 3)


def list_sources(sources: list[str]) -> list[Path]:
    """Tars, pictures and folders of either -> files, sorted within each folder.

    Links that lead nowhere are skipped, and said.

    Raises:
        MissingData: a source does not exist.
    """
    files = []
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(f for f in source.rglob("*") if f.suffix.lower() in SUFFIXES | {".tar"} and not f.is_dir())
            files += (there := [f for f in found if f.is_file()])
            if len(there) < len(found):
                _say(f"{len(found) - len(there)} names in {source} lead to no file, and were skipped")
        elif source.is_file():
            files.append(source)
        else:
            raise MissingData(f"no such file or folder: {source}; give tar files or folders of pictures")
    return files


def split_sources(sources: list[str], validation: list[str]) -> tuple[list[Path], list[Path]]:
    """What `--data` and `--validation` name -> files to train on, files held out.

    Without `validation`, `hold_out` chooses. Raises: MissingData if one of the two has no files.
    """
    files, held_out = list_sources(sources), list_sources(validation)
    if held_out:
        files = _without(files, held_out)
    else:
        files, held_out = hold_out(files)
    if not files or not held_out:
        raise MissingData(f"{len(files)} files to train on and {len(held_out)} to validate on; give more")
    return files, held_out


def hold_out(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Files -> (to train on, held out): those named val* or anywhere in a folder named so, else every 50th.

    Folders that all files are in do not count.
    """
    common = len(Path(os.path.commonpath(map(os.path.abspath, files))).parts) if len(files) > 1 else 0
    held = [f for f in files if any(part.startswith("val") for part in f.absolute().parts[common:])]
    held = held or files[HOLD_OUT - 1 :: HOLD_OUT]
    return _without(files, held), held


def _without(files: list[Path], held_out: list[Path]) -> list[Path]:
    """-> the files that are not held out, by whatever path."""
    held = {f.resolve() for f in held_out}
    return [f for f in files if f.resolve() not in held]


def load_pictures(files: list[Path], cache: Path, min_side: int) -> Pictures:
    """Tars and picture files -> pictures with a short side of at least `min_side` pixels.

    Decoding is done once; `cache` (`NAME.u8` and `NAME.json`) serves later calls for the same files.
    What cannot be read is skipped, and said.

    Raises:
        MissingData: there is no picture, or a tar is damaged.
    """
    known = {"files": described(files), "min_side": min_side}
    index_file = _index_file(cache)
    if index_file.exists() and known.items() <= json.loads(index_file.read_text()).items():
        return Pictures(cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    index, offset, skipped = [], 0, 0
    partial_cache, partial_index = cache.with_suffix(".u8-partial"), cache.with_suffix(".json-partial")
    try:
        with open(partial_cache, "wb") as out:  # who has the old pictures mapped keeps them
            for data in tqdm(_blobs(files), desc=f"decode {cache.stem}", unit=" pictures"):
                try:
                    pixels = _at_least(read_picture(data).pixels, min_side)
                except (BadPicture, LimitExceeded):
                    skipped += 1
                    continue
                out.write(pixels.tobytes())
                index.append([offset, *pixels.shape[:2]])
                offset += pixels.size
        if skipped:
            _say(f"{skipped} files in {cache.stem} cannot be read, are no pictures, or too thin, and were skipped")
        if not index:
            raise MissingData(f"no picture in {len(files)} files for {cache.stem}; give tars or folders of pictures")
        partial_index.write_text(json.dumps({**known, "pictures": index}))
        index_file.unlink(missing_ok=True)  # from here to its return the cache counts as absent
        os.replace(partial_cache, cache)
        os.replace(partial_index, index_file)
    finally:
        partial_cache.unlink(missing_ok=True)
        partial_index.unlink(missing_ok=True)
    return Pictures(cache)


def described(files: list[Path]) -> list[list]:
    """-> what tells the same files from others, as JSON has it: their paths, sizes and times."""
    return [[str(f), f.stat().st_size, f.stat().st_mtime] for f in files]


def _index_file(cache: Path) -> Path:
    return cache.with_suffix(".json")


def _say(text: str) -> None:
    tqdm.write(f"t1d: {text}", sys.stderr)


def _blobs(files: list[Path]) -> Iterator[bytes]:
    """Files -> the bytes of every picture file among them and in their tars."""
    for file in files:
        if file.suffix.lower() != ".tar":
            try:
                yield file.read_bytes()
            except OSError:
                yield b""  # no picture: skipped, and said
            continue
        try:
            with tarfile.open(file) as tar:
                for member in tar:
                    if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                        yield tar.extractfile(member).read()
                tar.fileobj.seek(tar.offset)
                if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile is content with less
                    raise tarfile.ReadError("it does not end as it should")
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise MissingData(f"{file} is not a whole tar file ({error}); make it again") from None


def _at_least(pixels: np.ndarray, min_side: int) -> np.ndarray:
    """uint8 (H, W, 3) -> the same, enlarged where the short side is under `min_side`. Raises: BadPicture if too thin."""
    short = min(pixels.shape[:2])
    if short >= min_side:
        return pixels
    if max(pixels.shape[:2]) > THINNEST * short:
        raise BadPicture(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels is too thin to learn from")
    size = [-(-side * min_side // short) for side in (pixels.shape[1], pixels.shape[0])]
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
