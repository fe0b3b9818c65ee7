"""Gallery files of any size without photos, by SQL alone, for benchmarks of what reads them.

The tables are those of schema 2, written out here once more, so that a benchmark asks the code that
it measures for nothing but answers. ``benchmarks/salvage.py`` and ``benchmarks/search_record.py``
use it; that a gallery made here is sound is the first thing that ``salvage.py`` looks at.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

CENTRES = 20
UNLIKE = 0.75  # length of the noise beside centres of length 1: cosines of about 0.64
COLUMNS = "path, size, mtime_ns, content_hash, width, height, taken, vector"
_MARKS = ", ".join("?" * len(COLUMNS.split(", ")))
_NOW = "(SELECT value + 1 FROM {}meta WHERE key = 'version')"
_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    taken REAL NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX photos_by_content ON photos (content_hash);
ALTER TABLE photos ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX photos_by_version ON photos (version);
CREATE TABLE removed (id INTEGER PRIMARY KEY, version INTEGER NOT NULL);
CREATE INDEX removed_by_version ON removed (version);
CREATE TRIGGER photos_removed AFTER DELETE ON photos BEGIN
    INSERT OR REPLACE INTO removed VALUES (old.id, {_NOW.format("")});
END;
INSERT INTO meta VALUES ('version', 0);
INSERT INTO meta VALUES ('identity', lower(hex(randomblob(16))));
"""

Row = tuple[bytes, int, int, str, int, int, float, bytes]


@dataclass(frozen=True, slots=True)
class Made:
    """What a gallery says made its vectors."""

    name: str
    fingerprint: str
    dim: int


def made_by(gallery: Path) -> Made:
    """What made the vectors of a gallery that lies on disk."""
    with closing(sqlite3.connect(gallery)) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
    return Made(meta["model"], meta["fingerprint"], meta["dim"])


def create(path: Path, made: Made) -> sqlite3.Connection:
    """An empty gallery, and a connection to write it, in autocommit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 8192")
    connection.executescript(
        f"BEGIN; PRAGMA application_id = {0x4D534547}; PRAGMA user_version = 2; {_TABLES} COMMIT;"
    )
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [
        ("model", made.name), ("fingerprint", made.fingerprint), ("dim", made.dim)
    ])  # fmt: skip
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def unit_vectors(count: int, dim: int, rng: np.random.Generator) -> npt.NDArray[np.float16]:
    """Vectors ``(count, dim)`` of length 1 around a few centres, none a copy of another."""
    centres = np.random.default_rng(dim).standard_normal((CENTRES, dim), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = rng.standard_normal((count, dim), dtype=np.float32) * np.float32(UNLIKE / dim**0.5)
    vectors = centres[rng.integers(CENTRES, size=count)] + noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def made_rows(numbers: Iterable[int], folder: Path, dim: int, seed: int = 0) -> list[Row]:
    """Photos that exist nowhere, of some numbers, in folders of a hundred."""
    rng, numbers = np.random.default_rng((seed, dim)), list(numbers)
    return [
        (os.fsencode(folder / f"{number // 100:04}" / f"{number:06}.jpg"), 150_000 + number,
         10**18 + number, sha256(b"%d of %d" % (number, seed)).hexdigest(), 640, 480,
         1e9 + number + 0.5, vector.astype("<f2").tobytes())
        for number, vector in zip(numbers, unit_vectors(len(numbers), dim, rng), strict=True)
    ]  # fmt: skip


@contextmanager
def commit(connection: sqlite3.Connection) -> Iterator[None]:
    """One change of a gallery, which raises its version."""
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")
    connection.execute("COMMIT")


def put(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add photos; what is known of a path is replaced, and keeps its id."""
    replaced = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[1:])
    now = _NOW.format("main.")
    connection.executemany(
        f"INSERT INTO photos ({COLUMNS}, version) VALUES ({_MARKS}, {now}) ON CONFLICT (path) "
        f"DO UPDATE SET {replaced}, version = excluded.version",
        rows,
    )


def write_gallery(path: Path, made: Made, count: int, folder: Path) -> None:
    """A gallery of so many photos that do not exist, five thousand a commit."""
    with closing(create(path, made)) as connection:
        for start in range(0, count, 5_000):
            numbers = range(start, min(start + 5_000, count))
            with commit(connection):
                put(connection, made_rows(numbers, folder, made.dim, seed=start))


def photos_of(path: Path) -> dict[int, Row]:
    """The photos of a gallery by id, read with SQLite alone."""
    with closing(sqlite3.connect(path)) as connection:
        return {row[0]: row[1:] for row in connection.execute(f"SELECT id, {COLUMNS} FROM photos")}
