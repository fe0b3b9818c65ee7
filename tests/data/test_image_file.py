"""How much of a file is read, and what is said of it."""

from __future__ import annotations

import os

import pytest

from msedge.data.image_file import MAX_BYTES, read_image_file


class TestReading:
    @pytest.mark.parametrize("length", [0, 1, 65_536, 65_537, 300_000])
    def test_a_file_is_read_whole_with_its_state(self, tmp_path, length):
        path = tmp_path / "a"
        path.write_bytes(os.urandom(length))
        os.utime(path, ns=(1, 123_456_789))
        content, status = read_image_file(path)
        assert content == path.read_bytes()
        assert (status.st_size, status.st_mtime_ns) == (length, 123_456_789)

    def test_a_file_of_the_limit_is_read_and_one_byte_more_is_not(self, tmp_path):
        path = tmp_path / "a"
        path.write_bytes(bytes(100))
        assert read_image_file(path, 100)[0] == bytes(100)
        with pytest.raises(ValueError, match=r"^it is larger than 9.9e-05 MB: scale it down"):
            read_image_file(path, 99)

    def test_a_file_that_is_longer_than_it_said_is_read_to_the_limit(self, tmp_path, monkeypatch):
        path = tmp_path / "a"
        path.write_bytes(b"x" * 500_000)
        whole = os.stat_result((0o100644, 1, 1, 1, 0, 0, 10, 0, 0, 0))
        monkeypatch.setattr("msedge.data.image_file.os.fstat", lambda _: whole)
        monkeypatch.setattr(type(path), "stat", lambda _: whole)
        assert read_image_file(path)[0] == b"x" * 500_000
        with pytest.raises(ValueError, match=r"larger than 0\.4 MB"):
            read_image_file(path, 400_000)

    def test_the_limit_of_images(self):
        assert MAX_BYTES == 256_000_000


class TestExceptions:
    def test_what_is_not_there_or_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_image_file(tmp_path / "none")
        with pytest.raises(ValueError, match=r"^it is not a regular file$"):
            read_image_file(tmp_path)
        with pytest.raises(ValueError, match="null"):
            read_image_file(tmp_path / "a\0b")
