"""A gallery as one file of SQLite: the truth, beside which everything else is a cache.

SQLite's write-ahead log lets any number of processes read while one writes, and leaves the last
commit whole after a kill. Every photo that is put is marked with the version that the gallery will
have after the commit; what is removed is noted by the tables themselves. Tested in
``tests/search/stores/``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn, Self

import numpy as np

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.search.locations import location, whole
from msedge.search.photo import (
    LARGEST_ID,
    NAMES,
    Block,
    Digest,
    NewPhoto,
    Photo,
    Place,
    new_photo_of,
    path_of,
    photo_of,
    row_of,
    stored_path,
)
from msedge.search.stores.copying import PART, check_equal, passing, refuse_existing
from msedge.search.stores.locks import sole_indexer
from msedge.search.stores.reports import Compacted, IndexState, Model, Problem, Size, Watched
from msedge.search.stores.sqlite import checks
from msedge.search.stores.sqlite.file import (
    LOG,
    VERSION_OF_NOW,
    Connections,
    beside,
    bring_up_to_date,
    check_file,
    facts_in,
    open_to_write,
    put_in_place,
    read_identity,
    read_meta,
    remove_database,
    told,
    write_model,
    write_schema,
)
from msedge.search.stores.sqlite.vectors import CurrentVectors, build_beside, decoded, folder_of
from msedge.search.stores.store import APPROXIMATE_FROM, REBUILDING, Store, View

_IDS_A_QUERY = 500
_DUE = 0.1  # share of the photos that were put or removed since an index was built
_PATIENCE = 500  # milliseconds for readers that are about to end
_NOTE = "note."  # what the keys of notes begin with, among what else the file says of itself

_COLUMNS = ", ".join([*NAMES, "vector"])
_MARKS = ", ".join("?" * (len(NAMES) + 1))
_REPLACING = "ON CONFLICT (path) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in [*NAMES, "vector", "version"] if name != "path"
)


class SqliteStore(Store):
    """A gallery file. Made by :meth:`create` or :meth:`open`."""

    kind = "sqlite"
    is_shared = False

    def __init__(self, path: Path, *, writable: bool, exact: bool = False) -> None:
        """Open a gallery; see :meth:`open`."""
        self.path = whole(path)
        check_file(self.path)
        self._connections = Connections(self.path)
        self._writer: sqlite3.Connection | None = None
        self._writing = threading.RLock()
        with self._connections.reading() as connection:
            self.model = read_meta(connection)[0]
        self._current = CurrentVectors(self.path, self._reading, exact=exact)
        if writable:
            with told(self.path):
                self._writer = open_to_write(self.path)
                bring_up_to_date(self._writer)

    @classmethod
    def create(cls, path: Path, model: Model) -> Self:
        """Make an empty gallery; its folder is made, too. One process at a time may make it."""
        if os.path.lexists(path):
            raise DataError(f"{one_line(path)} is there already: name another file to make")
        new = beside(whole(path), "-new")  # what a kill left goes with the next try
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            remove_database(new)
            new.touch(exist_ok=False)
            try:
                with told(path), closing(open_to_write(new)) as connection:
                    write_schema(connection, model)
                new.replace(path)
            except BaseException:
                remove_database(new)
                raise
        except OSError as error:
            raise DataError(
                f"cannot write {one_line(path)} ({error.strerror}); choose a folder that can be "
                "written to"
            ) from error
        return cls(path, writable=True)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False, exact: bool = False) -> Self:
        """Open a gallery. To read it, neither the file nor its folder need be writable."""
        return cls(path, writable=writable, exact=exact)

    def close(self) -> None:
        """Close the file; what was committed stays, and nothing else."""
        self._connections.close()
        if self._writer is not None:
            self._writer.close()

    # Reading

    def count(self) -> int:
        """How many photos there are."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM photos").fetchone()[0])

    def version(self) -> int:
        """A number that rises with every change of the photos, whichever process made it."""
        with self._reading() as connection:
            return read_meta(connection)[1]

    def view(self, last: View | None = None) -> View:
        """The gallery as it is now; the last view where nothing has changed since."""
        vectors = self._current.read(last.vectors if last else None)
        return last if last is not None and vectors is last.vectors else View(vectors, self.photos)

    def is_current(self, view: View) -> bool:
        """Whether :meth:`view` would give the same view again."""
        return self._current.is_still(view.vectors)

    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, without ids that are not there; None for all, by id."""
        with self._reading() as connection:
            select = f"SELECT id, {facts_in(connection)} FROM photos"
            if ids is None:
                return [photo_of(row) for row in connection.execute(f"{select} ORDER BY id")]
            found: dict[int, Photo] = {}
            possible = [int(number) for number in ids if 0 < number <= LARGEST_ID]
            for start in range(0, len(possible), _IDS_A_QUERY):
                some = possible[start : start + _IDS_A_QUERY]
                marks = ", ".join("?" * len(some))
                for row in connection.execute(f"{select} WHERE id IN ({marks})", some):
                    found[row[0]] = photo_of(row)
        return [found[number] for number in ids if number in found]

    def blocks(self, rows: int = 4096) -> Iterator[Block]:
        """All photos with their vectors, so many at a time, by rising id, of one commit."""
        with self._reading() as connection:
            cursor = connection.execute(
                f"SELECT id, vector, {facts_in(connection)} FROM photos ORDER BY id"
            )
            while some := cursor.fetchmany(rows):
                vectors = decoded([row[1] for row in some], self.model.dim).astype(np.float16)
                photos = [new_photo_of(row[2:], vectors[at]) for at, row in enumerate(some)]
                yield Block([row[0] for row in some], photos)

    def id_at(self, path: Path) -> int | None:
        """The id of the photo of an absolute path; None where there is none."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT id FROM photos WHERE path = ?", (stored_path(path),)
            ).fetchone()
            return None if row is None else int(row[0])

    def places(self) -> dict[str, Place]:
        """What is known of every path (as text), to compare with the files that are there."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT path, id, size, mtime_ns, content_hash FROM photos ORDER BY path"
            )
            return {str(path_of(path)): Place(*row) for path, *row in rows}

    def with_content(self, content_hash: str) -> NewPhoto | None:
        """A photo of some content, with its vector: that of the lowest id; None without one."""
        with self._reading() as connection:
            row = connection.execute(
                f"SELECT vector, {facts_in(connection)} FROM photos WHERE content_hash = ? "
                "ORDER BY id",
                (content_hash,),
            ).fetchone()
            if row is None:
                return None
            return new_photo_of(row[1:], decoded(row[:1], self.model.dim)[0].astype(np.float16))

    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""
        with self._reading() as connection:
            paths = connection.execute("SELECT path FROM photos")
            counts = Counter(os.path.dirname(os.fsencode(path_of(path))) for (path,) in paths)  # noqa: PTH120
        return [(path_of(folder), count) for folder, count in sorted(counts.items())]

    def notes(self) -> dict[str, str]:
        """All texts that were noted in the gallery, by their names."""
        with self._reading() as connection:
            rows = connection.execute("SELECT key, value FROM meta").fetchall()
        return {key.removeprefix(_NOTE): str(text) for key, text in rows if key.startswith(_NOTE)}

    def last_id(self) -> int:
        """The largest id that was ever given, 0 before the first."""
        with self._reading() as connection:
            return _last_id(connection)

    # Writing

    def change(
        self,
        *,
        put: Sequence[NewPhoto] = (),
        move: Sequence[tuple[int, Path, int, int]] = (),
        remove: Sequence[int] = (),
    ) -> None:
        """Change photos in one commit: put some, then move some, then remove some."""
        rows = [row_of(photo, self.model.dim) for photo in put]
        moves = [(number, stored_path(path), *state) for number, path, *state in move]
        with self._changing() as connection:
            connection.executemany(
                f"INSERT INTO photos ({_COLUMNS}, version) VALUES ({_MARKS}, {VERSION_OF_NOW}) "
                f"{_REPLACING}",
                rows,
            )
            for number, place, size, mtime_ns in moves:
                connection.execute("DELETE FROM photos WHERE path = ? AND id != ?", (place, number))
                # A photo without a date of its own is dated by its file, and follows it.
                connection.execute(
                    "UPDATE photos SET taken = CASE WHEN taken = mtime_ns / 1e9 THEN ?4 / 1e9 "
                    "ELSE taken END, path = ?2, size = ?3, mtime_ns = ?4 WHERE id = ?1",
                    (number, place, size, mtime_ns),
                )
            connection.executemany(
                "DELETE FROM photos WHERE id = ?", [(int(number),) for number in remove]
            )

    def put_with_ids(self, block: Block) -> None:
        """Put photos under ids of their own, in one commit; what has one's id or path goes."""
        rows = [
            (number, *row_of(photo, self.model.dim))
            for number, photo in zip(block.ids, block.photos, strict=True)
        ]
        with self._changing() as connection:
            connection.executemany(
                "DELETE FROM photos WHERE id = ? OR path = ?", [row[:2] for row in rows]
            )
            try:
                connection.executemany(
                    f"INSERT INTO photos (id, {_COLUMNS}, version) "
                    f"VALUES (?, {_MARKS}, {VERSION_OF_NOW})",
                    rows,
                )
            except sqlite3.IntegrityError as error:
                raise DataError(
                    f"an id or a path stands twice among photos for {one_line(self.path)}: give "
                    "each once"
                ) from error

    def reserve_ids(self, count: int) -> int:
        """The first of so many ids in a row that nobody had and nobody else will be given."""
        with self._transaction() as connection:
            last = _last_id(connection)
            _spare(connection, last + count)
        return last + 1

    def spare_ids(self, last: int) -> None:
        """Let the ids up to ``last`` be given to no photo."""
        with self._transaction() as connection:
            _spare(connection, last)

    def write_note(self, name: str, text: str) -> None:
        """Note a text in the gallery under a name, in place of what was noted before."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_NOTE + name, text))

    def successor(self, model: Model) -> Self:
        """The file beside this one that is to take its place: one that was left, or a new one."""
        path = beside(self.path, REBUILDING)
        if os.path.lexists(path):
            left = type(self).open(path, writable=True)
            if (left.model.fingerprint, left.model.dim) == (model.fingerprint, model.dim):
                return left
            left.close()
            remove_database(path)
        return type(self).create(path, model)

    def take_over(self, other: Path) -> None:
        """Become another gallery that nobody writes, in one commit; known paths keep their ids."""
        with self._writing, told(self.path), SqliteStore.open(other, writable=True) as new:
            writer = self._writable()
            writer.execute("ATTACH ? AS new", (f"{new.path.as_uri()}?mode=rw",))
            try:
                with self._changing() as connection:
                    connection.execute(
                        "DELETE FROM photos WHERE path NOT IN (SELECT path FROM new.photos)"
                    )
                    connection.execute(
                        f"INSERT INTO photos ({_COLUMNS}, version) SELECT {_COLUMNS}, "
                        f"{VERSION_OF_NOW} FROM new.photos WHERE TRUE ORDER BY id {_REPLACING}"
                    )
                    write_model(connection, new.model)
                    connection.execute(f"DELETE FROM meta WHERE key GLOB '{_NOTE}*'")
                    connection.execute(
                        f"INSERT INTO meta SELECT * FROM new.meta WHERE key GLOB '{_NOTE}*'"
                    )
            finally:
                writer.execute("DETACH new")
            self.model = new.model
        remove_database(other)

    @classmethod
    def write_apart(cls, path: Path, dim: int, block: Block) -> list[str]:  # noqa: ARG003
        """Refuse: a file has one writer at a time."""
        _refuse_cluster(path)

    def commit(self, written: Sequence[str], *, remove: Sequence[int] = ()) -> None:  # noqa: ARG002
        """Refuse: a file has one writer at a time."""
        _refuse_cluster(self.path)

    # Upkeep

    @classmethod
    def problems(
        cls, path: Path, watched: Watched, *, alone: bool, photos: bool
    ) -> Iterator[Problem]:
        """What is wrong with a gallery; nothing changes before it is mended."""
        yield from checks.problems(cls, path, watched, alone=alone, photos=photos)

    @classmethod
    def write_copy(cls, source: Store, target: Path, watched: Watched) -> Digest:
        """Make a gallery file of another's photos, whole and read again, or not at all."""
        refuse_existing(target)
        part = beside(target, PART)
        with sole_indexer(target):
            refuse_existing(target)
            try:
                with _blamed_on(target):
                    remove_database(part)  # what a kill left
                    digest = Digest()
                    with cls.create(part, source.model) as copy:
                        for block in passing(source, digest, watched):
                            copy.put_with_ids(block)
                        copy.spare_ids(max(source.last_id(), digest.last_id))
                        for name, text in source.notes().items():
                            copy.write_note(name, text)
                    with cls.open(part) as copy:
                        check_equal(copy, digest, watched)
                    put_in_place(part, target)
            finally:
                remove_database(part)
        return digest

    def compact(self, watched: Watched) -> Compacted:
        """Write the file anew, for which there must be room."""
        begun = time.monotonic()
        SqliteStore.open(self.path, writable=True).close()  # which says what it is
        with sole_indexer(self.path):
            before = self._bytes()
            watched.progress("writing the file anew")
            try:
                with told(self.path), closing(open_to_write(self.path)) as connection:
                    with watched.interrupting(connection):
                        connection.execute("VACUUM")
                    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
                    is_read = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except DataError as error:
                if _is_of_full_disk(error):
                    raise DataError(
                        f"the disk is full: {one_line(self.path)} is as it was; make room, of "
                        f"which compacting needs {before:,} bytes for a while"
                    ) from error
                raise
            after = self._bytes()
        done = ["wrote the file anew"]
        if is_read:
            done.append(
                "others read the old one just now: it shrinks when the next writer closes it"
            )
        return Compacted(before, after, tuple(done), time.monotonic() - begun)

    def build_index(self, recall: float, kind: str, watched: Watched) -> None:
        """Build the index for approximate search beside the file."""
        if self._identity() is None:  # made by an earlier release
            SqliteStore.open(self.path, writable=True).close()
        build_beside(self, self._identity(), recall, kind, watched)

    def index_state(self) -> IndexState | None:
        """The index for approximate search; None where there is none that serves."""
        return self._current.state()

    def is_index_due(self, least: int = APPROXIMATE_FROM) -> bool:
        """Whether the index is to be built, or built anew, without being asked."""
        photos = self.count()
        if photos < least:
            return False
        state = self.index_state()
        return state is None or state.behind > _DUE * photos

    def size(self) -> Size:
        """What the file takes, with its log, and the caches beside it."""
        caches = {
            "approximate": folder_of(self.path),
            "thumbnails": beside(self.path, checks.THUMBNAILS),
        }
        sizes = {name: _bytes_below(cache) for name, cache in caches.items()}
        return Size(self._bytes(), {name: size for name, size in sizes.items() if size})

    def _bytes(self) -> int:
        return _bytes_below(self.path) + _bytes_below(beside(self.path, LOG))

    def _identity(self) -> str | None:
        with self._reading() as connection:
            return read_identity(connection)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connections.reading() as connection:
            self.check_not_rebuilt(read_meta(connection)[0])
            yield connection

    def _writable(self) -> sqlite3.Connection:
        if self._writer is None:
            raise DataError(f"gallery {one_line(self.path)} was opened for reading alone")
        return self._writer

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Let several changes become one commit; after an error none of them has happened."""
        with self._writing, told(self.path):
            writer = self._writable()
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that changes photos."""
        with self._transaction() as connection:
            yield connection
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")


def _last_id(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'photos'").fetchone()
    if row is not None and not isinstance(row[0], int):
        raise sqlite3.DatabaseError("its last id is no number")
    return 0 if row is None else int(row[0])


def _spare(connection: sqlite3.Connection, last: int) -> None:
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'photos' AND seq < ?", (last,))
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'photos', ? "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'photos')",
        (last,),
    )


def _refuse_cluster(path: Path) -> NoReturn:
    raise ConfigError(
        "a cluster writes a Lance gallery, whose name ends in .lance, and not "
        f"{one_line(location(path))}: give --gallery NAME.lance; `msedge gallery copy` brings over "
        "what another holds"
    )


@contextmanager
def _blamed_on(target: Path) -> Iterator[None]:
    """Say of a failure what was not made because of it."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {one_line(target)} ({error.strerror}): choose another place"
        ) from error
    except DataError as error:
        if _is_of_full_disk(error):
            raise DataError(
                f"the disk is full: make room for {one_line(target)}, or copy to another disk"
            ) from error
        raise


def _is_of_full_disk(error: DataError) -> bool:
    return getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _bytes_below(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 where there is none."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
