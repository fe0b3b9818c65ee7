"""What is read of a file that somebody says to have written by hand."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from msedge.written_files import read_written


def test_the_text_is_whole(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes("é: 1\r\n".encode())
    assert read_written(path, 7) == "é: 1\r\n"


def test_a_byte_more_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"12345678")
    with pytest.raises(ValueError, match="it has more than 7 bytes; expected a file written by"):
        read_written(path, 7)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no device that never ends")
def test_a_device_that_never_ends_is_refused():
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        read_written(Path("/dev/zero"), 1_000_000)


def test_a_pipe_is_read_to_its_end(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("epochs: 3\n",))
    writer.start()
    assert read_written(path, 100) == "epochs: 3\n"
    writer.join(30)


def test_another_encoding_is_told_by_its_place(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match="it is not UTF-8 from byte 2 on; save it so"):
        read_written(path, 7)


@pytest.mark.parametrize("name", ["gone", "."])
def test_what_cannot_be_opened_stays_the_system_s_error(tmp_path, name):
    with pytest.raises(OSError, match="directory"):
        read_written(tmp_path / name, 7)
