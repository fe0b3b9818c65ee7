"""Checks of a gallery's file and what lies beside it, and the mending of what they find."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kept_galleries import beside, held, make, photo, photos
from msedge.errors import DataError
from msedge.search.gallery_file import GalleryFile
from msedge.search.index_lock import sole_indexer
from msedge.search.thumbnail_cache import ThumbnailCache
from msedge.search.upkeep.checking import check_gallery
from msedge.search.upkeep.watching import StoppedError

TESTS = Path(__file__).parent.parent.parent


@pytest.fixture
def gallery(tmp_path):
    return make(tmp_path / "photos.msedge", photos(100))


def change(path, statement, *values):
    """Change a gallery behind its back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def contents(folder):
    """What every file says, but for what SQLite's readers share while they read."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


def only(findings):
    (finding,) = findings
    return finding


def checked_and_mended(path, name):
    """The one finding of that name; it is found, changes nothing, is mended, and stays mended."""
    before = contents(path.parent)
    finding = only(check_gallery(path))
    assert (finding.name, finding.is_left, finding.can_mend) == (name, True, True)
    assert contents(path.parent) == before
    mended = only(check_gallery(path, repair=True))
    assert (mended.name, mended.count, mended.is_left) == (name, finding.count, False)
    assert check_gallery(path) == []
    return finding


class TestSound:
    def test_nothing_is_found_and_nothing_is_changed(self, gallery):
        before = contents(gallery.parent)
        assert check_gallery(gallery) == []
        assert check_gallery(gallery, repair=True) == []
        assert contents(gallery.parent) == before
        assert beside(gallery.parent) == {gallery.name}

    def test_an_empty_gallery(self, tmp_path):
        assert check_gallery(make(tmp_path / "a.msedge", []), photos=True) == []

    def test_while_another_process_indexes(self, gallery):
        with sole_indexer(gallery):
            finding = only(check_gallery(gallery))
            assert (finding.name, finding.is_left) == ("busy", False)
            with pytest.raises(DataError, match="another process is indexing"):
                check_gallery(gallery, repair=True)


class TestInput:
    @pytest.mark.parametrize("content", [None, b"", b"a diary" * 100])
    @pytest.mark.parametrize("repair", [False, True])
    def test_what_is_no_gallery_is_left_alone(self, tmp_path, content, repair):
        path = tmp_path / "photos.msedge"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=r"no gallery|not a gallery"):
            check_gallery(path, repair=repair)
        assert beside(tmp_path) == (set() if content is None else {path.name})

    def test_a_gallery_of_a_later_release(self, gallery):
        change(gallery, "PRAGMA user_version = 99")
        with pytest.raises(DataError, match="schema 99"):
            check_gallery(gallery, repair=True)

    def test_it_can_be_stopped(self, gallery):
        stop = threading.Event()
        stop.set()
        with pytest.raises(StoppedError):
            check_gallery(gallery, stop=stop)


class TestRows:
    @pytest.mark.parametrize(
        "vector",
        [b"", b"\0" * 16, b"\0" * 15, np.full(8, np.nan, "<f2").tobytes(),
         np.full(8, np.inf, "<f2").tobytes(), np.full(8, 0.36, "<f2").tobytes(), "text"],
        ids=["none", "zero", "short", "nan", "inf", "too long", "text"],
    )  # fmt: skip
    def test_vectors_that_no_search_can_use(self, gallery, vector):
        wanted = [row for row in held(gallery) if row[0] not in (3, 50)]
        change(gallery, "UPDATE photos SET vector = ? WHERE id IN (3, 50)", vector)
        finding = checked_and_mended(gallery, "vectors")
        assert finding.count == 2
        assert "/photos/2/2.jpg" in finding.what
        assert held(gallery) == wanted

    @pytest.mark.parametrize("path", [b"a.jpg", b"", "/text.jpg", b"../b.jpg"])
    def test_paths_that_are_not_absolute(self, gallery, path):
        change(gallery, "UPDATE photos SET path = ? WHERE id = 7", path)
        assert checked_and_mended(gallery, "paths").count == 1
        assert 7 not in [row[0] for row in held(gallery)]

    def test_paths_in_an_object_store_are_sound(self, gallery):
        change(gallery, "UPDATE photos SET path = ? WHERE id = 7", b"s3:/bucket/a.jpg")
        assert check_gallery(gallery) == []

    @pytest.mark.parametrize(
        "assignment",
        ["size = -1", "size = 'x'", "width = 0", "content_hash = x'ff'", "taken = 'never'",
         "content_hash = CAST(x'c328' AS TEXT)"],
    )  # fmt: skip
    def test_fields_that_cannot_be(self, gallery, assignment):
        change(gallery, f"UPDATE photos SET {assignment} WHERE id = 9")
        assert checked_and_mended(gallery, "fields").count == 1

    def test_what_is_removed_counts_as_a_change(self, gallery):
        with GalleryFile.open(gallery) as file:
            before = file.version()
        change(gallery, "UPDATE photos SET vector = x'' WHERE id = 3")
        check_gallery(gallery, repair=True)
        with GalleryFile.open(gallery) as file:
            assert file.version() > before
            assert file.changed(before) == 1


class TestTables:
    def test_a_missing_trigger_is_made_and_nobody_trusts_what_they_remember(self, gallery):
        with GalleryFile.open(gallery) as file:
            before = file.identity()
        change(gallery, "DROP TRIGGER photos_removed")
        change(gallery, "DROP INDEX photos_by_version")
        checked_and_mended(gallery, "sql-parts")
        with GalleryFile.open(gallery, writable=True) as file:
            assert file.identity() not in (before, None)
            version = file.version()
            file.remove([1])
            assert file.changes(version, most=9).removed.tolist() == [1]

    def test_a_missing_index_is_made(self, gallery):
        change(gallery, "DROP INDEX photos_by_content")
        checked_and_mended(gallery, "sql-parts")
        with closing(sqlite3.connect(gallery)) as connection:
            plan = connection.execute(
                "EXPLAIN QUERY PLAN SELECT * FROM photos WHERE content_hash = ''"
            ).fetchone()
        assert "photos_by_content" in plan[-1]

    @pytest.mark.parametrize(
        "change_meta",
        ["DELETE FROM meta WHERE key = 'dim'", "UPDATE meta SET value = 0 WHERE key = 'dim'",
         "UPDATE meta SET value = 'x' WHERE key = 'dim'"],
    )  # fmt: skip
    def test_a_record_that_does_not_say_what_made_it(self, gallery, change_meta):
        change(gallery, change_meta)
        finding = only(check_gallery(gallery, repair=True))
        assert (finding.name, finding.is_left, finding.can_mend) == ("meta", True, False)


class TestBeside:
    @pytest.mark.parametrize("ending", ["-new", "-rebuild", "-salvaging"])
    def test_half_galleries_of_killed_processes_go(self, gallery, ending):
        half = gallery.with_name(gallery.name + ending)
        for end in ("", "-wal", "-shm"):
            half.with_name(half.name + end).write_bytes(b"half")
        assert checked_and_mended(gallery, "leftovers").count == 3
        assert beside(gallery.parent) == {gallery.name}

    def test_the_lock_of_a_killed_process_is_none(self, gallery):
        gallery.with_name(gallery.name + "-lock").touch()
        assert check_gallery(gallery) == []
        assert check_gallery(gallery, repair=True) == []
        assert beside(gallery.parent) == {gallery.name}

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
    def test_what_a_killed_writer_committed_is_kept(self, gallery):
        writer = (
            f"import sys, os; sys.path.insert(0, {str(TESTS)!r})\n"
            "from pathlib import Path\n"
            "from kept_galleries import photo\n"
            "from msedge.search.gallery_file import GalleryFile\n"
            f"file = GalleryFile.open(Path({str(gallery)!r}), writable=True)\n"
            "file.put([photo(n) for n in range(500, 600)])\n"
            f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        )
        subprocess.run([sys.executable, "-c", writer], check=False)
        assert gallery.with_name(gallery.name + "-wal").stat().st_size
        checked_and_mended(gallery, "log")
        assert len(held(gallery)) == 200
        assert beside(gallery.parent) == {gallery.name}

    def test_a_damaged_cache_of_thumbnails_goes(self, gallery):
        cache = ThumbnailCache.beside(gallery)
        for number in range(50):
            cache.put(f"{number}", 320, b"x" * 3000)
        cache.close()
        assert check_gallery(gallery) == []
        path = gallery.with_name(gallery.name + ".thumbnails")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(9000))
        checked_and_mended(gallery, "thumbnails")
        assert beside(gallery.parent) == {gallery.name}

    def test_several_things_at_once(self, gallery):
        change(gallery, "UPDATE photos SET vector = x'' WHERE id = 3")
        change(gallery, "DROP INDEX photos_by_content")
        gallery.with_name(gallery.name + "-new").touch()
        assert {each.name for each in check_gallery(gallery)} == {
            "vectors", "sql-parts", "leftovers"
        }  # fmt: skip
        assert not any(each.is_left for each in check_gallery(gallery, repair=True))
        assert check_gallery(gallery) == []


class TestPhotos:
    @pytest.fixture
    def with_files(self, tmp_path):
        folder = tmp_path / "pictures"
        folder.mkdir()
        holding = []
        for number in range(6):
            path = folder / f"{number}.jpg"
            path.write_bytes(b"x" * (10 + number))
            status = path.stat()
            holding.append(photo(number, path, size=status.st_size, mtime_ns=status.st_mtime_ns))
        return make(tmp_path / "photos.msedge", holding), folder

    def test_files_are_where_they_were(self, with_files):
        assert check_gallery(with_files[0], photos=True) == []

    def test_missing_and_changed_files(self, with_files):
        gallery, folder = with_files
        (folder / "1.jpg").unlink()
        (folder / "2.jpg").write_bytes(b"longer than before, much longer")
        os.utime(folder / "3.jpg", (1, 1))
        assert check_gallery(gallery) == []
        before = contents(gallery.parent)
        found = {each.name: each for each in check_gallery(gallery, photos=True, repair=True)}
        assert {name: each.count for name, each in found.items()} == {"missing": 1, "changed": 2}
        assert "1.jpg" in found["missing"].what
        assert all(each.is_left and not each.can_mend for each in found.values())
        assert contents(gallery.parent) == before

    def test_photos_elsewhere_are_counted(self, with_files):
        gallery, folder = with_files
        (folder / "shard.tar").touch()
        with GalleryFile.open(gallery, writable=True) as file:
            file.put([photo(90, "s3://bucket/a.jpg"), photo(91, folder / "shard.tar" / "b.jpg")])
        finding = only(check_gallery(gallery, photos=True))
        assert (finding.name, finding.count, finding.is_left) == ("elsewhere", 2, False)


def test_nothing_beside_a_damaged_gallery_is_lost(gallery):
    shutil.copy(gallery, gallery.with_name("kept"))
    with gallery.open("r+b") as file:
        file.write(os.urandom(8192))
    check_gallery(gallery, repair=True)
    assert beside(gallery.parent) == {gallery.name, "kept", gallery.name + "-salvaged"}
