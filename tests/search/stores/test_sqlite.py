"""What only a gallery in a file of SQLite has: schemas, a log, permissions, strangers' objects."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from made_photos import MODEL, held, ids, make, names, photo, photos
from msedge.errors import ConfigError, DataError
from msedge.search.photo import COLUMNS
from msedge.search.stores import check_gallery, open_store
from msedge.search.stores.sqlite.connections import put_in_place
from msedge.search.stores.sqlite.file import SCHEMA_VERSION
from msedge.search.stores.sqlite.store import SqliteStore

TESTS = Path(__file__).parent.parent.parent
NOBODY = 65534
FIRST_SCHEMA = """
DROP TRIGGER photos_removed;
DROP INDEX photos_by_version;
ALTER TABLE photos DROP COLUMN version;
DROP TABLE removed;
DELETE FROM meta WHERE key = 'identity';
PRAGMA user_version = 1;
""" + "".join(
    f"ALTER TABLE photos DROP COLUMN {column.name};\n" for column in COLUMNS if column.added
)


@pytest.fixture
def gallery(tmp_path):
    return make(tmp_path / "photos.msedge", photos(100))


def change(path, script):
    """Change a gallery behind its back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)


def asked(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def refusal(path, **options):
    """The line that reading everything ends in; neither the file nor its folder changes."""
    content = path.read_bytes() if path.is_file() else None
    there = names(path.parent)

    def read():
        with open_store(path, **options) as store:
            store.view()
            list(store.blocks())

    with pytest.raises(DataError) as caught:
        read()
    assert (path.read_bytes() if content is not None else None) == content
    assert names(path.parent) == there
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


class TestTheFile:
    def test_says_what_it_is_in_its_header(self, gallery):
        """Where the file format of SQLite puts the two: bytes 68 and 60, big-endian."""
        content = gallery.read_bytes()
        assert content[68:72] == b"MSEG"
        assert int.from_bytes(content[60:64]) == SCHEMA_VERSION
        assert int.from_bytes(content[16:18]) == 8192
        assert asked(gallery, "PRAGMA journal_mode") == [("wal",)]

    @pytest.mark.skipif(SCHEMA_VERSION != 2, reason="the tables have grown since")
    def test_has_the_tables_that_earlier_releases_know(self, gallery):
        tables = dict(asked(gallery, "SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL"))
        assert " ".join(tables.pop("photos").split()) == (
            "CREATE TABLE photos ( id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL UNIQUE,"
            " size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content_hash TEXT NOT NULL, width"
            " INTEGER NOT NULL, height INTEGER NOT NULL, taken REAL NOT NULL, vector BLOB NOT NULL"
            " , version INTEGER NOT NULL DEFAULT 0)"
        )
        tables.pop("sqlite_sequence")
        assert {name: " ".join(sql.split()) for name, sql in tables.items()} == {
            "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
            "photos_by_content": "CREATE INDEX photos_by_content ON photos (content_hash)",
            "photos_by_version": "CREATE INDEX photos_by_version ON photos (version)",
            "removed": "CREATE TABLE removed (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)",
            "removed_by_version": "CREATE INDEX removed_by_version ON removed (version)",
            "photos_removed": (
                "CREATE TRIGGER photos_removed AFTER DELETE ON photos BEGIN INSERT OR REPLACE INTO "
                "removed VALUES (old.id, (SELECT value + 1 FROM meta WHERE key = 'version')); END"
            ),
        }
        known = {"model", "fingerprint", "dim", "version", "identity", "states"}
        assert {row[0] for row in asked(gallery, "SELECT key FROM meta")} == known

    def test_vectors_lie_in_it_as_little_endian_halves(self, gallery):
        ((stored,),) = asked(gallery, "SELECT vector FROM photos WHERE id = 8")
        np.testing.assert_array_equal(np.frombuffer(stored, "<f2"), photo(7).vector)

    def test_content_is_found_by_an_index(self, gallery):
        query = "EXPLAIN QUERY PLAN SELECT id FROM photos WHERE content_hash = 'a'"
        assert "photos_by_content" in asked(gallery, query)[0][-1]

    def test_nothing_lies_beside_it_when_it_is_closed(self, gallery):
        assert names(gallery.parent) == {gallery.name}
        assert len(ids(gallery)) == 100
        assert names(gallery.parent) == {gallery.name}

    def test_what_a_kill_left_of_an_earlier_try_goes(self, tmp_path):
        for ending in ("-new", "-new-wal", "-new-shm"):
            (tmp_path / f"g.msedge{ending}").write_bytes(b"half of it")
        assert ids(make(tmp_path / "g.msedge")) == []
        assert names(tmp_path) == {"g.msedge"}

    def test_odd_names(self, tmp_path):
        path = make(tmp_path / os.fsdecode(b"100%?#\xff.msedge"), photos(1))
        assert ids(path) == [1]

    def test_is_in_no_object_store(self):
        with pytest.raises(ConfigError, match=r"ends in \.lance"):
            open_store(Path("s3://bucket/g.msedge"))

    def test_version_rises_by_one_and_identities_differ(self, gallery, tmp_path):
        identities = {
            asked(path, "SELECT value FROM meta WHERE key = 'identity'")[0]
            for path in (gallery, make(tmp_path / "b.msedge"))
        }
        assert len(identities) == 2
        with open_store(gallery, writable=True) as store:
            before = store.version()
            store.change(put=[photo(300)], remove=[1, 2])
            store.write_note("a", "b")
            store.reserve_ids(3)
            assert store.version() == before + 1


class TestFilesOfTheFirstRelease:
    @pytest.fixture
    def first(self, gallery):
        change(gallery, FIRST_SCHEMA)
        return gallery

    def test_are_read_as_they_are(self, first):
        content = first.read_bytes()
        with open_store(first) as store:
            view = store.view()
            assert (store.count(), view.version, store.view(view)) == (100, store.version(), view)
        assert check_gallery(first) == []
        assert first.read_bytes() == content

    def test_are_brought_up_to_date_by_who_writes(self, first):
        before = held(first)
        with open_store(first) as reader, open_store(first, writable=True) as store:
            last = reader.view()
            assert held(first) == before
            store.change(remove=[2], put=[photo(300, photo(0).path)])
            now = reader.view(last)
            assert now.vector(2) is None
            np.testing.assert_allclose(now.vector(1), photo(300).vector, atol=1e-3)
        assert asked(first, "SELECT id FROM removed") == [(2,)]
        assert asked(first, "SELECT id FROM photos WHERE version > 0") == [(1,)]
        assert check_gallery(first) == []

    def test_by_several_processes_at_once(self, first):
        program = (
            "import sys; from pathlib import Path; sys.stdin.read(1);"
            "from msedge.search.stores import open_store;"
            "open_store(Path(sys.argv[1]), writable=True).close()"
        )
        both = [subprocess.Popen([sys.executable, "-c", program, first], stdin=subprocess.PIPE)
                for _ in range(2)]  # fmt: skip
        for process in both:
            process.stdin.close()
        assert [process.wait(60) for process in both] == [0, 0]
        assert asked(first, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


class TestWhatIsNoGallery:
    def test_a_folder(self, tmp_path):
        (tmp_path / "g.msedge").mkdir()
        assert "is not a gallery" in refusal(tmp_path / "g.msedge")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff" + bytes(9000)])
    def test_another_file(self, tmp_path, content):
        path = tmp_path / "g.msedge"
        path.write_bytes(content)
        for writable in (False, True):
            assert "is not a gallery" in refusal(path, writable=writable)

    def test_another_programs_database_even_with_a_log_beside_it(self, tmp_path):
        path = tmp_path / "g.msedge"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE diary (day)")
            assert "is not a gallery" in refusal(path, writable=True)
        assert "is not a gallery" in refusal(path, writable=True)

    def test_a_newer_schema(self, gallery):
        change(gallery, "PRAGMA user_version = 99")
        assert re.search(
            r"schema 99, and this release knows \d: update msedge", refusal(gallery, writable=True)
        )

    @pytest.mark.parametrize(
        "statement",
        ["DELETE FROM meta WHERE key = 'dim'", "UPDATE meta SET value = 70000 WHERE key = 'dim'",
         "UPDATE meta SET value = 9e999 WHERE key = 'version'", "DROP TABLE photos"],
    )  # fmt: skip
    def test_a_gallery_that_does_not_say_what_it_has_to(self, gallery, statement):
        change(gallery, statement)
        assert "is damaged" in refusal(gallery)

    @pytest.mark.parametrize(
        "statements",
        ["CREATE VIEW stranger AS SELECT 1", "CREATE TABLE stranger (a)",
         "CREATE TRIGGER stranger AFTER UPDATE ON meta BEGIN DELETE FROM photos; END",
         "DROP INDEX photos_by_content; CREATE INDEX photos_by_content ON photos (abs(size))",
         "ALTER TABLE photos ADD COLUMN g AS (length(path))"],
    )  # fmt: skip
    def test_what_a_stranger_put_into_it_is_not_run(self, gallery, statements):
        change(gallery, statements)
        for writable in (False, True):
            assert "which msedge does not make" in refusal(gallery, writable=writable)
        with pytest.raises(DataError, match="msedge does not make"):
            check_gallery(gallery)


class TestDamage:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_file_cut_short(self, gallery, share):
        content = gallery.read_bytes()
        gallery.write_bytes(content[: int(len(content) * share)])
        assert "index again" in refusal(gallery)

    def test_bytes_overwritten(self, gallery):
        content = gallery.read_bytes()
        gallery.write_bytes(content[:8192] + b"\xaa" * (len(content) - 8192))
        assert "is damaged" in refusal(gallery)

    @pytest.mark.parametrize(
        ("vector", "said"),
        [("x'0011'", "cut short"), ("7", "something else"),
         ("x'007e007e007e007e007e007e007e007e'", "photo 7 holds NaN or infinity: mend the")],
    )  # fmt: skip
    def test_a_vector_that_is_none(self, gallery, vector, said):
        change(gallery, f"UPDATE photos SET vector = {vector} WHERE id = 7")
        assert said in refusal(gallery)

    def test_vectors_wider_than_the_file_are_not_made_room_for(self, gallery):
        change(gallery, "UPDATE meta SET value = 65536 WHERE key = 'dim'")
        assert "cut short" in refusal(gallery)


@pytest.fixture
def open_folder():
    """A folder that others may look into, unlike those of tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="gallery-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def read_as_another(path):
    """What someone sees who may read the gallery and write nothing."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from msedge.search.stores import open_store\n"
        "import msedge.search.stores.sqlite.store\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "with open_store(Path(sys.argv[1])) as store:\n"
        "    print(store.count(), store.version(), len(store.view().vectors.ids))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs a user who may write nothing"
)
class TestReadingWithoutWriting:
    def test_a_closed_gallery(self, open_folder):
        path = make(open_folder / "g.msedge", photos(1))
        done = read_as_another(path)
        assert (done.stdout, done.stderr) == ("1 1 1\n", "")
        assert names(open_folder) == {path.name}

    def test_a_gallery_that_is_being_written(self, open_folder):
        path = make(open_folder / "g.msedge", photos(1))
        with open_store(path, writable=True) as store:
            assert read_as_another(path).stdout == "1 1 1\n"
            store.change(put=[photo(9)])
            assert read_as_another(path).stdout == "2 2 2\n"

    def test_changes_beside_the_file_that_cannot_be_read_are_not_passed_over(self, open_folder):
        path, copy = open_folder / "g.msedge", open_folder / "copy"
        copy.mkdir(mode=0o755)
        with open_store(make(path), writable=True) as store:
            store.change(put=[photo(1)])
            for ending in ("", "-wal"):
                shutil.copy(f"{path}{ending}", copy)
        done = read_as_another(copy / "g.msedge")
        assert done.stdout == "1 1 1\n" or "was not closed" in done.stderr


class TestTheLog:
    def test_of_a_killed_writer_is_part_of_the_gallery(self, gallery, tmp_path):
        (tmp_path / "left").mkdir()
        with open_store(gallery, writable=True) as store:
            store.change(put=[photo(300)])
            for ending in ("", "-wal"):
                shutil.copy(f"{gallery}{ending}", tmp_path / "left")
        assert len(ids(tmp_path / "left" / gallery.name)) == 101

    def test_goes_into_the_file_before_that_is_renamed(self, gallery, tmp_path):
        (tmp_path / "left").mkdir()
        part = tmp_path / "left" / gallery.name
        with open_store(gallery, writable=True) as store:
            store.change(put=[photo(300)])
            for ending in ("", "-wal"):
                shutil.copy(f"{gallery}{ending}", part.parent)
        put_in_place(part, tmp_path / "b.msedge")
        assert len(ids(tmp_path / "b.msedge")) == 101
        assert names(part.parent) == set()

    def test_that_another_reads_keeps_a_file_from_being_renamed(
        self, gallery, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("msedge.search.stores.sqlite.file.SECONDS_TO_WAIT", 0.1)
        with open_store(gallery) as reader, open_store(gallery, writable=True) as store:
            blocks = reader.blocks(10)
            next(blocks)
            store.change(put=[photo(300)])
            with pytest.raises(DataError, match="another program"):
                put_in_place(gallery, tmp_path / "b.msedge")
            blocks.close()
        assert names(tmp_path) == {gallery.name}


class TestWhatTakesItsPlace:
    def test_is_beside_it_and_goes_on_for_the_same_model(self, gallery):
        with open_store(gallery, writable=True) as store:
            with store.successor(MODEL) as new:
                new.change(put=[photo(300)])
            with store.successor(MODEL) as new:
                assert new.count() == 1
            with store.successor(type(MODEL)("b", "b-1", 8)) as new:
                assert (new.count(), new.path.name) == (0, "photos.msedge-rebuild")

    def test_a_full_transaction_is_undone_when_it_fails(self, gallery, monkeypatch):
        """The other gallery stays then, and so does this one."""
        before = held(gallery)
        with open_store(gallery, writable=True) as store:
            with store.successor(MODEL) as new:
                new.change(put=[photo(300)])
            monkeypatch.setattr("msedge.search.stores.sqlite.store._SAID", "no such table")
            with pytest.raises(DataError):
                store.take_over(new.path)
            monkeypatch.undo()
            assert (held(gallery), new.path.exists()) == (before, True)
            store.take_over(new.path)
        assert names(gallery.parent) == {gallery.name}
        assert [row[1] for row in held(gallery)] == [b"/photos/6/300.jpg"]


def test_what_sqlite_cannot_do_is_told_in_a_line(gallery):
    with (
        closing(sqlite3.connect(gallery, isolation_level=None)) as other,
        SqliteStore.open(gallery, writable=True) as store,
    ):
        store._writer.execute("PRAGMA busy_timeout = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match="another program is writing it: try again"):
            store.change(remove=[1])


def test_what_a_killed_writer_left_in_the_log_is_put_into_the_file(tmp_path, monkeypatch):
    """By the next one that has the gallery open to write, though it changes nothing."""
    gallery, left = make(tmp_path / "g.msedge", photos(3)), tmp_path / "left.msedge"
    with open_store(gallery, writable=True) as store:
        monkeypatch.setattr(SqliteStore, "_empty_log", lambda *_: None)
        store.change(put=[photo(500)])
        for end in ("", "-wal"):  # as a kill leaves them
            shutil.copy(f"{gallery}{end}", f"{left}{end}")
        monkeypatch.undo()
    assert [each.name for each in check_gallery(left)] == ["log"]
    with open_store(left, writable=True):
        pass
    assert check_gallery(left) == []
    with open_store(left) as store:
        assert store.count() == 4
