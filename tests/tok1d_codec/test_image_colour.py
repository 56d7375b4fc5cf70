"""Pictures of every mode, depth, transparency and colour profile in."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from tok1d_codec.image.io import read_picture, to_picture

FLATTENED = "transparency flattened on white"
SIXTEEN = "16 bits a sample reduced to 8"


def saved(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, transparent=b"") -> bytes:
    """A PNG made by hand, for what Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    start = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    key = chunk(b"tRNS", transparent) if transparent else b""
    parts = chunk(b"IHDR", start), key, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def assert_picture(picture, expected, notes=()):
    np.testing.assert_array_equal(picture.pixels, np.asarray(expected, np.uint8))
    assert picture.pixels.dtype == np.uint8 and picture.notes == tuple(notes)


def grey(*values: int) -> list:
    """One row of grey pixels."""
    return [[[v, v, v] for v in values]]


# Modes


def test_one_bit():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert_picture(read_picture(saved(image, "PNG")), grey(0, 255))


def test_grey():
    assert_picture(read_picture(saved(Image.fromarray(np.array([[7, 200]], np.uint8)), "PNG")), grey(7, 200))


def test_rgba_on_white():
    image = Image.fromarray(np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]], np.uint8))
    expected = [[[255, 255, 255], [10, 20, 30], [204, 204, 204]]]
    assert_picture(read_picture(saved(image, "PNG")), expected, [FLATTENED])


def test_opaque_rgba_loses_nothing():
    assert_picture(read_picture(saved(Image.new("RGBA", (1, 1), (1, 2, 3, 255)), "PNG")), [[[1, 2, 3]]])


def test_grey_with_alpha():
    image = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 0)])
    assert_picture(read_picture(saved(image, "PNG")), grey(255), [FLATTENED])


def palette_image(mode: str = "P") -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for x in range(3):
        image.putpixel((x, 0), x)
    return image if mode == "P" else image.convert(mode)


def test_palette():
    assert_picture(read_picture(saved(palette_image(), "PNG")), [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])


@pytest.mark.parametrize("format, transparency", [("PNG", 1), ("PNG", bytes([255, 0, 255])), ("GIF", 1)])
def test_palette_with_transparency(format, transparency):
    picture = read_picture(saved(palette_image(), format, transparency=transparency))
    assert_picture(picture, [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]], [FLATTENED])


def test_palette_with_alpha_channel():
    image = palette_image("PA")
    image.putalpha(Image.fromarray(np.array([[255, 0, 255]], np.uint8)))
    picture = read_picture(saved(image, "TIFF"))
    assert_picture(picture, [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]], [FLATTENED])


def test_transparent_colours():
    assert_picture(
        read_picture(saved(Image.fromarray(np.array([[9, 80]], np.uint8)), "PNG", transparency=9)),
        grey(255, 80),
        [FLATTENED],
    )
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    expected = [[[255, 255, 255], [4, 5, 6]]]
    assert_picture(read_picture(saved(image, "PNG", transparency=(1, 2, 3))), expected, [FLATTENED])


def test_transparent_grey_of_two_bits():
    data = png(4, 1, 2, 0, b"\0" + bytes([0b00011011]), struct.pack(">H", 1))
    assert_picture(read_picture(data), grey(0, 255, 170, 255), [FLATTENED])


def test_cmyk_without_profile():
    picture = read_picture(saved(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"))
    assert_picture(picture, [[[255, 0, 0]]], ["CMYK converted to RGB without a profile"])


def test_cmyk_jpeg(photo):
    picture = read_picture(saved(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(picture.pixels.astype(int) - photo).mean() < 3


def test_ycbcr(photo):
    picture = read_picture(saved(Image.fromarray(photo).convert("YCbCr"), "TIFF"))
    assert np.abs(picture.pixels.astype(int) - photo).max() <= 3


def test_lab():
    picture = read_picture(saved(Image.new("LAB", (1, 1), (137, 128, 128)), "TIFF"))
    assert picture.notes == ("LAB converted to RGB without a profile",)
    assert np.abs(picture.pixels.astype(int) - 128).max() <= 3  # L* of 54, a* and b* of 0: middle grey


@pytest.mark.parametrize("dtype, format", [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF")])
def test_sixteen_bit_grey_is_rounded_over_the_whole_range(dtype, format):
    values = np.array([[0, 128, 129, 32768, 65535]], "<u2")
    image = Image.frombytes("I;16" if dtype == "<u2" else "I;16B", (5, 1), values.astype(dtype).tobytes())
    assert_picture(read_picture(saved(image, format)), grey(0, 0, 1, 128, 255), [SIXTEEN])


def test_sixteen_bit_transparency():
    data = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 1000, 2000), struct.pack(">H", 1000))
    assert_picture(read_picture(data), grey(255, 8), [SIXTEEN, FLATTENED])
    rows = b"\0" + struct.pack(">6H", 0x1235, 0, 0, 0x3412, 0, 0)  # the first is not of the transparent colour
    picture = read_picture(png(2, 1, 16, 2, rows, struct.pack(">3H", 0x1234, 0, 0)))
    ignored = "transparent colour of 16 bits a sample ignored"
    assert_picture(picture, [[[0x12, 0, 0], [0x34, 0, 0]]], [SIXTEEN, ignored])


def grey_tiff(bits: int, photometric: int, data: bytes) -> bytes:
    """A TIFF of two grey pixels made by hand."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 122, 277: 1, 278: 1, 279: len(data)}
    entries = b"".join(struct.pack("<2HI2H", tag, 3, 1, value, 0) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def test_grey_tiffs_of_12_bits_and_of_16_with_0_for_white():
    picture = read_picture(grey_tiff(12, 1, bytes((0xFF, 0xF8, 0x00))))
    assert_picture(picture, grey(255, 128), ["12 bits a sample reduced to 8"])
    data = grey_tiff(16, 0, struct.pack("<2H", 65535, 257))
    assert_picture(read_picture(data), grey(0, 254), [SIXTEEN])
    with Image.open(io.BytesIO(data)) as image:
        assert_picture(to_picture(image), grey(0, 254), [SIXTEEN])


def test_sixteen_bit_rgb():
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0xFF00, 0x1200, 0))
    assert_picture(read_picture(data), [[[255, 18, 0]]], [SIXTEEN])


def test_sixteen_bit_netpbm():
    values = struct.pack(">6H", 0, 128, 129, 0, 200, 255)  # dark, but the file says that white is 65535
    assert_picture(read_picture(b"P5 6 1 65535\n" + values), grey(0, 0, 1, 0, 1, 1), [SIXTEEN])
    picture = read_picture(b"P6 1 1 1023\n" + struct.pack(">3H", 0, 512, 1023))
    assert_picture(picture, [[[0, 128, 255]]], [SIXTEEN])
    assert_picture(read_picture(b"P2 3 1 1023\n0 512 1023\n"), grey(0, 128, 255), [SIXTEEN])
    assert_picture(read_picture(b"P3 1 1 1023\n0 512 1023\n"), [[[0, 128, 255]]], [SIXTEEN])
    assert_picture(read_picture(b"P2 3 1 255\n0 128 255\n"), grey(0, 128, 255))


@pytest.mark.parametrize(
    "values, expected, span",
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], "0..1"),
        ([0.0, 2.0, 200.0], [0, 2, 200], "0..255"),
        ([0.0, 257.0, 65535.0], [0, 1, 255], "0..65535"),
        ([-1.0, 0.0, 1.0], [0, 128, 255], "-1..1"),
        ([-3.0, -3.0, -3.0], [0, 0, 0], "-3..-3"),
        ([np.nan, np.inf, 0.5], [0, 255, 128], "0..1"),
        ([0, 70000, 140000], [0, 128, 255], "0..140000"),
        ([0, 100, 200], [0, 100, 200], "0..255"),
    ],
)
def test_32_bits(values, expected, span):
    dtype = np.int32 if isinstance(values[0], int) else np.float32
    picture = read_picture(saved(Image.fromarray(np.array([values], dtype)), "TIFF"))
    assert_picture(picture, grey(*expected), [f"32-bit samples {span} scaled to 8 bits"])


# Colour profiles


def matrix_profile(swap: bool = False, space: bytes = b"RGB ", name: str = "") -> bytes:
    """Pillow's sRGB profile; with red and blue swapped, for another colour space, or under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if swap:
        profile = profile.replace(b"rXYZ", b"tmp ").replace(b"bXYZ", b"rXYZ").replace(b"tmp ", b"bXYZ")
    if name:
        profile = profile.replace("sRGB".encode("utf-16-be"), name[:4].encode("utf-16-be"))
    return profile[:16] + space + profile[20:]


def test_srgb_profile_changes_nothing_and_is_not_worth_a_note(photo):
    picture = read_picture(saved(Image.fromarray(photo), "PNG", icc_profile=matrix_profile()))
    assert np.abs(picture.pixels.astype(int) - photo).max() <= 1 and picture.notes == ()


@pytest.mark.parametrize("alpha", [False, True])
def test_profile_is_converted_to_srgb(photo, alpha):
    image = Image.fromarray(photo)
    if alpha:
        image.putalpha(Image.fromarray(np.tile(np.array([255, 0], np.uint8), (96, 80))))
    picture = read_picture(saved(image, "PNG", icc_profile=matrix_profile(swap=True, name="Swap")))
    expected = photo[..., ::-1].astype(int)
    if alpha:
        expected[:, 1::2] = 255
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 2
    converted = "ICC profile 'Swap built-in' converted to sRGB"
    assert picture.notes == ((converted, FLATTENED) if alpha else (converted,))


def test_rgb_profile_on_grey():
    picture = read_picture(saved(Image.new("L", (1, 1), 100), "PNG", icc_profile=matrix_profile()))
    assert_picture(picture, grey(100))


def test_profile_of_a_lab_picture():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = read_picture(saved(Image.new("LAB", (1, 1), (137, 128, 128)), "TIFF", icc_profile=lab))
    assert np.abs(picture.pixels.astype(int) - 128).max() <= 3
    assert picture.notes == ("ICC profile 'Lab identity built-in' converted to sRGB",)


@pytest.mark.parametrize("profile", [b"no profile", matrix_profile()[:300], matrix_profile(space=b"CMYK")])
def test_unusable_profile_is_ignored(photo, profile):
    picture = read_picture(saved(Image.fromarray(photo), "PNG", icc_profile=profile))
    assert_picture(picture, photo, ["unusable ICC profile ignored"])
