"""The folder of decoded images: its bound, its files, and who else is in it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from msedge.data import pixel_folder
from msedge.data.image_content import FileState
from msedge.data.pixel_folder import open_pack, pack_path
from msedge.data.pixel_pack import PixelPack, Source, pack_bytes
from msedge.errors import DataError

ROWS, SIZE = 4, 8
ONE = pack_bytes(ROWS, SIZE)
PIXELS = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3)
SOURCE = Source(FileState(1, 2), bytes(16))


def key_of(number: int) -> str:
    return f"{number:032x}"


def opened(folder: Path, number: int = 0, *, rows: int = ROWS, most: float = 1e9) -> PixelPack:
    pack = open_pack(folder, key_of(number), rows, SIZE, most_bytes=most)
    assert pack is not None
    return pack


def used_at(folder: Path, number: int, second: int) -> None:
    os.utime(pack_path(folder, key_of(number)), (second, second))


def numbers(folder: Path) -> set[int]:
    return {int(path.stem, 16) for path in folder.glob("*.pixels")}


class TestSmoke:
    def test_a_file_is_made_and_found_again(self, tmp_path):
        folder = tmp_path / "a" / "b"
        opened(folder).write(2, SOURCE, PIXELS)
        out = np.zeros_like(PIXELS)
        found = opened(folder).verified(2, out)
        assert found is not None
        assert found[0] == SOURCE
        assert np.array_equal(out, PIXELS)
        assert {path.name for path in folder.iterdir()} == {f"{key_of(0)}.pixels", ".lock"}

    def test_no_rows_are_no_file(self, tmp_path):
        opened(tmp_path)
        assert open_pack(tmp_path, key_of(0), 0, SIZE, most_bytes=10) is None
        assert numbers(tmp_path) == set()

    @pytest.mark.parametrize("rows", [ROWS - 1, ROWS + 1])
    def test_room_for_another_number_of_rows_begins_it_anew(self, tmp_path, rows):
        opened(tmp_path).write(0, SOURCE, PIXELS)
        pack = opened(tmp_path, rows=rows)
        assert pack.rows == rows
        assert pack.verified(0, np.zeros_like(PIXELS)) is None
        assert numbers(tmp_path) == {0}

    def test_what_is_cut_short_or_something_else_is_begun_anew(self, tmp_path):
        path = opened(tmp_path).path
        for content in (b"", b"notes", path.read_bytes()[:-1], bytes(ONE)):
            path.write_bytes(content)
            opened(tmp_path).write(1, SOURCE, PIXELS)
            assert opened(tmp_path).verified(1, np.zeros_like(PIXELS)) is not None


class TestExceptions:
    def test_a_full_disk_is_one_line_that_says_what_to_do(self, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(DataError) as caught:
            opened(tmp_path)
        said = str(caught.value)
        assert said == (
            f"cannot keep decoded images in {tmp_path} (No space left on device); choose a folder "
            "with --cache-dir, or go without by --no-cache"
        )
        assert numbers(tmp_path) == set()
        assert {path.name for path in tmp_path.iterdir()} <= {".lock"}

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DataError, match=r"^cannot keep decoded .*--cache-dir.*--no-cache$"):
            opened(tmp_path / "file")
        with pytest.raises(DataError, match=r"^cannot keep decoded .*--cache-dir.*--no-cache$"):
            opened(tmp_path / "file" / "below")

    @pytest.mark.skipif(
        sys.platform == "win32" or os.geteuid() == 0, reason="whoever may do all writes all"
    )
    def test_a_folder_that_cannot_be_written(self, tmp_path):
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(DataError, match=r"\(Permission denied\); .*--no-cache$"):
                opened(tmp_path)
        finally:
            tmp_path.chmod(0o700)

    @pytest.mark.parametrize("call", ["open", "link"])
    def test_a_read_only_file_system(self, tmp_path, monkeypatch, call):
        """Root may write everywhere else, so the system's answer is given in its place."""

        def refuse(*_, **__):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(pixel_folder.os, call, refuse)
        monkeypatch.setattr(Path, "rename", refuse)
        with pytest.raises(DataError, match=r"\(Read-only file system\); .*--no-cache$"):
            opened(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


class TestBound:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        """Three files, used in the order 1, 0, 2, as others that the cache did not make."""
        for number, second in ((0, 2_000), (1, 1_000), (2, 3_000)):
            opened(tmp_path, number)
            used_at(tmp_path, number, second)
        (tmp_path / "notes.pixels").write_bytes(bytes(10 * ONE))
        (tmp_path / "more").mkdir()
        return tmp_path

    @pytest.mark.parametrize(
        ("files", "left"),
        [(4, {0, 1, 2, 3}), (3.99, {0, 2, 3}), (3, {0, 2, 3}), (2, {2, 3}), (1.5, {3}), (0.1, {3})],
    )
    def test_the_least_recently_used_of_others_go(self, folder, files, left):
        opened(folder, 3, most=files * ONE)
        kept = {path for path in folder.glob("*.pixels") if path.name != "notes.pixels"}
        assert {int(path.stem, 16) for path in kept} == left

    def test_opening_is_a_use(self, folder):
        opened(folder, 1)
        opened(folder, 3, most=2 * ONE)
        assert pack_path(folder, key_of(1)).exists()
        assert not pack_path(folder, key_of(2)).exists()

    def test_what_is_there_counts_too(self, folder):
        opened(folder, 2, most=2 * ONE)
        assert not pack_path(folder, key_of(1)).exists()
        assert pack_path(folder, key_of(0)).exists()

    def test_what_it_did_not_make_stays(self, folder):
        opened(folder, 3, most=1)
        assert (folder / "notes.pixels").stat().st_size == 10 * ONE
        assert (folder / "more").is_dir()

    def test_who_reads_a_removed_file_goes_on(self, folder):
        pack = opened(folder, 1)
        pack.write(3, SOURCE, PIXELS)
        used_at(folder, 1, 500)
        opened(folder, 3, most=3 * ONE)
        assert not pack.path.exists()
        pack.write(2, SOURCE, PIXELS)
        out = np.zeros((2, SIZE, SIZE, 3), np.uint8)
        pack.copy(np.array([3, 2]), out)
        assert np.array_equal(out, np.stack([PIXELS, PIXELS]))


OPENER = """
import sys
from pathlib import Path
from msedge.data.pixel_folder import open_pack
sys.stdin.readline()
for number in range(40):
    pack = open_pack(Path(sys.argv[1]), f"{number % 3:032x}", 4, 8, most_bytes=float(sys.argv[2]))
    assert pack.rows == 4
"""
MAKER = """
import os, sys, time
from pathlib import Path
from msedge.data.pixel_folder import open_pack

def forever(*_):
    print("begun", flush=True)
    time.sleep(600)

os.posix_fallocate = forever
open_pack(Path(sys.argv[1]), "0" * 32, 4, 8, most_bytes=1e9)
"""


class TestSeveralAtOnce:
    @pytest.mark.parametrize("files", [3, 1])
    def test_processes_that_open_and_remove_all_the_time(self, tmp_path, files):
        command = [sys.executable, "-c", OPENER, str(tmp_path), str(files * ONE)]
        openers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        with ThreadPoolExecutor(3) as pool:
            said = list(pool.map(lambda opener: opener.communicate("\n")[1], openers))
        assert said == ["", "", ""]
        assert [opener.returncode for opener in openers] == [0, 0, 0]
        assert len(numbers(tmp_path)) == files
        assert {path.suffix for path in tmp_path.iterdir() if path.name != ".lock"} == {".pixels"}
        assert not list(tmp_path.glob(".*.pixels"))

    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the maker waits in it")
    def test_what_a_killed_maker_left_is_removed_by_the_next(self, tmp_path):
        command = [sys.executable, "-c", MAKER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as maker:
            assert maker.stdout.readline() == "begun\n"
            assert len(list(tmp_path.glob(".*.pixels"))) == 1
            maker.kill()
        assert len(list(tmp_path.glob(".*.pixels"))) == 1
        opened(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {f"{key_of(0)}.pixels", ".lock"}

    def test_where_folders_cannot_be_locked_nor_files_linked(self, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

        monkeypatch.setattr(pixel_folder.os, "link", refuse)
        if sys.platform != "win32":
            monkeypatch.setattr(pixel_folder.fcntl, "flock", refuse)
        opened(tmp_path).write(0, SOURCE, PIXELS)
        assert opened(tmp_path).verified(0, np.zeros_like(PIXELS)) is not None
        assert not list(tmp_path.glob(".*.pixels"))

    def test_another_that_was_faster_is_used(self, tmp_path, monkeypatch):
        """As where the folder cannot be locked: the file appears while this one is being made."""
        link = os.link
        faster: list[PixelPack] = []

        def late(begun, path):
            if not faster:
                faster.append(None)
                link(begun, path)
                faster[0] = PixelPack(path, {"key": key_of(0)}, ROWS, SIZE)
                faster[0].write(1, SOURCE, PIXELS)
            link(begun, path)

        monkeypatch.setattr(pixel_folder.os, "link", late)
        assert opened(tmp_path).verified(1, np.zeros_like(PIXELS)) is not None
