"""Pictures of every size, orientation and state of health in, the four formats out."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from bitstream.errors import LimitExceeded
from tok1d_codec.errors import BadPicture, MissingData, OutputExists
from tok1d_codec.image.files import read_bytes
from tok1d_codec.image.io import FORMATS, output_format, read_picture, to_picture, write_picture


@pytest.fixture
def photo() -> np.ndarray:
    """Smooth colours, 24 x 40: what a lossy format keeps."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 3], -1).astype(np.uint8)


def saved(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header says another size."""
    data = bytearray(saved(Image.new("L", (1, 1)), "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def assert_picture(picture, expected, notes=()):
    np.testing.assert_array_equal(picture.pixels, np.asarray(expected, np.uint8))
    assert picture.pixels.dtype == np.uint8 and picture.notes == tuple(notes)


# Reading


def test_rgb_is_read_as_it_is_from_bytes_a_path_and_a_name(photo, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved(Image.fromarray(photo), "PNG"))
    for source in (path.read_bytes(), path, str(path)):
        assert_picture(read_picture(source), photo)


_UPRIGHT = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
            5: lambda a: np.swapaxes(a, 0, 1), 6: lambda a: np.rot90(a, -1),
            7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2), 8: np.rot90}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_applied_once(format, orientation):
    corners = np.zeros((32, 48, 3), np.uint8)  # 16 px blocks: JPEG keeps them
    corners[:16, :16], corners[:16, 32:], corners[16:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    picture = read_picture(saved(Image.fromarray(corners), format, exif=exif.tobytes(), **options))
    expected = _UPRIGHT[orientation](corners)
    assert picture.pixels.shape == expected.shape and picture.notes == ()
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 3


def test_damaged_exif_does_not_spoil_a_picture(photo, monkeypatch):
    """Pillow forgives much, as this offset beyond the end; what it does not is noted."""
    file = saved(Image.fromarray(photo), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert_picture(read_picture(file), photo, [])

    def refuse(image: Image.Image, in_place: bool = False) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", refuse)
    assert_picture(read_picture(file), photo, ["unreadable EXIF ignored"])
    assert_picture(to_picture(Image.fromarray(photo)), photo, ["unreadable EXIF ignored"])


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_first_frame_of_several(format):
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    picture = read_picture(saved(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert_picture(picture, np.full((4, 4, 3), (255, 0, 0)), ["first frame of several kept"])


# Sizes and damage


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_sizes(size):
    assert read_picture(saved(Image.new("RGB", size), "PNG")).pixels.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("side", [11_000, 12_000, 60_000, 2_000_000_000])
def test_too_many_pixels_are_refused_by_the_header_alone(side):
    data = png_of_size(side, side)  # a bomb, or cut short: no pixel of it is looked at
    with warnings.catch_warnings(), pytest.raises((LimitExceeded, BadPicture)) as caught:
        warnings.simplefilter("error")
        read_picture(data)
    assert (caught.type is LimitExceeded) == (side * side > 2**27)


def test_limits_are_the_callers(photo):
    data = saved(Image.fromarray(photo), "PNG")
    before = Image.MAX_IMAGE_PIXELS
    assert read_picture(data, max_pixels=960).pixels.shape == (24, 40, 3)
    with pytest.raises(LimitExceeded, match="959"):
        read_picture(data, max_pixels=959)
    with pytest.raises(LimitExceeded):
        read_picture(saved(Image.fromarray(photo), "WEBP"), max_pixels=959)
    assert Image.MAX_IMAGE_PIXELS == before
    with pytest.raises(LimitExceeded, match="65536x1;"):
        read_picture(png_of_size(65536, 1))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_cut_short(format, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), format)
    with pytest.raises(BadPicture):
        read_picture(data[: int(len(data) * kept)])


def test_not_a_picture(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    with pytest.raises(BadPicture, match=r"notes.png' is not a picture; give a PNG"):
        read_picture(path)
    with pytest.raises(MissingData, match="no file"):
        read_picture(tmp_path / "none.png")


def test_a_small_file_takes_little_memory(tmp_path):
    path = tmp_path / "a.t1d"
    path.write_bytes(b"abc")
    tracemalloc.start()
    assert read_bytes(path) == b"abc"
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2**22


# Writing


@pytest.mark.parametrize("suffix, format", [*FORMATS.items(), (".JPG", "JPEG")])
def test_format_by_extension(photo, tmp_path, suffix, format):
    name = "a" + suffix
    write_picture(photo, tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.format == format
    worst = np.abs(read_picture(tmp_path / name).pixels.astype(int) - photo).max()
    assert worst == 0 if format in ("PNG", "TIFF") else worst <= 16
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_format_by_name_wins(photo, tmp_path):
    write_picture(photo, tmp_path / "a.png", format="jpeg")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "JPEG"
    assert output_format("-") == "PNG" and output_format("-", "webp") == "WEBP"


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.gif"])
def test_unknown_extension_names_the_known_ones(photo, tmp_path, name):
    with pytest.raises(BadPicture, match=r"\.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff"):
        write_picture(photo, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_format_that_cannot_hold_the_size(tmp_path):
    with pytest.raises(BadPicture, match="20000x1"):
        write_picture(np.zeros((1, 20000, 3), np.uint8), tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_without_force(photo, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="--force"):
        write_picture(photo, path)
    assert path.read_bytes() == b"mine"
    write_picture(photo, path, force=True)
    assert_picture(read_picture(path), photo)
