"""What can be wrong with a gallery file and with what lies beside it, and its mending.

A damaged file is not changed. What can be read of it goes into a new one beside it: each page that
looks like one of a table's is made the root of a table of its own, in a copy, so that SQLite reads
it, whether or not anything still leads to it. A photo that was removed may come back this way; the
next ``msedge index`` sees that its file is not there. Tested in ``tests/search/stores/``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.locks import is_held, is_indexed_into
from msedge.search.photo import BAD_FACT, BAD_PATH, BAD_VECTOR, COLUMNS, NAMES, Ids, faults
from msedge.search.stores.copying import PART
from msedge.search.stores.reports import Model, Problem, Watched, examples
from msedge.search.stores.sqlite import connections, file
from msedge.search.stores.sqlite.vectors import count_changes, folder_of, hubs_of, is_of
from msedge.search.stores.store import EMBEDS_AGAIN, REBUILDING, RESTORING, Store, problems_of_files

THUMBNAILS = ".thumbnails"

_SALVAGED, _SALVAGING = "-salvaged", "-salvaging"
_BUSY = "another process is writing the gallery; what a killed one left is not looked for"
_ANOTHERS_LOG = "the log beside the file is of another gallery, which was here before"
_PUT_ASIDE = "renames it", "renamed, to be put beside its own gallery or removed"
_BUILD_ANEW = "`msedge gallery approximate` builds it anew"
_BUILDING = "lock"  # within the folder of an index while it is built

_PAGE = 8192  # bytes, of a gallery
_LEAVES = {"photos": 0x0D, "meta": 0x0A}  # the first byte of a page that holds rows
_AT_ONCE = 256  # pages that are tables at the same time
_MOST_TRIED = 10_000  # ids within a damaged page
_MOST = 2**48  # a version that no gallery reaches
_OF_MODEL = ("model", "fingerprint", "dim")
_FACTS = ", ".join(NAMES)
_AFFINE = {each.name: f"{each.name} {'REAL' * (each.kind is float)}" for each in COLUMNS}
_FIRST = [_AFFINE[each.name] for each in COLUMNS if not each.added]
_LATER = [f"{_AFFINE[each.name]} DEFAULT {each.default_sql}" for each in COLUMNS if each.added]
_STORED = ", ".join(["own_id", *_FIRST, "vector, version", *_LATER])  # own_id: NULL in a photo
_DELETE_OLDER = "DELETE FROM photos WHERE (id = ?1 OR path = ?2) AND (version, mtime_ns) < (?3, ?4)"
_MARKS = ", ".join("?" * (len(NAMES) + 3))
_INSERT = f"INSERT OR IGNORE INTO photos (id, {_FACTS}, vector, version) VALUES ({_MARKS})"

_ROWS = 4096
_TOO_LONG = sqlite3.SQLITE_TOOBIG  # what claims to be longer than any value of a gallery
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, _TOO_LONG)
_FAULTS = {
    BAD_VECTOR: "vectors that are cut short, not finite or not of length 1",
    BAD_PATH: "paths that are not absolute",
    BAD_FACT: "sizes, dates or hashes that cannot be",
}


def problems(
    kind: type[Store], path: Path, watched: Watched, *, alone: bool, photos: bool
) -> Iterator[Problem]:
    """What is wrong; see :meth:`~msedge.search.stores.store.Store.problems`."""
    if path.is_file() and connections.has_anothers_log(path):
        yield _mendable("log", _ANOTHERS_LOG, 1, *_PUT_ASIDE, connections.put_log_aside, path)
        if not alone:  # no more can be told while it lies there
            return
    with ExitStack() as held:
        if not alone and file.has_log(path):
            # Whoever closes a file last takes in what a killed writer left, which is to stay.
            with suppress(sqlite3.Error, DataError):
                held.enter_context(connections.reading_once(path))
        is_readable = True
        for problem in _of_file(kind, path, watched):
            is_readable &= problem.finding.name not in ("damage", "meta", "schema")
            yield problem
        if alone or not is_indexed_into(path):
            yield from _leftovers(kind, path, is_readable)
        else:
            yield Problem.noted("busy", _BUSY, 1, "check again when that has ended")
        yield from _of_thumbnails(path)
        if is_readable:
            yield from _of_index(path)
            if photos:
                with kind.open(path) as store:
                    yield from problems_of_files(store, watched)


# The file itself


def _of_file(kind: type[Store], path: Path, watched: Watched) -> Iterator[Problem]:
    is_gallery = False
    try:
        with file.told(path):
            file.check_file(path)
            is_gallery = True
            with connections.reading_once(path) as reader, watched.interrupting(reader):
                reader.text_factory = _text
                reader.execute("BEGIN")
                found = list(_within(reader, kind, path, watched))
    except DataError as error:
        why = error.__cause__
        if not isinstance(why, sqlite3.DatabaseError) or file.primary_code(why) not in _DAMAGE:
            raise
        readable = _rescue(kind, path)
        if readable is None and not is_gallery:
            raise
        what = f"the file is damaged ({one_line(str(why))}); {readable or 0:,} photos can be read"
        advice = "index the photos again into another file"
        problem = Problem.found("damage", what, 1, advice)
        if readable:
            advice = "writes these into a new file, beside this one"
            problem = Problem.found("damage", what, 1, advice, partial(_salvage, kind, path))
        found = [replace(problem, leaves_more=True)]
    yield from found  # when the file is closed, so that they can be mended


def _within(
    connection: sqlite3.Connection, kind: type[Store], path: Path, watched: Watched
) -> Iterator[Problem]:
    watched.progress("checking the file")
    wrong = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
    if wrong != ["ok"]:
        raise sqlite3.DatabaseError(wrong[0].splitlines()[-1])
    try:
        dim = file.read_meta(connection)[0].dim
    except sqlite3.DatabaseError as error:
        what = f"the gallery's own record: {error}"
        yield Problem.found("meta", what, 1, "index the photos again")
        return
    columns, parts = file.lacking(connection)
    if columns:
        what = f"no column {examples(columns)}"
        yield Problem.found("schema", what, len(columns), "index again")
        return
    if parts:
        what, count = f"no SQL table, index or trigger {examples(parts)}", len(parts)
        advice = "makes it; without it, changes are slow or go unnoticed"
        yield _mendable("sql-parts", what, count, advice, "made", _make_parts, path, parts)
    yield from _of_rows(connection, kind, path, dim, watched)


def _of_rows(
    connection: sqlite3.Connection, kind: type[Store], path: Path, dim: int, watched: Watched
) -> Iterator[Problem]:
    (total,) = connection.execute("SELECT count(*) FROM photos").fetchone()
    facts = file.facts_in(connection)
    cursor = connection.execute(f"SELECT vector, id, {facts} FROM photos ORDER BY id")
    bad: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    done = 0
    while some := cursor.fetchmany(_ROWS):
        rows = [row[1:] for row in some]
        for at, fault in faults(rows, [row[0] for row in some], dim).items():
            bad[fault].append(rows[at][:2])
        done += len(rows)
        watched.progress("checking photos", done, total)
    for fault, found in bad.items():
        ids, places = zip(*found, strict=True)
        names = [os.fsdecode(each) if isinstance(each, bytes) else each for each in places]
        what = f"{len(ids):,} photos with {_FAULTS[fault]} ({examples(names)})"
        advice, mended = f"removes them; {EMBEDS_AGAIN}", f"removed; {EMBEDS_AGAIN}"
        yield _mendable(fault, what, len(ids), advice, mended, _remove, kind, path, ids)


def _make_parts(path: Path, names: Sequence[str]) -> None:
    with file.told(path), closing(connections.open_to_write(path)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        file.make_parts(connection, names)
        connections.note_state(connection, path)


def _remove(kind: type[Store], path: Path, ids: Sequence[int]) -> None:
    with kind.open(path, writable=True) as store:
        if ids:
            store.change(remove=ids)
        store.tidy()  # takes in its log


def _mendable(
    name: str, what: str, count: int, advice: str, done: str, work: Callable[..., object], *of: Any
) -> Problem:
    """A problem that some work mends, and what is said then."""

    def mend() -> str:
        work(*of)
        return done

    return Problem.found(name, what, count, advice, mend)


def _text(stored: bytes) -> str | bytes:
    """Text, or its bytes where damage has made it something else."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


# What lies beside it


def _leftovers(kind: type[Store], path: Path, is_readable: bool) -> Iterator[Problem]:
    """What a process that was killed left; only for a gallery that nobody writes just now."""
    for ending in (PART, REBUILDING, _SALVAGING, f"{RESTORING}{path.suffix}"):
        half = file.beside(path, ending)
        if files := [each for each in file.files_of(half) if each.exists()]:
            names = examples(each.name for each in files)
            what = f"half a gallery that a killed process left ({names})"
            rest = "; or go on with it by `msedge index --rebuild`" * (ending == REBUILDING)
            work, count = file.remove_database, len(files)
            yield _mendable("leftovers", what, count, f"removes it{rest}", "removed", work, half)
    if is_readable and not connections.is_whole(path):
        log = file.of_sqlite(path, file.LOG)
        size = log.stat().st_size
        what = f"commits that only {one_line(log.name)} holds, {size:,} bytes of it"
        advice = "puts them into the gallery's file"
        yield _mendable("log", what, size, advice, "done", _remove, kind, path, ())


def _of_thumbnails(path: Path) -> Iterator[Problem]:
    cache = file.beside(path, THUMBNAILS)
    if not cache.exists():
        return
    try:
        with closing(file.connect(cache, "mode=ro&immutable=1")) as connection:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute("SELECT content_hash, side, used, jpeg FROM thumbnails LIMIT 1")
    except sqlite3.Error as error:
        state = str(error)
    if state != "ok":
        what = f"the cache of thumbnails is damaged ({one_line(state)})"
        work = file.remove_database
        yield _mendable("thumbnails", what, 1, "removes it", "removed", work, cache)


def _of_index(path: Path) -> Iterator[Problem]:
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
        wrong = ""
    except ModuleNotFoundError:
        what = "the approximate index cannot be read here"
        yield Problem.noted("approximate", what, 1, "install faiss")
        return
    except DataError as error:
        wrong = str(error)
    if not wrong:
        with file.told(path), connections.reading_once(path) as connection:
            changed = None
            if about.hubs == hubs_of(connection):
                changed = count_changes(connection, about.version)
            if not is_of(connection, about):
                wrong = (
                    "the approximate index is of another gallery, or of another past of this one"
                )
    if wrong:
        yield _mendable("approximate", wrong, 1, "removes it", "removed", _remove_index, folder)
    elif changed is None:
        what = "the approximate index is too far behind, or of other hubs, and is not used"
        yield Problem.noted("approximate", what, about.count, _BUILD_ANEW)
    elif changed:
        what = f"the approximate index is {changed:,} photos behind, which are searched exactly"
        yield Problem.noted("approximate", what, changed, _BUILD_ANEW)


def remove_index_of(path: Path) -> None:
    """Remove the approximate index beside a gallery that another one has taken the place of."""
    with suppress(DataError):  # one that is being built is seen to be of another gallery
        if folder_of(path).exists():
            _remove_index(folder_of(path))


def _remove_index(folder: Path) -> None:
    from msedge.search.approximate.build import remove_index, sole_builder

    try:
        with sole_builder(folder):
            remove_index(folder)
    except OSError as error:
        raise DataError(
            f"cannot remove {one_line(folder)} ({error.strerror}): remove it by hand"
        ) from error


# What can be read of a damaged file


def _salvage(kind: type[Store], path: Path) -> str:
    """Write what can be read of a damaged gallery into a new one, and say what to do with it."""
    target = file.beside(path, _SALVAGED)
    if target.exists():
        raise DataError(f"{one_line(target)} is there already: move it away, and try again")
    advice = f"copy {one_line(path)} to another place, and check it there"
    with connections.made_whole(target, _SALVAGING, advice) as part:
        count = _rescue(kind, path, part)
    return (
        f"{count:,} photos are in {one_line(target)}: put it in the place of this one, and "
        "run `msedge index`"
    )


def _rescue(kind: type[Store], path: Path, into: Path | None = None) -> int | None:
    """Write the photos that make sense, and count them; None where the model is not named."""
    with _remains(path) as (folder, copy, pages):
        model = _model_in(copy, pages)
        if model is None:
            return None
        new = into or folder / "new"
        kind.create(new, model).close()
        with file.told(new), closing(connections.open_to_write(new)) as connection:
            connection.execute("CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY, version INTEGER)")
            tables = _laid_over(copy, pages, "photos")
            rows = chain.from_iterable(_rows_of(copy, table) for table in tables)
            while some := list(islice(rows, _ROWS)):
                connection.execute("BEGIN")
                _take(some, model.dim, connection)
                connection.execute("COMMIT")
            connection.executescript(
                "BEGIN; DELETE FROM photos WHERE EXISTS"
                " (SELECT 1 FROM gone WHERE gone.id = photos.id AND gone.version > photos.version);"
                "DELETE FROM removed; UPDATE meta SET value ="
                " (SELECT coalesce(max(version), 0) FROM photos) WHERE key = 'version'; COMMIT;"
            )
            return int(connection.execute("SELECT count(*) FROM photos").fetchone()[0])


def _take(rows: list[tuple[Any, ...]], dim: int, connection: sqlite3.Connection) -> None:
    """Put photos that make sense; of two of an id or path, the one that was put last stays."""
    wrong = faults([row[2:] for row in rows], [row[0] for row in rows], dim)
    for at, (vector, version, number, place, *facts) in enumerate(rows):
        if at not in wrong:
            put = version if isinstance(version, int) and 0 < version < _MOST else 0
            connection.execute(_DELETE_OLDER, (number, place, put, facts[1]))
            connection.execute(_INSERT, (number, place, *facts, vector, put))
        elif isinstance(place, int) and facts[0] is None:  # a row of `removed`
            connection.execute("INSERT OR REPLACE INTO gone VALUES (?, ?)", (number, place))


@contextmanager
def _remains(path: Path) -> Iterator[tuple[Path, sqlite3.Connection, dict[str, Ids]]]:
    """A folder, a copy of a damaged file there, and its pages that may hold rows of each table."""
    with tempfile.TemporaryDirectory(prefix="msedge-") as folder:
        copy = Path(folder) / "copy"
        shutil.copyfile(path, copy)
        if file.has_log(path):
            _begin_anew(copy, "WAL")
            shutil.copyfile(file.of_sqlite(path, file.LOG), file.beside(copy, file.LOG))
            with suppress(sqlite3.Error), closing(file.connect(copy, "mode=rw")) as connection:
                (count,) = connection.execute("PRAGMA page_count").fetchone()
                os.truncate(copy, max(copy.stat().st_size, count * _PAGE))
            # Closing it took in the log, for which SQLite wants a file of about the size.
            for each in file.files_of(copy)[1:]:
                each.unlink(missing_ok=True)
        _begin_anew(copy, "DELETE")
        first = np.memmap(copy, np.uint8, "r")[::_PAGE].copy()  # byte of each
        pages = {name: np.flatnonzero(first == leaf) + 1 for name, leaf in _LEAVES.items()}
        with closing(file.connect(copy, "mode=rw")) as connection:
            connection.text_factory = _text
            for setting in ("cell_size_check = OFF", "journal_mode = OFF", "synchronous = OFF"):
                connection.execute(f"PRAGMA {setting}")
            for number in range(_AT_ONCE):
                connection.execute(f"CREATE TABLE photos{number} ({_STORED})")
                connection.execute(
                    f"CREATE TABLE meta{number} (key TEXT PRIMARY KEY, value) WITHOUT ROWID"
                )
            yield Path(folder), connection, pages


def _laid_over(connection: sqlite3.Connection, pages: dict[str, Ids], name: str) -> Iterator[str]:
    """Tables of a name, each with the next page that may be one's as its root."""
    for start in range(0, len(pages[name]), _AT_ONCE):
        some = pages[name][start : start + _AT_ONCE].tolist()
        roots = {f"{name}{number}": page for number, page in enumerate(some)}
        connection.execute("PRAGMA writable_schema = ON")
        lay = "UPDATE sqlite_schema SET rootpage = ?2 WHERE name = ?1"
        connection.executemany(lay, roots.items())
        connection.execute("PRAGMA writable_schema = RESET")  # reads the schema again
        yield from roots


def _model_in(connection: sqlite3.Connection, pages: dict[str, Ids]) -> Model | None:
    said: dict[str, Any] = {"version": 0}
    for table in _laid_over(connection, pages, "meta"):
        query = f"SELECT key, value FROM {table} WHERE +key IN {_OF_MODEL}"
        with suppress(sqlite3.Error):
            said.update(connection.execute(query))
        if said.keys() >= set(_OF_MODEL):
            break
    with suppress(sqlite3.DatabaseError):
        return file.record_of(said)[0]
    return None


def _rows_of(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """What may be photos of a page; of a damaged one from both sides, and one by one between."""
    select = f"SELECT vector, version, rowid, {_FACTS} FROM {table} WHERE own_id IS NULL"
    found: dict[int, tuple[Any, ...]] = {}
    ends = [0, 0]
    for side, order in enumerate(("ASC", "DESC")):
        with suppress(sqlite3.Error):
            for row in connection.execute(f"{select} ORDER BY rowid {order}"):
                found[row[2]] = row
                ends[side] = row[2]
            return list(found.values())
    for number in range(ends[0] + 1, min(ends[1], ends[0] + _MOST_TRIED)):
        with suppress(sqlite3.Error):
            for row in connection.execute(f"{select} AND rowid = {number}"):
                found[number] = row
    return list(found.values())


def _begin_anew(copy: Path, journal: str) -> None:
    """Give a file the first page of an empty database, and a last one that is whole."""
    empty = copy.with_name("empty")
    with closing(sqlite3.connect(empty)) as connection:
        for setting in (f"page_size = {_PAGE}", f"journal_mode = {journal}", "user_version = 1"):
            connection.execute(f"PRAGMA {setting}")
    first = bytearray(empty.read_bytes()[:_PAGE])
    first[28:32] = bytes(4)  # pages: as many as the file has
    file.remove_database(empty)
    with copy.open("r+b") as opened:
        opened.write(first)
        opened.truncate(-(-max(copy.stat().st_size, _PAGE) // _PAGE) * _PAGE)
