"""Photos, small: what a page of hits shows, and those made before, in a file beside the gallery.

The cache may be deleted at any time, and where it cannot be written or is damaged, everything goes
on without it. One that holds more than thumbnails, such as a view that computes them, is begun
again. Tested in
``tests/search/test_thumbnails.py`` and ``tests/artefacts/test_caches.py``.
"""

from __future__ import annotations

import io
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Self, TypeVar
from urllib.parse import quote

from PIL import Image

from msedge.data.images import open_image_bytes, reading_bytes
from msedge.errors import ConfigError
from msedge.search.locations import location
from msedge.search.photo import Photo
from msedge.search.sources.contents import content_of

T = TypeVar("T")

THUMBNAIL_SIDE = 320  # pixels of its longer side: two for each of a page's 160
MOST_BYTES = 512 * 2**20  # of the thumbnails in a cache: some 25,000

_QUALITY = 82
_KEPT = 0.9  # share that stays when it is full, so that room is not made for one at a time
_USE_COUNTS_AFTER = 86_400  # seconds; noting every use would make a write of every read
_PATIENCE = 0.5  # seconds for another server on the same file
_LONGEST = 2**24  # bytes of a value; a thumbnail takes some 20,000
_APPLICATION = 0x4D535468  # "MSTh"
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
CREATE TABLE IF NOT EXISTS thumbnails (
    content_hash TEXT NOT NULL, side INTEGER NOT NULL, used INTEGER NOT NULL, jpeg BLOB NOT NULL,
    PRIMARY KEY (content_hash, side)
);
CREATE INDEX IF NOT EXISTS thumbnails_by_use ON thumbnails (used, length(jpeg));
"""
_OBJECTS = {
    " ".join(words.replace("IF NOT EXISTS ", "").split())
    for words in _SCHEMA.split(";")
    if "CREATE" in words
}


def thumbnail(photo: Photo, side: int = THUMBNAIL_SIDE) -> bytes:
    """A photo, as its file is now, as a JPEG without metadata that fits a square, upright.

    A photo smaller than the square keeps its size.

    Raises:
        DataError: the file is gone or cannot be read as an image.
        ConfigError: ``side`` is smaller than 1.
    """
    if side < 1:
        raise ConfigError(f"a thumbnail needs a side of at least 1 pixel, got {side}")
    size = _size(photo, side)
    # As a square first: that is what a JPEG can be decoded to directly, at an eighth of its size.
    square = open_image_bytes(content_of(photo.path), location(photo.path), size=max(size))
    picture = square.resize(size, Image.Resampling.BICUBIC)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()


def thumbnail_bytes(photo: Photo, side: int = THUMBNAIL_SIDE) -> int:
    """What :func:`thumbnail` takes of memory at most, the file's content among it.

    Raises:
        DataError: as :func:`thumbnail`.
    """
    content, size = content_of(photo.path), max(_size(photo, side))
    picture = 4 * 3 * size**2  # the square, the picture, and its JPEG
    return len(content) + picture + reading_bytes(content, location(photo.path), size=size)


def _size(photo: Photo, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(photo.width, photo.height, 1))
    return max(1, round(photo.width * scale)), max(1, round(photo.height * scale))


class ThumbnailCache:
    """Thumbnails by content hash and side, so many bytes at most. Threads may share one."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        """Open a cache, or begin one; where neither works, nothing is kept."""
        self._path, self._most_bytes = path, most_bytes
        self._lock = Lock()
        self._connection = _open(path)
        self._bytes = self._tried(self._total) or 0

    @classmethod
    def beside(cls, gallery: Path) -> Self:
        """The cache of a gallery: its file's name with ``.thumbnails`` after it."""
        return cls(gallery.with_name(f"{gallery.name}.thumbnails"))

    def get(self, content_hash: str, side: int) -> bytes | None:
        """A thumbnail that was kept, or None."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            where = "WHERE content_hash = ? AND side = ?"
            select = f"SELECT jpeg, used FROM thumbnails {where}"
            row = connection.execute(select, (content_hash, side)).fetchone()
            if row is None:
                return None
            if not (isinstance(row[0], bytes) and isinstance(row[1], int)):
                raise sqlite3.DatabaseError("a thumbnail is something else")
            now = int(time.time())
            if abs(now - row[1]) > _USE_COUNTS_AFTER:  # clocks are also set back
                update = f"UPDATE OR IGNORE thumbnails SET used = ? {where}"
                connection.execute(update, (now, content_hash, side))
            return bytes(row[0])

        return self._tried(read)

    def put(self, content_hash: str, side: int, jpeg: bytes) -> None:
        """Keep a thumbnail; those not used for longest go where there is no room."""

        def write(connection: sqlite3.Connection) -> None:
            row = (content_hash, side, int(time.time()), jpeg)
            connection.execute("INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?, ?)", row)
            self._bytes += len(jpeg)
            if self._bytes > self._most_bytes:
                self._bytes = self._total(connection)  # another server may have written too
                self._make_room(connection)

        if len(jpeg) <= self._most_bytes:
            self._tried(write)

    def close(self) -> None:
        """Close the file; nothing is kept or found from then on."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _total(self, connection: sqlite3.Connection) -> int:
        select = "SELECT coalesce(sum(length(jpeg)), 0) FROM thumbnails"
        return int(connection.execute(select).fetchone()[0])

    def _make_room(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT rowid, length(jpeg) FROM thumbnails ORDER BY used, rowid")
        going = []
        for row, size in rows:
            if self._bytes <= round(_KEPT * self._most_bytes):
                break
            going.append((row,))
            self._bytes -= size
        connection.executemany("DELETE FROM thumbnails WHERE rowid = ?", going)

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` returns, in one transaction; None where the file does not let it."""
        with self._lock:
            if self._connection is None:
                return None
            try:
                with self._connection:
                    return work(self._connection)
            except sqlite3.OperationalError:  # locked, read-only, full: the next may work again
                pass
            except sqlite3.DatabaseError:  # damaged: begin another
                self._connection.close()
                self._connection, self._bytes = _begin_again(self._path), 0
        return None


def _open(path: Path) -> sqlite3.Connection | None:
    if not _is_ours(path):
        return None
    try:
        return _connect(path, "rwc", _SCHEMA)
    except sqlite3.OperationalError:  # it cannot be written
        with suppress(sqlite3.Error):
            return _connect(path, "ro", "SELECT used, jpeg FROM thumbnails LIMIT 1")
    except sqlite3.DatabaseError:
        return _begin_again(path)
    return None


def _begin_again(path: Path) -> sqlite3.Connection | None:
    with suppress(OSError, sqlite3.Error):
        path.unlink(missing_ok=True)
        return _connect(path, "rwc", _SCHEMA)
    return None


def _connect(path: Path, mode: str, first: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}",  # noqa: PTH100
        uri=True,
        timeout=_PATIENCE,
        check_same_thread=False,
    )
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA synchronous = OFF")  # what a power cut damages is made again
        for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"):
            if " ".join(sql.split()) not in _OBJECTS:
                raise sqlite3.DatabaseError("it holds more than thumbnails")
        connection.executescript(first)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_ours(path: Path) -> bool:
    """Whether the file may be written, and removed when it is damaged: none, empty, or a cache."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            return False
        with path.open("rb") as stream:
            header = stream.read(72)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    # https://www.sqlite.org/fileformat.html, section 1.3: the application's number is at byte 68.
    own = header.startswith(b"SQLite format 3\0") and header[68:] == _APPLICATION.to_bytes(4, "big")
    return own or not header
