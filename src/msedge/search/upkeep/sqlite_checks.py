"""What can be wrong with a gallery's SQLite file, and its mending.

Tested in ``tests/search/upkeep/test_checking.py``.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.gallery_connections import check_file, open_to_read, told, wary
from msedge.search.gallery_file import GalleryFile
from msedge.search.gallery_rows import PHOTO_COLUMNS
from msedge.search.gallery_schema import check_objects, make_parts, missing_parts, read_meta
from msedge.search.upkeep.findings import Problem, examples, found
from msedge.search.upkeep.row_faults import FIELD, PATH, VECTOR, faults
from msedge.search.upkeep.salvage import count_readable, is_damaged_gallery, salvage
from msedge.search.upkeep.watching import Watched

_ROWS = 4096
_FAULTS_TOLD = 20  # by SQLite
_NAMED = 4  # photos of a fault
_EMBEDS_AGAIN = "the next `msedge index` reads these photos again"
_FAULTS = {
    VECTOR: "vectors that are cut short, not finite or not of length 1",
    PATH: "paths that are not absolute",
    FIELD: "sizes, dates or hashes that cannot be",
}


def sqlite_problems(path: Path, watched: Watched) -> Iterator[Problem]:
    """What is wrong with the file itself; nothing is changed before a problem is mended.

    Args:
        path: the gallery, absolute.
        watched: told how far it is.

    Raises:
        DataError: there is no file, it is another program's or a later release's, or it may not be
            read.
    """
    try:
        check_file(path)
    except DataError as error:
        if not _is_damage(error.__cause__) or not is_damaged_gallery(path):
            raise
        yield _damage(path, str(error.__cause__))
        return
    try:
        with closing(connected(path)) as connection, watched.interrupting(connection):
            connection.text_factory = _text
            connection.execute("BEGIN")
            problems = list(_problems_within(connection, path, watched))
    except sqlite3.Error as error:
        if not _is_damage(error):
            with told(path):
                raise
        problems = [_damage(path, str(error))]
    yield from problems


def connected(path: Path) -> sqlite3.Connection:
    """Connect to read, so that what a killed writer left stays as it is, also when this is closed.

    Raises:
        sqlite3.Error: the file cannot be opened or read.
        DataError: changes lie beside the file and cannot be read there.
    """
    log = path.with_name(path.name + "-wal")
    if not (log.exists() and log.stat().st_size):
        return open_to_read(path)[0]
    try:
        connection = wary(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        )
        check_objects(connection, path)
    except sqlite3.OperationalError:
        return open_to_read(path)[0]  # which says why where it cannot either
    return connection


def _problems_within(
    connection: sqlite3.Connection, path: Path, watched: Watched
) -> Iterator[Problem]:
    watched.step("checking the file")
    wrong = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_FAULTS_TOLD})")]
    if wrong != ["ok"]:
        yield _damage(path, wrong[0].splitlines()[-1])
        return
    try:
        dim = read_meta(connection)[0].dim
    except sqlite3.DatabaseError as error:
        dim, reason = 0, str(error)
    else:
        reason = f"its vectors are of width {dim}"
    if dim < 1:
        yield found("meta", f"the gallery's own record: {reason}", 1, "index the photos again")
        return
    lacking = _lacking_columns(connection)
    if lacking:
        yield found("schema", f"no column {examples(lacking)}", len(lacking), "index again")
        return
    if parts := missing_parts(connection):
        advice = "makes it; without it, changes are slow or go unnoticed"
        what = f"no SQL table, index or trigger {examples(parts)}"
        yield found("sql-parts", what, len(parts), advice, _making(path, parts))
    yield from _problems_of_rows(connection, path, dim, watched)


def _lacking_columns(connection: sqlite3.Connection) -> list[str]:
    there = {row[1] for row in connection.execute("PRAGMA table_info(photos)")}
    return [name for name in [*PHOTO_COLUMNS.split(", "), "vector"] if name not in there]


def _problems_of_rows(
    connection: sqlite3.Connection, path: Path, dim: int, watched: Watched
) -> Iterator[Problem]:
    (total,) = connection.execute("SELECT count(*) FROM photos").fetchone()
    cursor = connection.execute(f"SELECT {PHOTO_COLUMNS}, vector FROM photos ORDER BY id")
    bad: dict[str, list[int]] = defaultdict(list)
    names: dict[str, list[str]] = defaultdict(list)
    done = 0
    while rows := cursor.fetchmany(_ROWS):
        wrong = faults(rows, dim)
        for number, place, *_ in rows:
            if not (kind := wrong.get(number)):
                continue
            bad[kind].append(number)
            if len(names[kind]) < _NAMED:
                names[kind].append(os.fsdecode(place) if isinstance(place, bytes) else str(place))
        done += len(rows)
        watched.progress("checking photos", done, total)
    for kind, ids in bad.items():
        what = f"{len(ids):,} photos with {_FAULTS[kind]} ({examples(names[kind])})"
        advice = f"removes them; {_EMBEDS_AGAIN}"
        yield found(kind, what, len(ids), advice, _removing(path, ids))


def _damage(path: Path, why: str) -> Problem:
    readable = count_readable(path)
    what = f"the file is damaged ({one_line(why)}); {readable:,} photos can be read"
    if not readable:
        return found("damage", what, 1, "index the photos again into another file")
    advice = "writes these into a new file, beside this one"
    return replace(found("damage", what, 1, advice, _salvaging(path)), leaves_more=True)


def _salvaging(path: Path) -> Callable[[], str]:
    def mend() -> str:
        target, count = salvage(path)
        return (
            f"{count:,} photos are in {one_line(target)}: put it in the place of this one, and "
            "run `msedge index`"
        )

    return mend


def _making(path: Path, parts: list[str]) -> Callable[[], str]:
    def mend() -> str:
        with GalleryFile.open(path, writable=True) as file, file.transaction() as connection:
            make_parts(connection, parts)
        return "made"

    return mend


def _removing(path: Path, ids: list[int]) -> Callable[[], str]:
    def mend() -> str:
        with GalleryFile.open(path, writable=True) as file:
            file.remove(ids)
        return f"removed; {_EMBEDS_AGAIN}"

    return mend


def _text(stored: bytes) -> str | bytes:
    """Text, or its bytes where damage has made it something else."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _is_damage(error: BaseException | None) -> bool:
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_TOOBIG,  # what claims to be longer than any value of a gallery
    )
