"""Rows read out of pages, compared with what SQLite itself reads."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.search.upkeep.sqlite_pages import INDEX_LEAF, TABLE_LEAF, Pages

_VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, 127, 128, -128, -129, 2**15, 2**23, 2**31, 2**47, -(2**47) - 1])
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
    | st.binary(max_size=40)
    | st.integers(0, 20_000).map(lambda size: bytes(range(256)) * (size // 256) + b"x" * (size % 7))
)
_ROWS = st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.tuples(_VALUES, _VALUES), max_size=30)


def rows_of(path, kind=TABLE_LEAF, columns=3):
    with Pages(path) as pages:
        return {number: row for number, row in pages.rows(kind) if len(row) == columns}


@settings(max_examples=60, deadline=None)
@given(_ROWS, st.sampled_from([512, 1024, 4096, 8192, 65536]))
def test_every_row_is_what_sqlite_says(rows, page_size):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)")
            connection.executemany(
                "INSERT INTO t VALUES (?, ?, ?)", [(key, *row) for key, row in rows.items()]
            )
            connection.commit()
            wanted = {row[0]: (None, *row[1:]) for row in connection.execute("SELECT * FROM t")}
        found = rows_of(path)
        assert repr(sorted(found.items())) == repr(sorted(wanted.items()))


def test_a_table_without_row_ids(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE m (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
        connection.executemany("INSERT INTO m VALUES (?, ?)", [("dim", 4), ("long", "x" * 9000)])
    with Pages(tmp_path / "a.db") as pages:
        rows = [row for _, row in pages.rows(INDEX_LEAF)]
    assert rows == [("dim", 4), ("long", "x" * 9000)]


def test_rows_that_were_deleted_are_not_rows(tmp_path):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        many = [(number, "x" * 500, number) for number in range(2000)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", many)
        connection.execute("COMMIT")
        connection.execute("DELETE FROM t WHERE id BETWEEN 100 AND 1900")
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    assert free > 100
    assert set(rows_of(path)) == set(range(100)) | set(range(1901, 2000))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_what_a_killed_writer_committed_into_the_log_counts(tmp_path):
    path = tmp_path / "a.db"
    writer = (
        "import sqlite3, os, signal\n"
        f"c = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode = WAL')\n"
        "c.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)')\n"
        "for n in range(50): c.execute('INSERT INTO t VALUES (?, ?, ?)', (n, 'x' * 300, n))\n"
        "c.execute('UPDATE t SET b = -1 WHERE id = 7')\n"
        "c.execute('PRAGMA cache_size = 2')\n"
        "c.execute('BEGIN')\n"
        "for n in range(500): c.execute('INSERT INTO t VALUES (?, ?, 0)', (100 + n, 'x' * 300))\n"
        f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    subprocess.run([sys.executable, "-c", writer], check=False)
    assert Path(f"{path}-wal").stat().st_size > 200_000  # what was not committed lies there, too
    rows = rows_of(path)
    assert set(rows) == set(range(50))
    assert rows[7] == (None, "x" * 300, -1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_raises_nothing(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA page_size = 1024")
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)")
            rows = [(number, "x" * (number * 37 % 3000), number / 3) for number in range(60)]
            connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 20))):
            at = data.draw(st.integers(0, len(content) - 1))
            some = data.draw(st.binary(min_size=1, max_size=30))
            content[at : at + len(some)] = some
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        with Pages(path) as pages:
            for kind in (TABLE_LEAF, INDEX_LEAF):
                assert all(isinstance(row, tuple) for _, row in pages.rows(kind))
