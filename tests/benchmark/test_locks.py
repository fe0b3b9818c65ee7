"""Locks between real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from msedge.benchmark.locks import LOCK, is_taken, sole_benchmark, take
from msedge.errors import ConfigError, DataError

SLEEPER = "import sys; sys.stdin.read()"


class TestTake:
    def test_one_at_a_time(self, tmp_path):
        first = take(tmp_path / "new")
        assert first is not None
        assert take(tmp_path / "new") is None
        assert is_taken(tmp_path / "new")
        os.close(first)
        assert not is_taken(tmp_path / "new")

    def test_a_process_that_inherits_it_holds_it(self, tmp_path):
        lock = take(tmp_path)
        assert lock is not None
        child = subprocess.Popen(
            [sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
        os.close(lock)
        assert take(tmp_path) is None
        child.kill()
        child.communicate()
        again = take(tmp_path)
        assert again is not None
        os.close(again)

    def test_looking_makes_nothing(self, tmp_path):
        assert not is_taken(tmp_path / "none")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match=r"cannot write to .*; choose another --save-root"):
            take(tmp_path / "file")


class TestSoleBenchmark:
    def test_names_the_process_of_the_other(self, tmp_path):
        message = rf"another benchmark \(process {os.getpid()}\) is writing .*; wait for it"
        with (
            sole_benchmark(tmp_path),
            pytest.raises(ConfigError, match=message),
            sole_benchmark(tmp_path),
        ):
            pass

    def test_lets_go_after_an_error(self, tmp_path):
        with pytest.raises(RuntimeError), sole_benchmark(tmp_path):
            raise RuntimeError
        with sole_benchmark(tmp_path):
            assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
