"""`.t1d` files in Pillow: after `import tok1d_codec.pillow`, `Image.open` and `Image.save` know them.

    >>> Image.open("in.png").save("out.t1d", bpp=0.02)
    >>> Image.open("out.t1d").show()
"""

from __future__ import annotations

import io
from typing import IO

from PIL import Image, ImageFile

from bitstream.errors import FormatError
from bitstream.header import MAGIC, VERSION_MARK, unpack_header

from .api import decode, encode
from .image.files import MAX_FILE_BYTES

FORMAT = "T1D"


class T1DImage(ImageFile.ImageFile):
    """A `.t1d` file: its size is read at once, its pixels when they are asked for."""

    format = FORMAT
    format_description = "t1d extreme compression"

    def _open(self) -> None:
        self._data = self.fp.read(MAX_FILE_BYTES + 1)
        try:
            header = unpack_header(self._data)[0]
        except FormatError as error:  # what Pillow takes as "not of this format"
            raise SyntaxError(str(error)) from None
        self._size, self._mode = (header.width, header.height), "RGB"
        self.info = {"model_id": header.model_id, "levels": header.levels}

    def load(self) -> object:
        """Raises: as `tok1d_codec.decode`."""
        if self._data is not None:
            pixels = decode(self._data)
            self._data = None
            if self._exclusive_fp:
                self.fp.close()
            self.fp, self._fp = io.BytesIO(pixels.tobytes()), None
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, "RGB")]
        return super().load()


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    """Options of `Image.save`: model, effort, roi, faces, text, and one of levels, quality, bpp, size."""
    known = ("levels", "quality", "bpp", "size", "effort", "roi", "faces", "text")
    options = {k: image.encoderinfo[k] for k in known if k in image.encoderinfo}
    file.write(encode(image, image.encoderinfo.get("model", "t1d"), **options))


def _accept(prefix: bytes) -> bool:
    return len(prefix) > 1 and prefix[0] == MAGIC and prefix[1] & 0xF0 == VERSION_MARK


Image.register_open(FORMAT, T1DImage, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".t1d")
Image.register_mime(FORMAT, "image/x-t1d")
