from __future__ import annotations

import errno
import io
import os
import stat
import sys
import threading

import pytest

from bitstream.errors import LimitExceeded
from tok1d_codec.errors import MissingData, OutputExists
from tok1d_codec.image import files
from tok1d_codec.image.files import atomic_write, check_output, open_input, read_bytes


class Stream:
    """Stands for sys.stdin or sys.stdout."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)


def test_a_file_is_written_and_read(tmp_path):
    atomic_write(tmp_path / "a", b"bytes")
    assert read_bytes(tmp_path / "a") == b"bytes"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_permissions_are_those_of_any_new_file(tmp_path):
    atomic_write(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_permissions_stay_those_of_the_file_that_is_replaced(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o640)
    atomic_write(tmp_path / "a", b"new", force=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640 and (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="names of open files")
def test_a_pipe_is_written_to_by_the_name_of_its_number():
    reader, writer = os.pipe()
    check_output(f"/dev/fd/{writer}")
    atomic_write(f"/dev/fd/{writer}", b"bytes")
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"bytes"


def test_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stream(b"in"))
    monkeypatch.setattr(sys, "stdout", Stream())
    assert read_bytes("-") == b"in"
    atomic_write("-", b"out")
    assert sys.stdout.buffer.getvalue() == b"out"


def test_a_stream_without_end_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 4)
    monkeypatch.setattr(sys, "stdin", Stream(b"12345"))
    with pytest.raises(LimitExceeded, match="standard input holds more than 4 bytes"):
        read_bytes("-")
    (tmp_path / "a").write_bytes(b"1234")
    assert read_bytes(tmp_path / "a") == b"1234"


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_pipe_is_read_up_to_a_limit(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for given in (b"1234", b"12345"):
        writer = threading.Thread(target=pipe.write_bytes, args=(given,))
        writer.start()
        try:
            with open_input(pipe, 4) as file:
                assert given == b"1234" and file.read() == given and file.seekable()
        except LimitExceeded as error:
            assert given == b"12345" and "holds more than 4 bytes" in str(error)
        writer.join()


def test_closed_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(MissingData, match="standard input is closed"):
        read_bytes("-")
    with pytest.raises(MissingData, match="standard output is closed"):
        check_output("-")


def test_a_folder_that_may_not_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # who runs the tests may be root
    with pytest.raises(PermissionError) as caught:
        check_output(tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a")


def test_targets_that_cannot_be(tmp_path):
    with pytest.raises(OutputExists, match="is a folder"):
        check_output(tmp_path, force=True)
    with pytest.raises(MissingData, match="no folder"):
        check_output(tmp_path / "none" / "a")
    check_output("-")


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("force", [False, True])
def test_an_error_on_the_way_leaves_the_folder_as_it_was(tmp_path, monkeypatch, step, force):
    (tmp_path / "old").write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "replace":
        monkeypatch.setattr(os, "link", full)
        monkeypatch.setattr(os, "replace", full)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    data = b"new" if step != "write" else "a str, which no binary file takes"
    with pytest.raises((OSError, TypeError)):
        atomic_write(tmp_path / ("old" if force else "new"), data, force)
    assert os.listdir(tmp_path) == ["old"] and (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_comes_up_meanwhile_is_kept(tmp_path, monkeypatch, links):
    path = tmp_path / "a"
    sync = os.fsync

    def meanwhile(descriptor):
        path.write_bytes(b"theirs")
        sync(descriptor)

    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", meanwhile)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(OutputExists):
        atomic_write(path, b"ours")
    assert path.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["a"]


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    atomic_write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="links and devices")
def test_links_are_followed_and_devices_written_to(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    atomic_write(tmp_path / "link", b"new", force=True)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    atomic_write(os.devnull, b"gone")
    assert not os.path.isfile(os.devnull)
