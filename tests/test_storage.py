"""A file is the old one or the new one, whole; and it belongs to those whom the umask lets in."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from msedge.errors import DataError
from msedge.storage import atomic_path, remove_leftovers


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def killed_in_the_middle(path: Path) -> None:
    """Begin a file in a process of its own, which is killed before the end."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from msedge.storage import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as new:\n"
        "    new.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60)
    assert done.returncode == -9


class TestSmoke:
    def test_a_new_file(self, tmp_path):
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "new"
        assert entries(tmp_path) == ["a.txt"]

    def test_the_old_file_stands_until_the_new_one_is_whole(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")
        with atomic_path(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    def test_a_reader_of_the_old_file_reads_it_to_its_end(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")
        with path.open() as reader:
            with atomic_path(path) as temporary:
                temporary.write_text("new")
            assert reader.read() == "old"

    def test_the_folder_is_made(self, tmp_path):
        with atomic_path(tmp_path / "runs" / "first" / "a.txt") as temporary:
            temporary.write_text("new")
        assert (tmp_path / "runs" / "first" / "a.txt").read_text() == "new"

    @pytest.mark.parametrize("name", ["a.safetensors", "weights.tar.gz", "no-suffix"])
    def test_the_temporary_file_is_hidden_beside_it_with_its_suffix(self, tmp_path, name):
        path = tmp_path / name
        with atomic_path(path) as temporary:
            temporary.write_text("new")
            assert temporary.parent == path.parent
            assert temporary.suffix == path.suffix
            assert temporary.name.startswith(".")
        assert path.read_text() == "new"


class TestExceptions:
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    @pytest.mark.parametrize("old", ["old", None])
    def test_after_an_error_all_is_as_it_was(self, tmp_path, error, old):
        path = tmp_path / "a.txt"
        if old is not None:
            path.write_text(old)
        before = entries(tmp_path)

        def write() -> None:
            with atomic_path(path) as temporary:
                temporary.write_text("ne")
                raise error("half way")

        with pytest.raises(error, match="half way"):
            write()
        assert entries(tmp_path) == before
        assert old is None or path.read_text() == old

    def test_a_full_disk_is_told_and_the_old_file_stands(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")

        def write() -> None:
            with atomic_path(path) as temporary:
                temporary.write_text("ne")
                raise OSError(28, "No space left on device")

        with pytest.raises(DataError, match=r"cannot write .*a\.txt \(No space left"):
            write()
        assert path.read_text() == "old"
        assert entries(tmp_path) == ["a.txt"]

    @pytest.mark.parametrize("name", ["file/a.txt", "file/runs/a.txt", "n" * 300])
    def test_a_folder_that_cannot_be_made_or_written_to(self, tmp_path, name):
        (tmp_path / "file").write_text("in the way")
        with (
            pytest.raises(DataError, match=r"cannot write .* \(.+\); choose a folder") as caught,
            atomic_path(tmp_path / name),
        ):
            pytest.fail("there is nowhere to write to")
        assert str(tmp_path / name) in str(caught.value)
        assert entries(tmp_path) == ["file"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission(self, tmp_path):
        tmp_path.chmod(0o500)
        try:
            with (
                pytest.raises(DataError, match=r"\(Permission denied\)"),
                atomic_path(tmp_path / "a.txt"),
            ):
                pytest.fail("there is nowhere to write to")
        finally:
            tmp_path.chmod(0o700)

    def test_a_folder_of_that_name(self, tmp_path):
        (tmp_path / "a").mkdir()
        with (
            pytest.raises(DataError, match=r"cannot write .*directory"),
            atomic_path(tmp_path / "a") as temporary,
        ):
            temporary.write_text("new")
        assert entries(tmp_path) == ["a"]
        assert entries(tmp_path / "a") == []

    @pytest.mark.parametrize("length", [200, 251, 255])
    def test_a_name_as_long_as_the_system_allows(self, tmp_path, length):
        path = tmp_path / ("n" * (length - 4) + ".txt")
        with atomic_path(path) as temporary:
            temporary.write_text("new")
        assert path.read_text() == "new"

    def test_an_odd_name_is_told_on_one_line(self, tmp_path):
        (tmp_path / "a\nb").mkdir()
        with pytest.raises(DataError) as caught, atomic_path(tmp_path / "a\nb"):
            pass
        assert "\n" not in str(caught.value)


class TestNumbers:
    @pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
    def test_permissions_honour_the_umask(self, tmp_path, mask, mode):
        before = os.umask(mask)
        try:
            with atomic_path(tmp_path / "a.txt") as temporary:
                temporary.write_text("new")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode

    def test_permissions_hold_where_the_writer_makes_the_file_anew(self, tmp_path):
        (tmp_path / "expected.txt").touch()
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.unlink()
            temporary.touch(0o600)
        assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "expected.txt").stat().st_mode

    def test_the_umask_is_not_touched_since_all_threads_share_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("changed for every thread"))
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
        assert entries(tmp_path) == ["a.txt"]

    def test_many_writers_leave_one_whole_file(self, tmp_path):
        path = tmp_path / "a.txt"
        contents = [letter * 10_000 for letter in "abcdefgh"]

        def write(content: str) -> None:
            with atomic_path(path) as temporary:
                temporary.write_text(content)

        threads = [threading.Thread(target=write, args=(content,)) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert path.read_text() in contents
        assert entries(tmp_path) == ["a.txt"]


class TestLeftovers:
    """What a killed writer leaves, which no ``finally`` removes."""

    def test_only_those_of_the_file_go(self, tmp_path):
        path = tmp_path / "[a]*.txt"
        for writer in (path, tmp_path / "b.txt"):
            with atomic_path(writer) as temporary:
                os.link(temporary, tmp_path / "kept")
            (tmp_path / "kept").rename(temporary)
        others = {".[a]*-1234.txt", ".[a]*-123456789.txt", ".[a]*-12345678.csv", ".a-12345678.txt"}
        for name in others:
            (tmp_path / name).touch()
        assert len(entries(tmp_path)) == 8
        remove_leftovers(path)
        (left,) = {*entries(tmp_path)} - others - {path.name, "b.txt"}
        assert left.startswith(".b-")

    def test_the_next_writer_removes_what_a_killed_one_left(self, tmp_path):
        killed_in_the_middle(tmp_path / "a.txt")
        assert len(entries(tmp_path)) == 1
        with atomic_path(tmp_path / "b.txt") as temporary:
            temporary.touch()
        assert len(entries(tmp_path)) == 2
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.touch()
        assert entries(tmp_path) == ["a.txt", "b.txt"]

    def test_what_is_being_written_stays(self, tmp_path):
        path = tmp_path / "a.txt"
        with atomic_path(path) as first:
            with atomic_path(path) as second:
                second.write_text("second")
                assert first.exists()
            remove_leftovers(path)
            first.write_text("first")
        assert path.read_text() == "first"
        assert entries(tmp_path) == ["a.txt"]

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("a")])
    def test_what_is_no_file_is_left_alone(self, tmp_path, make):
        make(tmp_path / ".a-12345678.txt")
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.touch()
        assert entries(tmp_path) == [".a-12345678.txt", "a.txt"]

    def test_where_there_is_nothing(self, tmp_path):
        remove_leftovers(tmp_path / "gone" / "a.txt")
        assert entries(tmp_path) == []
