from __future__ import annotations

import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import make_gallery, new_photo, photo
from msedge.search.gallery_file import GalleryFile
from msedge.search.gallery_rows import Model
from msedge.search.gallery_schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    read_meta,
    write_model,
    write_schema,
)


def test_a_database_becomes_a_gallery(tmp_path):
    connection = sqlite3.connect(tmp_path / "g", isolation_level=None)
    write_schema(connection, Model("m", "f", 4))
    assert read_meta(connection) == (Model("m", "f", 4), 0)
    write_model(connection, Model("n", "g", 5))
    assert read_meta(connection)[0] == Model("n", "g", 5)
    for pragma, value in (
        ("application_id", APPLICATION_ID),
        ("user_version", SCHEMA_VERSION),
        ("journal_mode", "wal"),
    ):
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    connection.close()


def test_the_file_says_what_it_is_in_its_header(tmp_path):
    """Where the file format of SQLite puts the two: bytes 68 and 60, big-endian."""
    connection = sqlite3.connect(tmp_path / "g", isolation_level=None)
    write_schema(connection, Model("m", "f", 4))
    connection.close()
    content = (tmp_path / "g").read_bytes()
    assert content[68:72] == b"MSEG"
    assert int.from_bytes(content[60:64]) == SCHEMA_VERSION


def test_content_is_found_by_an_index(tmp_path):
    connection = sqlite3.connect(tmp_path / "g", isolation_level=None)
    write_schema(connection, Model("m", "f", 4))
    plan = connection.execute("EXPLAIN QUERY PLAN SELECT id FROM photos WHERE content_hash = 'a'")
    assert "photos_by_content" in plan.fetchall()[0][-1]
    connection.close()


FIRST_SCHEMA = """
DROP TRIGGER photos_removed;
DROP INDEX photos_by_version;
ALTER TABLE photos DROP COLUMN version;
DROP TABLE removed;
DELETE FROM meta WHERE key = 'identity';
PRAGMA user_version = 1;
"""


class TestFilesOfTheFirstRelease:
    @pytest.fixture
    def path(self, tmp_path):
        path = make_gallery(tmp_path, {f"{mark}.png": photo("red", mark=mark) for mark in range(5)})
        connection = sqlite3.connect(path)
        connection.executescript(FIRST_SCHEMA)
        connection.close()
        return path

    def test_are_read_as_they_are(self, path):
        content = path.read_bytes()
        with GalleryFile.open(path) as file:
            assert file.count() == 5
            assert file.changes(0, most=99) is None
            assert file.identity() is None
            assert file.view().version == file.version()
        assert path.read_bytes() == content

    def test_are_brought_up_to_date_by_who_writes(self, path):
        with GalleryFile.open(path) as file:
            before, photos = file.vectors(), file.photos()
            version = file.version()
        with GalleryFile.open(path, writable=True) as file:
            assert (file.photos(), file.version()) == (photos, version)
            np.testing.assert_array_equal(file.vectors()[1], before[1])
            assert len(file.changes(version, most=99).ids) == 0
            file.remove([2])
            file.put([new_photo(photos[0].path, ColourEncoder())])
            changes = file.changes(version, most=99)
            assert (changes.removed.tolist(), changes.ids.tolist()) == ([2], [1])
            assert len(file.identity()) == 32

    def test_by_several_processes_at_once(self, path):
        program = (
            "import sys; from pathlib import Path; sys.stdin.read(1);"
            "from msedge.search.gallery_file import GalleryFile;"
            "file = GalleryFile.open(Path(sys.argv[1]), writable=True); print(file.identity())"
        )
        command = [sys.executable, "-c", program, path]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        both = [subprocess.Popen(command, **pipes) for _ in range(2)]
        for process in both:
            process.stdin.close()
        said = {process.stdout.read() for process in both}
        assert [process.wait(60) for process in both] == [0, 0]
        assert len(said) == 1


def test_galleries_are_told_apart(tmp_path):
    identities = set()
    for name in "ab":
        (tmp_path / name).mkdir()
        with GalleryFile.open(make_gallery(tmp_path / name, {})) as file:
            identities.add(file.identity())
    assert len(identities) == 2
