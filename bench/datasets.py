"""Name of a data set -> the picture files in it."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from tok1d_codec.errors import MissingData
from tok1d_codec.image.io import SUFFIXES

DATA_VARIABLE = "T1D_DATA_DIR"
KODAK_SUMS = Path(__file__).parent / "kodak.sha256"
KODAK_URL = ("https://raw.githubusercontent.com/MohamedBakrAli/Kodak-Lossless-True-Color-Image-Suite"
             "/master/PhotoCD_PCD0992/{number}.png")
KODAK_MAX_BYTES = 2**20  # the largest of the 24 has 822,712
DOWNLOAD_SECONDS = 30
# The colour photographs that the scikit-image package itself carries: nothing is downloaded.
SKIMAGE_FILES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


@dataclass(frozen=True)
class Dataset:
    """A name and picture files, in the order in which they are measured."""

    name: str
    files: tuple[Path, ...]

    def first(self, count: int | None) -> Dataset:
        """The first `count` pictures, under a name that says so; all for None."""
        if count is None:
            return self
        return Dataset(f"{self.name}-first{count}", self.files[:count])

    def sha256(self) -> str:
        """One hash over the names and contents of the files: equal only for the same pictures."""
        lines = (f"{_sha256(file)}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def open_dataset(name: str | Path, data_dir: str | Path | None = None) -> Dataset:
    """"kodak", "skimage" or a folder -> its pictures, all present and, for Kodak, all verified.

    Args:
        name: "kodak" (24 photographs, 768x512 or 512x768), "skimage" (five colour photographs that
            scikit-image carries) or the path of a folder, of which the pictures are taken in the order
            of their names, without those in subfolders.
        data_dir: for Kodak, the folder with kodim01.png ... kodim24.png, or one that has them in `kodak/`;
            None stands for $T1D_DATA_DIR, and without that for a folder in the user's cache, which is
            filled over the network.
    Raises:
        MissingData: files are absent and cannot be fetched, or are not the known ones.
    """
    if str(name) == "kodak":
        return Dataset("kodak", _kodak_files(data_dir))
    if str(name) == "skimage":
        return Dataset("skimage", _skimage_files())
    folder = Path(name)
    if not folder.is_dir():
        raise MissingData(f"no data set {str(name)!r}: give kodak, skimage or a folder of pictures")
    files = tuple(sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file()))
    if not files:
        raise MissingData(f"no pictures in {folder}: files with {', '.join(sorted(SUFFIXES))} are read")
    label = folder.resolve().name
    taken = label.lower().startswith(("kodak", "skimage"))  # names of the known sets' results
    return Dataset(f"dir-{label}" if taken else label, files)


def kodak_sums() -> dict[str, str]:
    """-> {"kodim01.png": sha256 in hex, ...} of the 24 files."""
    lines = (line.split() for line in KODAK_SUMS.read_text().splitlines())
    return {name: digest for digest, name in lines}


def _kodak_files(data_dir: str | Path | None) -> tuple[Path, ...]:
    """The 24 verified files; fetches them only into the cache, never into a folder that the user named."""
    chosen = data_dir or os.environ.get(DATA_VARIABLE)
    sums = kodak_sums()
    if chosen:
        folder = Path(chosen)
        if not any((folder / name).is_file() for name in sums):
            folder = folder / "kodak"
    else:
        folder = _cache_folder()
        _fetch_kodak(folder, sums)
    missing = [name for name in sums if not (folder / name).is_file()]
    if missing:
        raise MissingData(f"{len(missing)} of the 24 Kodak pictures are not in {chosen}: "
                          f"put kodim01.png to kodim24.png there or in its folder kodak/")
    for name, wanted in sums.items():
        found = _sha256(folder / name)
        if found != wanted:
            raise MissingData(f"{folder / name} is not the Kodak picture (sha256 {found[:12]}..., "
                              f"expected {wanted[:12]}...): replace the file")
    return tuple(folder / name for name in sums)


def _fetch_kodak(folder: Path, sums: dict[str, str]) -> None:
    """Brings the files that `folder` lacks; a file appears under its name only when its hash is right."""
    for number, (name, wanted) in enumerate(sums.items(), start=1):
        target = folder / name
        if target.is_file():
            continue
        url = KODAK_URL.format(number=number)
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
                data = response.read(KODAK_MAX_BYTES + 1)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise MissingData(f"cannot fetch {name} ({reason}): put kodim01.png to kodim24.png in {folder}, "
                              f"or in a folder that you name with --data or {DATA_VARIABLE}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != wanted:
            raise MissingData(f"{url} gave another file (sha256 {found[:12]}..., expected {wanted[:12]}...): "
                              f"name a folder with the true ones with --data or {DATA_VARIABLE}")
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(data)
        part.replace(target)


def _skimage_files() -> tuple[Path, ...]:
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    missing = [name for name in SKIMAGE_FILES if not (folder / name).is_file()]
    if missing:
        raise MissingData(f"this scikit-image does not carry {', '.join(missing)}: "
                          f"install scikit-image 0.26, or give a folder of pictures")
    return tuple(folder / name for name in SKIMAGE_FILES)


def _cache_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("t1d")) / "kodak"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
