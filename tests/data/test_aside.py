"""A folder written aside takes its place whole, or not at all."""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import pytest

from msedge.data.aside import written_aside
from msedge.errors import DataError


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_takes_its_place_when_whole(tmp_path: Path) -> None:
    with written_aside(tmp_path / "set") as aside:
        assert aside.parent == tmp_path
        assert aside.name.startswith(".")
        (aside / "a.txt").write_text("a")
        assert not (tmp_path / "set").exists()
    assert entries(tmp_path) == ["set"]
    assert (tmp_path / "set" / "a.txt").read_text() == "a"


def test_others_can_read_it(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with written_aside(tmp_path / "set"):
        pass
    assert (tmp_path / "set").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_vanishes_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with written_aside(tmp_path / "set") as aside:
            (aside / "a.txt").write_text("a")
            raise error

    with pytest.raises(error):
        write()
    assert entries(tmp_path) == []


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    own = [".set.preparing-notes", ".set.preparing-0123456789", ".other.preparing-01234567"]
    for name in (*own, ".set.preparing-01234567"):
        (tmp_path / name).mkdir()
    with written_aside(tmp_path / "set"):
        pass
    assert entries(tmp_path) == sorted([*own, "set"])


def test_a_second_writer_is_told_to_wait(tmp_path: Path) -> None:
    with written_aside(tmp_path / "set") as aside:
        with (
            pytest.raises(DataError, match=r"another `msedge data prepare` is writing to .*: wait"),
            written_aside(tmp_path / "other"),
        ):
            pytest.fail("two writers at once")
        assert aside.is_dir()
    assert entries(tmp_path) == ["set"]
    with written_aside(tmp_path / "other"):  # the lock is free again
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no folder locks there")
def test_without_locks_the_leftovers_may_be_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".set.preparing-01234567").mkdir()
    with written_aside(tmp_path / "set"):
        pass
    assert entries(tmp_path) == [".set.preparing-01234567", "set"]


def test_a_place_that_is_taken_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("three years")
    with pytest.raises(OSError, match=r"set'$"), written_aside(tmp_path / "set"):
        pass
    assert entries(tmp_path) == ["set"]
    assert entries(tmp_path / "set") == ["thesis.txt"]
