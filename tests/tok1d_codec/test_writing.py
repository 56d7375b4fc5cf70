"""Files of tensors: what cannot be written is an error of the system, and leaves nothing behind."""

from __future__ import annotations

import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from tok1d_codec.cli import expected_failure
from tok1d_codec.train.model_files import keep_prior, write_weights
from tok1d_codec.train.state import RunFolder
from tok1d_codec.train.tokens import TokenSet

BIG = torch.zeros(100_000)
WRITERS = {
    "weights": lambda path: write_weights({"a": BIG}, {}, path),
    "prior": lambda path: keep_prior({"prior.a": BIG}, path),
    "tokens": lambda path: TokenSet([BIG.numpy()], np.zeros((1, 2)), [], (2,), (1,)).save(path),
}


@contextmanager
def small_files():
    """No file may have more than 1000 bytes, as on a full disk; not for longer, since pytest writes to one too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk(tmp_path, kind):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="too large") as caught, small_files():
        WRITERS[kind](path)
    message, code = expected_failure(caught.value)
    assert code == 1 and message.startswith(str(path)) and "\n" not in message
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"old"


def test_a_full_disk_loses_no_checkpoint_and_no_log(tmp_path):
    run = RunFolder(tmp_path)
    run.save({"step": 1})
    for step in range(50):
        run.log({"step": step, "loss": 0.123456789})
    for write in (lambda: run.save({"step": BIG}), lambda: run.rewind(49)):
        with pytest.raises(OSError, match="too large"), small_files():
            write()
    assert run.load() == {"step": 1} and len(run.records()) == 50
    assert set(tmp_path.iterdir()) == {run.checkpoint, run.log_file}
    run.log_file.write_text('{"step": 0}\n{"step": 1, "validation": {"psnr": 20.5}')
    assert run.records() == [{"step": 0}]


def test_who_may_read_a_file_is_up_to_its_owner(tmp_path):
    path, before = tmp_path / "a.safetensors", os.umask(0o077)
    try:
        write_weights({"a": BIG}, {}, path)
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o640)
        write_weights({"a": BIG}, {}, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        WRITERS["weights"](tmp_path / "none" / "a.safetensors")
