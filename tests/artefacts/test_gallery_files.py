"""Galleries from strangers: SQLite files that lie, compute what they show, or are damaged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostile_artefacts import (
    TRIED,
    Case,
    cut_short,
    held_to_it,
    of_others,
    refusal,
    turned,
    wiped,
)
from made_photos import MODEL, make, photos, unit
from msedge.search.filters import Filters
from msedge.search.stores import check_gallery, open_store
from msedge.search.stores.reports import Watched
from msedge.search.stores.sqlite.file import SCHEMA_VERSION

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
COLUMNS = [
    "id",
    "path",
    "size",
    "mtime_ns",
    "content_hash",
    "width",
    "height",
    "taken",
    "vector",
    "version",
]
OF_SQLITE = ("-wal", "-shm", "-journal", "-lock")
Statement = str | tuple[str, tuple[Any, ...]]

VALUES: dict[str, Statement] = {
    "a vector that is a number": "UPDATE photos SET vector = 5 WHERE id = 3",
    "a vector that is a text": "UPDATE photos SET vector = 'abc' WHERE id = 3",
    "a vector cut short": "UPDATE photos SET vector = x'0011' WHERE id = 3",
    "a vector too long": "UPDATE photos SET vector = zeroblob(4000) WHERE id = 3",
    "a vector of 100 MB": "UPDATE photos SET vector = zeroblob(100000000) WHERE id = 3",
    "a vector of NaN": ("UPDATE photos SET vector = ? WHERE id = 3", (b"\x00\x7e" * 8,)),
    "a vector of infinity": ("UPDATE photos SET vector = ? WHERE id = 3", (b"\x00\x7c" * 8,)),
    "a path that is a text": "UPDATE photos SET path = '/a' WHERE id = 3",
    "a path that is a number": "UPDATE photos SET path = 7 WHERE id = 3",
    "a path with NUL": "UPDATE photos SET path = x'2f610062' WHERE id = 3",
    "a path from elsewhere": ("UPDATE photos SET path = ? WHERE id = 3", (b"../../etc/passwd",)),
    "no path": "UPDATE photos SET path = x'' WHERE id = 3",
    "a size that is a text": "UPDATE photos SET size = 'big' WHERE id = 3",
    "a size of 10^300": "UPDATE photos SET size = 1e300 WHERE id = 3",
    "a width of 0": "UPDATE photos SET width = 0 WHERE id = 3",
    "a width of -5": "UPDATE photos SET width = -5 WHERE id = 3",
    "a date that is a text": "UPDATE photos SET taken = 'then' WHERE id = 3",
    "a date of infinity": "UPDATE photos SET taken = 9e999 WHERE id = 3",
    "a hash that is none": "UPDATE photos SET content_hash = x'fffe' WHERE id = 3",
    "a hash that is not UTF-8": "UPDATE photos SET content_hash = CAST(x'fffe' AS TEXT)",
    "a width of 10^12": "UPDATE meta SET value = 1000000000000 WHERE key = 'dim'",
    "vectors of 65,536": "UPDATE meta SET value = 65536 WHERE key = 'dim'",
    "vectors of -8": "UPDATE meta SET value = -8 WHERE key = 'dim'",
    "vectors of 0": "UPDATE meta SET value = 0 WHERE key = 'dim'",
    "vectors of infinity": "UPDATE meta SET value = 9e999 WHERE key = 'dim'",
    "vectors of bytes": "UPDATE meta SET value = x'ff' WHERE key = 'dim'",
    "vectors of a text": "UPDATE meta SET value = 'eight' WHERE key = 'dim'",
    "no model": "DELETE FROM meta WHERE key = 'model'",
    "no fingerprint": "DELETE FROM meta WHERE key = 'fingerprint'",
    "a version of infinity": "UPDATE meta SET value = 9e999 WHERE key = 'version'",
    "no photos": "DROP TABLE photos",
    "a newer schema": f"PRAGMA user_version = {SCHEMA_VERSION + 1}",
    "another program's": "PRAGMA application_id = 7",
}
"""What no gallery says; none of it is taken."""

OBJECTS: dict[str, list[str]] = {
    "photos without end": [
        "DROP TABLE photos",
        f"CREATE VIEW photos AS {ENDLESS} SELECT {', '.join('x AS ' + c for c in COLUMNS)} FROM c",
    ],
    "a record without end": [
        "DROP TABLE meta",
        f"CREATE VIEW meta AS {ENDLESS} SELECT x AS key, x AS value FROM c WHERE x < 0",
    ],
    "a view besides": [f"CREATE VIEW stranger AS {ENDLESS} SELECT x FROM c"],
    "a trigger that removes": [
        "CREATE TRIGGER stranger AFTER UPDATE ON meta BEGIN DELETE FROM photos; END"
    ],
    "a trigger of our name": [
        "DROP TRIGGER photos_removed",
        "CREATE TRIGGER photos_removed AFTER DELETE ON photos BEGIN DELETE FROM meta; END",
    ],
    "a column that is computed": ["ALTER TABLE photos ADD COLUMN g AS (length(path))"],
    "a column with a condition": ["CREATE TABLE seq (id INTEGER CHECK (abs(id) > 1))"],
    "a table besides": ["CREATE TABLE stranger (a)"],
    "an index of expressions": ["CREATE INDEX stranger ON photos (abs(size))"],
    "a virtual table": ["CREATE VIRTUAL TABLE stranger USING fts5(a)"],
    "a virtual table of rectangles": ["CREATE VIRTUAL TABLE stranger USING rtree(a, b, c)"],
}
"""What SQLite would run, and no gallery holds."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A gallery of 30 photos."""
    return make(tmp_path_factory.mktemp("whole") / "g.msedge", photos(30)).read_bytes()


@pytest.fixture
def gallery(hostile_file: Path) -> Path:
    return hostile_file.with_suffix(".msedge")


def statistics(path: Path) -> None:
    with open_store(path) as store:
        store.statistics(Watched())


def use(path: Path) -> None:
    """All that a search, an index and a server read of a gallery."""
    with open_store(path) as store:
        view = store.view()
        query = unit(1).astype(np.float32)
        hits = view.search(query, 5, without=(1,))
        view.photos([hit.id for hit in hits])
        view.search(query, 5, filters=Filters(Path("/photos/1"), None, None, None))
        store.photos()
        store.folders()
        store.places()
        list(store.blocks(7))


def change(path: Path) -> None:
    """What an index does."""
    with open_store(path, writable=True) as store:
        store.change(remove=[1])


def check(path: Path) -> None:
    json.dumps([finding.as_dict() for finding in check_gallery(path)])


def alone(read: Callable[[Path], object]) -> Callable[[Path], None]:
    """A reader after which nothing lies beside the file, as before."""

    def reading(path: Path) -> None:
        try:
            read(path)
        finally:
            for ending in OF_SQLITE:
                path.with_name(path.name + ending).unlink(missing_ok=True)

    return reading


def altered(path: Path, whole: bytes, *statements: Statement) -> None:
    path.write_bytes(whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            words, values = (statement, ()) if isinstance(statement, str) else statement
            connection.execute(words, values)


def loosely(cases: Iterator[Case]) -> Iterator[Case]:
    """A part of a gallery may be all that matters of it: SQLite's last pages are often empty."""
    for case in cases:
        yield Case(case.kind, case.name, case.content, must_fail=False)


class TestDamage:
    @pytest.mark.parametrize("read", [use, statistics, check], ids=["use", "stats", "check"])
    def test_a_file_from_anywhere_is_read_or_refused_in_one_line(self, whole, gallery, mark, read):
        cases = chain(
            loosely(chain(cut_short(whole), wiped(whole))), turned(whole, header=120),
            loosely(of_others(mark)),
        )  # fmt: skip
        counts = held_to_it(f"gallery: {read.__name__}", cases, alone(read), gallery, mark)
        assert sum(counts.values()) >= 60

    def test_files_of_others_are_never_taken_for_galleries(self, gallery, mark):
        assert held_to_it("gallery: use", of_others(mark), alone(use), gallery, mark)


class TestLies:
    @pytest.mark.parametrize("name", VALUES)
    def test_values_that_cannot_be_are_refused(self, whole, gallery, name):
        altered(gallery, whole, VALUES[name])
        content = gallery.read_bytes()
        assert refusal(use, gallery)
        refusal(statistics, gallery, must_fail=False)
        refusal(check, gallery, must_fail=False)
        assert gallery.read_bytes() == content
        TRIED["gallery: values that cannot be", "crafted"] += 1

    @pytest.mark.parametrize("name", OBJECTS)
    def test_what_would_be_run_is_not_opened(self, whole, gallery, name):
        altered(gallery, whole, *OBJECTS[name])
        content = gallery.read_bytes()
        for read in (use, statistics, check, change):
            assert "msedge does not make" in (refusal(read, gallery) or "")
        assert gallery.read_bytes() == content
        TRIED["gallery: what SQLite would run", "crafted"] += 1

    def test_rows_that_cannot_be_are_mended_as_the_message_says(self, whole, gallery):
        """But for what concerns the whole gallery, and what SQLite itself does not read."""
        for name, statement in VALUES.items():
            if "WHERE id = 3" not in str(statement) or name == "a vector of 100 MB":
                continue
            altered(gallery, whole, statement)
            check_gallery(gallery, repair=True)
            with open_store(gallery) as store:
                assert store.count() == 29, name
            use(gallery)

    def test_names_with_escapes_are_told_without(self, whole, gallery):
        altered(gallery, whole, "UPDATE meta SET value = char(10, 27) || '[2J' WHERE key = 'model'")
        with open_store(gallery) as store:
            other = type("Encoder", (), {"name": "x", "fingerprint": "y", "dim": MODEL.dim})
            assert refusal(lambda _: store.check_model(other), gallery)  # type: ignore[arg-type]


class TestAWhole:
    def test_gallery_that_was_analysed_is_opened(self, whole, gallery):
        altered(gallery, whole, "ANALYZE")
        use(gallery)
        change(gallery)

    def test_gallery_without_its_index_or_trigger_is_opened_and_told_of(self, whole, gallery):
        altered(gallery, whole, "DROP TRIGGER photos_removed", "DROP INDEX photos_by_content")
        use(gallery)
        assert [finding.name for finding in check_gallery(gallery)] == ["sql-parts"]

    def test_gallery_of_an_older_release_is_read_and_brought_up_to_date(self, whole, gallery):
        altered(
            gallery,
            whole,
            "DROP TRIGGER photos_removed",
            "DROP INDEX photos_by_version",
            "ALTER TABLE photos DROP COLUMN version",
            "ALTER TABLE photos DROP COLUMN hubness",
            "DROP TABLE removed",
            "DELETE FROM meta WHERE key = 'identity'",
            "PRAGMA user_version = 1",
        )
        use(gallery)
        change(gallery)
        with open_store(gallery) as store:
            assert store.count() == 29
        with closing(sqlite3.connect(gallery)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
            assert connection.execute("SELECT 1 FROM meta WHERE key = 'identity'").fetchone()

    def test_newer_gallery_says_how_to_go_on(self, whole, gallery):
        altered(gallery, whole, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        assert "update msedge" in (refusal(use, gallery) or "")


class TestTheLogBesideIt:
    """SQLite's log says of no file that it belongs to it: a copy takes both, or neither."""

    def test_of_another_gallery_is_read_or_refused_in_one_line(self, whole, gallery, tmp_path):
        other = make(tmp_path / "other.msedge", photos(3))
        with closing(sqlite3.connect(other, isolation_level=None)) as connection:
            connection.execute("UPDATE photos SET size = size + 1")
            log = other.with_name(other.name + "-wal").read_bytes()
        gallery.write_bytes(whole)
        gallery.with_name(gallery.name + "-wal").write_bytes(log)
        refusal(check, gallery, must_fail=False)
        refusal(use, gallery, must_fail=False)

    @pytest.mark.parametrize("ending", ["-wal", "-journal", "-shm"])
    def test_of_noise_does_no_harm(self, whole, gallery, ending):
        gallery.write_bytes(whole)
        noise = np.random.default_rng(3).bytes(40_000)
        gallery.with_name(gallery.name + ending).write_bytes(noise)
        use(gallery)
        with open_store(gallery) as store:
            assert store.count() == 30
