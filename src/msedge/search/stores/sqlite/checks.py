"""What can be wrong with a gallery file and with what lies beside it, and its mending.

A damaged file is not changed. What can be read of it goes into a new one beside it: each page that
looks like one of a table's is made the root of a table of its own, in a copy, so that SQLite reads
it, whether or not anything still leads to it. A photo that was removed may come back this way; the
next ``msedge index`` sees that its file is not there. Tested in
``tests/search/stores/test_checks.py`` and ``test_salvage.py``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.photo import BAD_FACT, BAD_PATH, BAD_VECTOR, COLUMNS, NAMES, faults
from msedge.search.stores.locks import is_held, is_indexed_into
from msedge.search.stores.reports import Model, Problem, Watched, examples
from msedge.search.stores.sqlite.file import (
    LOG,
    beside,
    check_file,
    connect,
    facts_in,
    has_log,
    lacking_columns,
    make_parts,
    missing_parts,
    open_to_check,
    open_to_write,
    put_in_place,
    read_meta,
    remove_database,
    told,
)
from msedge.search.stores.sqlite.vectors import count_changes, folder_of
from msedge.search.stores.store import EMBEDS_AGAIN, REBUILDING, WIDEST, Store, problems_of_files

THUMBNAILS = ".thumbnails"

_SALVAGED, _SALVAGING = "-salvaged", "-salvaging"
_HALF_MADE = ("-new", REBUILDING, _SALVAGING)
_OF_SQLITE = ("", LOG, "-shm", "-journal")
_BUILD_ANEW = "`msedge gallery approximate` builds it anew"
_BUILDING = "lock"  # within the folder of an index while it is built

_PAGE = 8192  # bytes, of a gallery
_TABLE_LEAF, _INDEX_LEAF = 0x0D, 0x0A  # the first byte of a page that holds rows
_AT_ONCE = 256  # pages that are tables at the same time
_MOST_TRIED = 10_000  # ids within a damaged page
_MOST = 2**48  # a version that no gallery reaches
_META = "(key TEXT PRIMARY KEY, value) WITHOUT ROWID"
_OF_MODEL = ("model", "fingerprint", "dim")
_FACTS = ", ".join(NAMES)
_STORED = ", ".join(
    [
        "own_id",  # where a row keeps its id, which it does not hold twice
        *(f"{each.name} {'REAL' * (each.kind is float)}" for each in COLUMNS if not each.added),
        "vector, version",
        *(f"{each.name} DEFAULT {each.default_sql}" for each in COLUMNS if each.added),
    ]
)
_DELETE_OLDER = "DELETE FROM photos WHERE (id = ?1 OR path = ?2) AND (version, mtime_ns) < (?3, ?4)"
_INSERT = (
    f"INSERT OR IGNORE INTO photos (id, {_FACTS}, vector, version) "
    f"VALUES ({', '.join('?' * (len(NAMES) + 3))})"
)

_ROWS = 4096
_FAULTS_TOLD = 20  # by SQLite
_NAMED = 4  # photos of a fault
_FAULTS = {
    BAD_VECTOR: "vectors that are cut short, not finite or not of length 1",
    BAD_PATH: "paths that are not absolute",
    BAD_FACT: "sizes, dates or hashes that cannot be",
}


def problems(
    kind: type[Store], path: Path, watched: Watched, *, alone: bool, photos: bool
) -> Iterator[Problem]:
    """What is wrong; see :meth:`~msedge.search.stores.store.Store.problems`."""
    with nullcontext() if alone else _as_it_is(path):
        is_readable = True
        for problem in _of_file(kind, path, watched):
            is_readable &= problem.finding.name not in ("damage", "meta", "schema")
            yield problem
        if alone or not is_indexed_into(path):
            yield from _leftovers(path)
            if is_readable:
                yield from _of_log(kind, path)
        else:
            what = (
                "another process is writing the gallery; what a killed one left is not looked for"
            )
            yield Problem.noted("busy", what, 1, "check again when that has ended")
        yield from _of_thumbnails(path)
        if is_readable:
            yield from _of_index(kind, path)
            if photos:
                with kind.open(path) as store:
                    yield from problems_of_files(store, watched)


@contextmanager
def _as_it_is(path: Path) -> Iterator[None]:
    """Keep what a killed writer left where it is: whoever closes a file last would take it in."""
    with ExitStack() as stack:
        if has_log(path):
            with suppress(sqlite3.Error, DataError):
                stack.enter_context(closing(open_to_check(path)))
        yield


# The file itself


def _of_file(kind: type[Store], path: Path, watched: Watched) -> Iterator[Problem]:
    try:
        check_file(path)
    except DataError as error:
        if not _is_damage(error.__cause__):
            raise
        with _Remains(path) as remains:
            if remains.model is None:
                raise
        yield _damage(kind, path, str(error.__cause__))
        return
    try:
        with closing(open_to_check(path)) as connection, watched.interrupting(connection):
            connection.text_factory = _text
            connection.execute("BEGIN")
            found = list(_within(connection, kind, path, watched))
    except sqlite3.Error as error:
        if not _is_damage(error):
            with told(path):
                raise
        found = [_damage(kind, path, str(error))]
    yield from found


def _within(
    connection: sqlite3.Connection, kind: type[Store], path: Path, watched: Watched
) -> Iterator[Problem]:
    watched.progress("checking the file")
    wrong = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_FAULTS_TOLD})")]
    if wrong != ["ok"]:
        yield _damage(kind, path, wrong[0].splitlines()[-1])
        return
    try:
        dim = read_meta(connection)[0].dim
    except sqlite3.DatabaseError as error:
        yield Problem.found(
            "meta", f"the gallery's own record: {error}", 1, "index the photos again"
        )
        return
    if lacking := lacking_columns(connection):
        what = f"no column {examples(lacking)}"
        yield Problem.found("schema", what, len(lacking), "index again")
        return
    if parts := missing_parts(connection):
        advice = "makes it; without it, changes are slow or go unnoticed"
        what = f"no SQL table, index or trigger {examples(parts)}"
        yield Problem.found("sql-parts", what, len(parts), advice, lambda: _make(path, parts))
    yield from _of_rows(connection, kind, path, dim, watched)


def _of_rows(
    connection: sqlite3.Connection, kind: type[Store], path: Path, dim: int, watched: Watched
) -> Iterator[Problem]:
    (total,) = connection.execute("SELECT count(*) FROM photos").fetchone()
    cursor = connection.execute(
        f"SELECT vector, id, {facts_in(connection)} FROM photos ORDER BY id"
    )
    bad: dict[str, list[int]] = defaultdict(list)
    names: dict[str, list[str]] = defaultdict(list)
    done = 0
    while some := cursor.fetchmany(_ROWS):
        rows = [row[1:] for row in some]
        for at, fault in faults(rows, [row[0] for row in some], dim).items():
            number, place, *_ = rows[at]
            bad[fault].append(number)
            if len(names[fault]) < _NAMED:
                names[fault].append(os.fsdecode(place) if isinstance(place, bytes) else str(place))
        done += len(rows)
        watched.progress("checking photos", done, total)
    for fault, ids in bad.items():
        what = f"{len(ids):,} photos with {_FAULTS[fault]} ({examples(names[fault])})"
        advice = f"removes them; {EMBEDS_AGAIN}"
        yield Problem.found(fault, what, len(ids), advice, partial(_remove, kind, path, ids))


def _damage(kind: type[Store], path: Path, why: str) -> Problem:
    with _Remains(path) as remains:
        readable = _rescue(kind, remains, remains.folder / "new")
    what = f"the file is damaged ({one_line(why)}); {readable:,} photos can be read"
    if not readable:
        return Problem.found("damage", what, 1, "index the photos again into another file")
    advice = "writes these into a new file, beside this one"
    problem = Problem.found("damage", what, 1, advice, lambda: _salvage(kind, path))
    return replace(problem, leaves_more=True)


def _make(path: Path, parts: list[str]) -> str:
    with told(path), closing(open_to_write(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        make_parts(connection, parts)
        connection.execute("COMMIT")
    return "made"


def _remove(kind: type[Store], path: Path, ids: list[int]) -> str:
    with kind.open(path, writable=True) as store:
        store.change(remove=ids)
    return f"removed; {EMBEDS_AGAIN}"


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


# What lies beside it


def _leftovers(path: Path) -> Iterator[Problem]:
    """What a process that was killed left; only for a gallery that nobody writes just now."""
    for ending in _HALF_MADE:
        half = beside(path, ending)
        files = [file for end in _OF_SQLITE if (file := beside(half, end)).exists()]
        if files:
            names = examples(file.name for file in files)
            advice = "removes it"
            if ending == REBUILDING:
                advice += "; or go on with it by `msedge index --rebuild`"
            what = f"half a gallery that a killed process left ({names})"
            yield Problem.found(
                "leftovers", what, len(files), advice, partial(_remove_database, half)
            )


def _of_log(kind: type[Store], path: Path) -> Iterator[Problem]:
    if has_log(path):
        log = beside(path, LOG)
        size = log.stat().st_size
        what = f"{size:,} bytes of commits that a killed process left in {one_line(log.name)}"
        advice = "puts them into the gallery's file"
        yield Problem.found("log", what, size, advice, partial(_take_in_log, kind, path))


def _take_in_log(kind: type[Store], path: Path) -> str:
    with kind.open(path, writable=True) as store:
        store.count()
    return "done"


def _of_thumbnails(path: Path) -> Iterator[Problem]:
    cache = beside(path, THUMBNAILS)
    if not cache.exists():
        return
    try:
        with closing(connect(cache, "mode=ro&immutable=1")) as connection:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute("SELECT content_hash, side, used, jpeg FROM thumbnails LIMIT 1")
    except sqlite3.Error as error:
        state = str(error)
    if state != "ok":
        what = f"the cache of thumbnails is damaged ({one_line(state)})"
        yield Problem.found("thumbnails", what, 1, "removes it", partial(_remove_database, cache))


def _of_index(kind: type[Store], path: Path) -> Iterator[Problem]:
    """Whether the approximate index is whole, of this gallery, and how far it is behind."""
    folder = folder_of(path)
    if not folder.exists():
        return
    if is_held(folder / _BUILDING):
        what = "the approximate index is being built"
        yield Problem.noted("approximate", what, 1, "check again then")
        return
    if folder.is_dir() and {each.name for each in folder.iterdir()} <= {_BUILDING}:
        return  # what a build leaves that could not begin
    try:
        from msedge.search.approximate.index import ApproximateIndex

        about = ApproximateIndex.open(folder).about
    except ModuleNotFoundError:
        what = "the approximate index cannot be read here"
        yield Problem.noted("approximate", what, 1, "install faiss")
        return
    except DataError as error:
        yield Problem.found(
            "approximate", str(error), 1, "removes it", partial(_remove_index, folder)
        )
        return
    with kind.open(path) as store, closing(open_to_check(path)) as connection:
        is_ours, changed = store.index_state() is not None, count_changes(connection, about.version)
    if not is_ours:
        what = "the approximate index is of another gallery"
        yield Problem.found("approximate", what, 1, "removes it", partial(_remove_index, folder))
    elif changed is None:
        what = "the approximate index is too far behind, and is not used"
        yield Problem.noted("approximate", what, about.count, _BUILD_ANEW)
    elif changed:
        what = f"the approximate index is {changed:,} photos behind, which are searched exactly"
        yield Problem.noted("approximate", what, changed, _BUILD_ANEW)


def _remove_database(path: Path) -> str:
    remove_database(path)
    return "removed"


def _remove_index(folder: Path) -> str:
    from msedge.search.approximate.build import remove_index, sole_builder

    try:
        with sole_builder(folder):
            remove_index(folder)
    except OSError as error:
        raise DataError(
            f"cannot remove {one_line(folder)} ({error.strerror}): remove it by hand"
        ) from error
    return "removed"


# What can be read of a damaged file


def _salvage(kind: type[Store], path: Path) -> str:
    """Write what can be read of a damaged gallery into a new one, and say what to do with it."""
    target, part = beside(path, _SALVAGED), beside(path, _SALVAGING)
    if target.exists():
        raise DataError(f"{one_line(target)} is there already: move it away, and try again")
    try:
        remove_database(part)
        with _Remains(path) as remains:
            count = _rescue(kind, remains, part)
        put_in_place(part, target)
    except OSError as error:
        raise DataError(
            f"cannot write {one_line(target)} ({error.strerror}): copy {one_line(path)} to "
            "another place, and check it there"
        ) from error
    finally:
        remove_database(part)
    return (
        f"{count:,} photos are in {one_line(target)}: put it in the place of this one, and "
        "run `msedge index`"
    )


def _rescue(kind: type[Store], remains: _Remains, new: Path) -> int:
    """Write the photos that make sense; of two of an id or path, the one that was put last."""
    if remains.model is None:
        return 0
    kind.create(new, remains.model).close()
    with told(new), closing(open_to_write(new)) as connection:
        connection.execute("CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY, version INTEGER)")
        for rows in remains.rows():
            wrong = faults([row[2:] for row in rows], [row[0] for row in rows], remains.model.dim)
            connection.execute("BEGIN")
            for at, (vector, version, number, place, *facts) in enumerate(rows):
                if at not in wrong:
                    put = version if isinstance(version, int) and 0 < version < _MOST else 0
                    connection.execute(_DELETE_OLDER, (number, place, put, facts[1]))
                    connection.execute(_INSERT, (number, place, *facts, vector, put))
                elif isinstance(place, int) and facts[0] is None:  # a row of `removed`
                    connection.execute("INSERT OR REPLACE INTO gone VALUES (?, ?)", (number, place))
            connection.execute("COMMIT")
        connection.executescript(
            "BEGIN; DELETE FROM photos WHERE EXISTS"
            " (SELECT 1 FROM gone WHERE gone.id = photos.id AND gone.version > photos.version);"
            "DELETE FROM removed; UPDATE meta SET value ="
            " (SELECT coalesce(max(version), 0) FROM photos) WHERE key = 'version'; COMMIT;"
        )
        return int(connection.execute("SELECT count(*) FROM photos").fetchone()[0])


class _Remains:
    """A copy of a damaged file, whose pages are read one by one.

    Attributes:
        folder: for as long as this is open.
        model: what the file says that made it; None where it does not.
    """

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="msedge-")))
            copy = self.folder / "copy"
            shutil.copyfile(path, copy)
            if has_log(path):
                _begin_anew(copy, "WAL")
                shutil.copyfile(beside(path, LOG), beside(copy, LOG))
                with suppress(sqlite3.Error), closing(connect(copy, "mode=rw")) as connection:
                    (pages,) = connection.execute("PRAGMA page_count").fetchone()
                    os.truncate(copy, max(copy.stat().st_size, pages * _PAGE))
                # Closing it took in the log, for which SQLite wants a file of about the size.
                for ending in _OF_SQLITE[1:]:
                    beside(copy, ending).unlink(missing_ok=True)
            _begin_anew(copy, "DELETE")
            self._kinds = np.memmap(copy, np.uint8, "r")[::_PAGE].copy()  # their first bytes
            self._connection = stack.enter_context(closing(connect(copy, "mode=rw")))
            self._connection.text_factory = _text
            for setting in ("cell_size_check = OFF", "journal_mode = OFF", "synchronous = OFF"):
                self._connection.execute(f"PRAGMA {setting}")
            for number in range(_AT_ONCE):
                self._connection.execute(f"CREATE TABLE photos{number} ({_STORED})")
                self._connection.execute(f"CREATE TABLE meta{number} {_META}")
            self.model = self._read_model()
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def rows(self) -> Iterator[list[tuple[Any, ...]]]:
        """What may be photos, some at a time: vector, version, id, and the facts."""
        some: list[tuple[Any, ...]] = []
        for table in self._laid_over("photos", _TABLE_LEAF):
            some += self._rows_of(
                f"SELECT vector, version, rowid, {_FACTS} FROM {table} WHERE own_id IS NULL"
            )
            if len(some) >= _ROWS:
                yield some
                some = []
        yield some

    def _rows_of(self, select: str) -> list[tuple[Any, ...]]:
        """The rows of a page; of a damaged one from both sides, and one by one between."""
        found: dict[int, tuple[Any, ...]] = {}
        ends = []
        for order in ("", "DESC"):
            ends.append(0)
            with suppress(sqlite3.Error):
                for row in self._connection.execute(f"{select} ORDER BY rowid {order}"):
                    found[row[2]] = row
                    ends[-1] = row[2]
                return list(found.values())
        for number in range(ends[0] + 1, min(ends[1], ends[0] + _MOST_TRIED)):
            with suppress(sqlite3.Error):
                for row in self._connection.execute(f"{select} AND rowid = {number}"):
                    found[number] = row
        return list(found.values())

    def _read_model(self) -> Model | None:
        said: dict[str, Any] = {}
        for table in self._laid_over("meta", _INDEX_LEAF):
            query = f"SELECT key, value FROM {table} WHERE +key IN {_OF_MODEL}"
            with suppress(sqlite3.Error):
                said.update(self._connection.execute(query))
            if len(said) == len(_OF_MODEL):
                break
        try:
            model = Model(str(said["model"]), str(said["fingerprint"]), int(said["dim"]))
        except (KeyError, TypeError, ValueError):
            return None
        return model if 0 < model.dim <= WIDEST else None

    def _laid_over(self, name: str, kind: int) -> Iterator[str]:
        """Tables, each with the next page of a kind as its root."""
        pages = (np.flatnonzero(self._kinds == kind) + 1).tolist()
        for start in range(0, len(pages), _AT_ONCE):
            some = pages[start : start + _AT_ONCE]
            self._connection.execute("PRAGMA writable_schema = ON")
            self._connection.executemany(
                "UPDATE sqlite_schema SET rootpage = ? WHERE name = ?",
                [(page, f"{name}{number}") for number, page in enumerate(some)],
            )
            self._connection.execute("PRAGMA writable_schema = RESET")  # reads the schema again
            yield from (f"{name}{number}" for number in range(len(some)))


def _begin_anew(copy: Path, journal: str) -> None:
    """Give a file the first page of an empty database, and a last one that is whole."""
    empty = copy.with_name("empty")
    with closing(sqlite3.connect(empty)) as connection:
        for setting in (f"page_size = {_PAGE}", f"journal_mode = {journal}", "user_version = 1"):
            connection.execute(f"PRAGMA {setting}")
    first = bytearray(empty.read_bytes()[:_PAGE])
    first[28:32] = bytes(4)  # pages: as many as the file has
    remove_database(empty)
    with copy.open("r+b") as file:
        file.write(first)
        file.truncate(-(-max(copy.stat().st_size, _PAGE) // _PAGE) * _PAGE)
