"""Files of tensors that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name of a file -> another in its folder to write to; what lies there at the end of the block gets the name.

    After an error nothing has changed. Raises: OSError, also for what safetensors raises where it cannot write.
    """
    temporary = path.with_name(f".t1d-{secrets.token_hex(6)}.tmp")
    try:
        temporary.touch()
        mode = (path if path.is_file() else temporary).stat().st_mode  # safetensors has one of its own
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        os.replace(temporary, path)
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
