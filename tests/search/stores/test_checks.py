"""Checks of galleries and what lies beside them, and the mending of what they find.

What only a dataset of Lance can lack is in ``test_lance_upkeep.py``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from made_photos import held, ids, make, names, photo, photos
from msedge.errors import DataError
from msedge.locks import sole_indexer
from msedge.search.stores import check_gallery, open_store
from msedge.search.stores.reports import StoppedError
from msedge.search.thumbnails import ThumbnailCache

TESTS = Path(__file__).parent.parent.parent


@pytest.fixture
def file(tmp_path):
    """A gallery of SQLite."""
    return make(tmp_path / "photos.msedge", photos(100))


def change(path, statement, *values):
    """Change a file behind its back."""
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
        assert names(gallery.parent) == {gallery.name}

    def test_an_empty_gallery(self, path):
        assert check_gallery(make(path), photos=True) == []

    def test_while_another_process_indexes(self, file):
        file.with_name(file.name + "-new").touch()
        with sole_indexer(file):
            finding = only(check_gallery(file))
            assert (finding.name, finding.is_left) == ("busy", False)
            with pytest.raises(DataError, match="another process is indexing"):
                check_gallery(file, repair=True)
        assert only(check_gallery(file)).name == "leftovers"


class TestInput:
    @pytest.mark.parametrize("content", [None, b"", b"a diary" * 100])
    @pytest.mark.parametrize("repair", [False, True])
    def test_what_is_no_gallery_is_left_alone(self, path, content, repair):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=r"no gallery|not a gallery"):
            check_gallery(path, repair=repair)
        assert names(path.parent) == (set() if content is None else {path.name})

    def test_a_gallery_of_a_later_release(self, file):
        change(file, "PRAGMA user_version = 99")
        with pytest.raises(DataError, match="schema 99"):
            check_gallery(file, repair=True)

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
    def test_vectors_that_no_search_can_use(self, file, vector):
        wanted = [row for row in held(file) if row[0] not in (3, 50)]
        change(file, "UPDATE photos SET vector = ? WHERE id IN (3, 50)", vector)
        finding = checked_and_mended(file, "vectors")
        assert (finding.count, "/photos/2/2.jpg" in finding.what) == (2, True)
        assert held(file) == wanted

    @pytest.mark.parametrize("path", [b"a.jpg", b"", "/text.jpg", b"../b.jpg", b"/a\0b"])
    def test_paths_that_are_not_absolute(self, file, path):
        change(file, "UPDATE photos SET path = ? WHERE id = 7", path)
        assert checked_and_mended(file, "paths").count == 1
        assert 7 not in ids(file)

    def test_paths_in_an_object_store_are_sound(self, file):
        change(file, "UPDATE photos SET path = ? WHERE id = 7", b"s3:/bucket/a.jpg")
        assert check_gallery(file) == []

    @pytest.mark.parametrize(
        "assignment",
        ["size = -1", "size = 'x'", "width = 0", "content_hash = x'ff'", "taken = 'never'",
         "content_hash = CAST(x'c328' AS TEXT)"],
    )  # fmt: skip
    def test_facts_that_cannot_be(self, file, assignment):
        change(file, f"UPDATE photos SET {assignment} WHERE id = 9")
        assert checked_and_mended(file, "fields").count == 1

    def test_what_is_removed_counts_as_a_change(self, file):
        with open_store(file) as store:
            before = store.view()
            change(file, "UPDATE photos SET vector = x'' WHERE id = 3")
            check_gallery(file, repair=True)
            assert store.view(before).vector(3) is None


class TestTables:
    def test_a_missing_trigger_is_made_and_nobody_trusts_what_they_remember(self, file):
        def identity():
            with closing(sqlite3.connect(file)) as connection:
                return connection.execute(
                    "SELECT value FROM meta WHERE key = 'identity'"
                ).fetchone()

        before = identity()
        for statement in ("DROP TRIGGER photos_removed", "DROP INDEX photos_by_version"):
            change(file, statement)
        assert checked_and_mended(file, "sql-parts").count == 2
        assert identity() not in (before, None)
        with open_store(file, writable=True) as store:
            view = store.view()
            store.change(remove=[1])
            assert store.view(view).vector(1) is None

    def test_a_missing_index_is_made(self, file):
        change(file, "DROP INDEX photos_by_content")
        checked_and_mended(file, "sql-parts")

    def test_a_missing_column(self, file):
        change(file, "ALTER TABLE photos DROP COLUMN width")
        finding = only(check_gallery(file, repair=True))
        assert (finding.name, finding.what, finding.is_left) == ("schema", "no column width", True)

    @pytest.mark.parametrize(
        "change_meta",
        ["DELETE FROM meta WHERE key = 'dim'", "UPDATE meta SET value = 0 WHERE key = 'dim'",
         "UPDATE meta SET value = 'x' WHERE key = 'dim'"],
    )  # fmt: skip
    def test_a_record_that_does_not_say_what_made_it(self, file, change_meta):
        change(file, change_meta)
        finding = only(check_gallery(file, repair=True))
        assert (finding.name, finding.is_left, finding.can_mend) == ("meta", True, False)


class TestBeside:
    @pytest.mark.parametrize("ending", ["-new", "-rebuild", "-salvaging"])
    def test_half_galleries_of_killed_processes_go(self, file, ending):
        for end in ("", "-wal", "-shm"):
            file.with_name(file.name + ending + end).write_bytes(b"half")
        finding = checked_and_mended(file, "leftovers")
        assert (finding.count, "--rebuild" in finding.advice) == (3, ending == "-rebuild")
        assert names(file.parent) == {file.name}

    def test_the_lock_of_a_killed_process_is_none(self, file):
        file.with_name(file.name + "-lock").touch()
        assert check_gallery(file) == []
        assert check_gallery(file, repair=True) == []
        assert names(file.parent) == {file.name}

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
    def test_what_a_killed_writer_committed_is_kept(self, file):
        writer = (
            "import sys, os; sys.path.insert(0, sys.argv[2])\n"
            "from pathlib import Path\n"
            "from made_photos import photo\n"
            "from msedge.search.stores import open_store\n"
            "store = open_store(Path(sys.argv[1]), writable=True)\n"
            "reader = store.blocks(10); next(reader)  # keeps the log from being moved\n"
            "store.change(put=[photo(n) for n in range(500, 600)])\n"
            f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        )
        subprocess.run([sys.executable, "-c", writer, file, TESTS], check=False)
        assert file.with_name(file.name + "-wal").stat().st_size
        before = contents(file.parent)
        assert "log" in {each.name for each in check_gallery(file, photos=True)}
        assert contents(file.parent) == before
        checked_and_mended(file, "log")
        assert len(held(file)) == 200
        assert names(file.parent) == {file.name}

    def test_a_damaged_cache_of_thumbnails_goes(self, file):
        cache = ThumbnailCache.beside(file)
        for number in range(50):
            cache.put(f"{number}", 320, b"x" * 3000)
        cache.close()
        assert check_gallery(file) == []
        with file.with_name(file.name + ".thumbnails").open("r+b") as stream:
            stream.seek(4096)
            stream.write(os.urandom(9000))
        checked_and_mended(file, "thumbnails")
        assert names(file.parent) == {file.name}

    def test_several_things_at_once(self, file):
        change(file, "UPDATE photos SET vector = x'' WHERE id = 3")
        change(file, "DROP INDEX photos_by_content")
        file.with_name(file.name + "-new").touch()
        found = check_gallery(file)
        assert {each.name for each in found} == {"vectors", "sql-parts", "leftovers"}
        assert not any(each.is_left for each in check_gallery(file, repair=True))
        assert check_gallery(file) == []


class TestPhotos:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number in range(6):
            (folder / f"{number}.jpg").write_bytes(b"x" * (10 + number))
        return folder

    @pytest.fixture
    def gallery(self, path, folder):
        status = {each: each.stat() for each in sorted(folder.iterdir())}
        return make(path, [photo(n, each, size=said.st_size, mtime_ns=said.st_mtime_ns)
                           for n, (each, said) in enumerate(status.items())])  # fmt: skip

    def test_files_are_where_they_were(self, gallery):
        assert check_gallery(gallery, photos=True) == []

    def test_missing_and_changed_files(self, gallery, folder):
        (folder / "1.jpg").unlink()
        (folder / "2.jpg").write_bytes(b"longer than before, much longer")
        os.utime(folder / "3.jpg", (1, 1))
        assert check_gallery(gallery) == []
        before = held(gallery)
        found = {each.name: each for each in check_gallery(gallery, photos=True, repair=True)}
        assert {name: each.count for name, each in found.items()} == {"missing": 1, "changed": 2}
        assert "1.jpg" in found["missing"].what
        assert all(each.is_left and not each.can_mend for each in found.values())
        assert held(gallery) == before

    def test_photos_elsewhere_are_counted(self, gallery, folder):
        (folder / "shard.tar").touch()
        with open_store(gallery, writable=True) as store:
            elsewhere = [photo(90, "s3://bucket/a.jpg"), photo(91, folder / "shard.tar" / "b.jpg")]
            store.change(put=elsewhere)
        finding = only(check_gallery(gallery, photos=True))
        assert (finding.name, finding.count, finding.is_left) == ("elsewhere", 2, False)
