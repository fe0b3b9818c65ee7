from __future__ import annotations

import sqlite3

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
