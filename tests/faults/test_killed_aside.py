"""Folders that are written aside by several at once, some of which were killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from made_photos import names
from msedge.data.aside import folder_aside

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")

WRITER = """
import sys
from pathlib import Path
from msedge.data.aside import folder_aside
with folder_aside(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print(folder.name, flush=True)
    input()
"""


def writer(target: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that writes a folder aside until it is told to end, and the folder's name."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdin=-1, stdout=-1, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "sample"
    (tmp_path / ".sample.writing-mine").mkdir()  # of another name: not ours
    living, its = writer(target)
    killed, left = writer(target)
    try:
        killed.kill()
        killed.communicate()
        assert {its, left} <= names(tmp_path)
        with folder_aside(target) as folder:
            assert names(tmp_path) == {its, folder.name, ".sample.writing-mine"}
            (folder / "whole").write_text("whole")
            folder.rename(target)
        assert living.communicate("\n", timeout=60) is not None
        assert living.returncode == 0
    finally:
        for process in (living, killed):
            process.kill()
            process.wait()
    assert names(tmp_path) == {"sample", ".sample.writing-mine"}
    assert (target / "whole").read_text() == "whole"


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    def fail() -> None:
        with folder_aside(tmp_path / "sample") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == set()
