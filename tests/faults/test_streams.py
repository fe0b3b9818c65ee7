"""Standard output that is full, closed or not read; news that nobody takes; no input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from galleries import make_gallery, photo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
SECONDS = 120  # against hanging


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    pictures = {f"{number}.png": photo("red", mark=number) for number in range(6)}
    return make_gallery(tmp_path_factory.mktemp("gallery"), pictures)


def start(arguments, before="pass", **streams):
    """Run ``msedge`` in a process that does something to itself ``before``."""
    command = [sys.executable, "-m", "msedge", *map(str, arguments)]
    program = f"import os; {before}; os.execv({sys.executable!r}, {command!r})"
    return subprocess.run(
        [sys.executable, "-c", program],
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
        check=False,
    )


COMMANDS = [["--help"], ["gallery", "stats"], ["gallery", "stats", "--json"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
class TestStandardOutput:
    def full(self, command, gallery):
        return [*command, gallery] if "gallery" in command else command

    def test_a_full_disk_behind_it_is_one_line(self, command, gallery):
        with Path("/dev/full").open("wb") as output:
            done = start(self.full(command, gallery), stdout=output)
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith("msedge: cannot write to standard output (No space left on device)")
        assert done.returncode == 2

    def test_closed_it_is_as_if_nobody_listened(self, command, gallery):
        done = start(self.full(command, gallery), "os.close(1)")
        assert done.stderr == b""
        assert done.returncode == 0

    def test_a_reader_that_wants_no_more_ends_it_quietly(self, command, gallery):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as output:
            done = start(self.full(command, gallery), stdout=output)
        assert done.stderr == b""
        assert done.returncode == 1


class TestNews:
    @pytest.mark.parametrize("before", ["os.close(2)", "os.dup2(os.open('/dev/full', 1), 2)"])
    def test_a_run_goes_on_when_nobody_takes_its_news(self, gallery, tmp_path, before):
        done = start(["gallery", "copy", gallery, tmp_path / "copy.msedge"], before)
        assert done.returncode == 0
        assert (tmp_path / "copy.msedge").exists()

    @pytest.mark.parametrize("before", ["os.close(2)", "os.dup2(os.open('/dev/full', 1), 2)"])
    def test_a_failure_keeps_its_status(self, tmp_path, before):
        assert start(["gallery", "stats", tmp_path / "none"], before).returncode == 2

    def test_all_closed_no_file_takes_the_place_of_a_stream(self, gallery, tmp_path):
        copy = tmp_path / "copy.msedge"
        done = start(["gallery", "copy", gallery, copy], "os.closerange(0, 3)")
        assert done.returncode == 0
        done = start(["gallery", "check", copy])
        assert b"is sound" in done.stdout


class TestFewOpenFiles:
    @pytest.mark.parametrize("most", [6, 10, 32])
    def test_a_command_works_or_says_so_in_a_line(self, gallery, tmp_path, most):
        limits = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))"
        done = start(["gallery", "copy", gallery, tmp_path / "copy.msedge"], limits)
        said = done.stderr.decode()
        if most >= 32:
            assert done.returncode == 0, said
        elif done.returncode != 1 or "msedge" in said:  # else Python itself could not begin
            assert done.returncode in (0, 2), said
            assert "Traceback" not in said
        assert (tmp_path / "copy.msedge").exists() == (done.returncode == 0)
