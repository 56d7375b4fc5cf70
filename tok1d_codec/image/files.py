"""Names <-> bytes, with `-` for stdin and stdout. An output appears whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from bitstream.errors import LimitExceeded
from bitstream.header import MAX_PAYLOAD_BYTES
from tok1d_codec.errors import MissingData, OutputExists

STREAM = "-"
MAX_FILE_BYTES = MAX_PAYLOAD_BYTES + 64  # of a t1d file: its header and checksum take at most 18
MAX_STREAM_BYTES = 2**30  # of a picture on stdin: ends a stream that has no end
CHUNK_BYTES = 2**20


def open_input(source: str | os.PathLike, max_bytes: int = MAX_STREAM_BYTES) -> BinaryIO:
    """The name of a file or a pipe, or `-` -> an open, seekable binary file.

    Args:
        max_bytes: limit on what is taken from stdin or a pipe; a file is not read here.
    Raises:
        MissingData: no such file; stdin is closed.
        LimitExceeded: stdin or a pipe holds more than `max_bytes`.
        OSError: it may not be read.
    """
    if str(source) == STREAM:
        if sys.stdin is None:
            raise MissingData("standard input is closed; give the name of a file")
        return BytesIO(_read_all(sys.stdin.buffer, "standard input", max_bytes))
    try:
        file = open(source, "rb")
    except FileNotFoundError:
        raise MissingData(f"no file {str(source)!r}; give the name of a file, or - for stdin") from None
    if file.seekable():
        return file
    with file:
        return BytesIO(_read_all(file, repr(str(source)), max_bytes))


def read_bytes(source: str | os.PathLike) -> bytes:
    """The name of a t1d file, or `-` -> its bytes, at most MAX_FILE_BYTES. Raises as `open_input`."""
    with open_input(source, MAX_FILE_BYTES) as file:
        return _read_all(file, repr(str(source)), MAX_FILE_BYTES)


def check_output(target: str | os.PathLike, force: bool = False) -> None:
    """Refuse a target that could not be written, before any work is spent on it.

    Raises:
        OutputExists: there is a file and `force` is False, or there is a folder.
        MissingData: the folder it should go into does not exist; stdout is closed.
        PermissionError: nothing may be written there.
    """
    if str(target) == STREAM:
        if sys.stdout is None:
            raise MissingData("standard output is closed; give the name of a file")
        return
    path = Path(target)
    if path.is_dir():
        raise OutputExists(f"{str(target)!r} is a folder; give the name of a file in it")
    if path.is_file() and not force:
        raise _exists(path)
    if not path.parent.is_dir():
        raise MissingData(f"no folder {str(path.parent)!r} to write to; make it first")
    if not os.access(path if is_device(path) else Path(os.path.realpath(path)).parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))


def atomic_write(target: str | os.PathLike, data: bytes, force: bool = False) -> None:
    """Bytes -> a file, or stdout for `-`.

    The bytes go to a temporary file in the same folder, to the disk, and only then to the name, so that
    nobody ever sees half a file; after an error the folder is as it was before. Who may read and write a file that is
    replaced stays as it was.

    Raises:
        OutputExists, MissingData: as `check_output`, also when the file came up in the meantime.
        OSError: the disk is full, the folder is read-only and the like.
    """
    if str(target) == STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    check_output(target, force)
    if is_device(Path(target)):  # as it was named: the link that stands for a pipe in /dev/fd leads to no name
        Path(target).write_bytes(data)
        return
    path = Path(os.path.realpath(target))  # the file a link points to is written, not the link
    temporary = path.with_name(f".t1d-{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            if force and path.is_file():
                shutil.copymode(path, temporary)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, path, force)
    finally:
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path, force: bool) -> None:
    """Give a finished file its name. Raises OutputExists if the name is taken and `force` is False."""
    if not force:
        try:
            os.link(temporary, path)  # unlike a rename, it never replaces a file
            return
        except FileExistsError:
            raise _exists(path) from None
        except OSError:  # a file system without hard links
            check_output(path)
    os.replace(temporary, path)


def is_device(path: Path) -> bool:
    """A device or a pipe is written to: replacing it would destroy it."""
    return path.exists() and not path.is_file()


def _exists(path: Path) -> OutputExists:
    return OutputExists(f"{str(path)!r} exists; give another name, or --force to overwrite it")


def _read_all(file: BinaryIO, name: str, max_bytes: int) -> bytes:
    data = BytesIO()
    while chunk := file.read(CHUNK_BYTES):  # a read takes memory for all that it asks for
        data.write(chunk)
        if data.tell() > max_bytes:
            raise LimitExceeded(f"{name} holds more than {max_bytes} bytes; give a smaller file")
    return data.getvalue()
