"""A gallery as one file of SQLite: the truth, beside which everything else is a cache.

SQLite's write-ahead log lets any number of processes read while one writes, and leaves the last
commit whole after a kill. Tested in ``tests/search/stores/``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.locks import sole_indexer
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
from msedge.search.stores.copying import (
    PART,
    cannot_take_place,
    check_equal,
    name_of_kept,
    passing,
    refuse_existing,
)
from msedge.search.stores.reports import Compacted, IndexState, Model, Problem, Size, Watched
from msedge.search.stores.sqlite import checks, connections, file
from msedge.search.stores.sqlite.vectors import CurrentVectors, decoded, folder_of
from msedge.search.stores.store import (
    APPROXIMATE_FROM,
    REBUILDING,
    Hubness,
    Store,
    View,
    not_a_gallery,
)

_IDS_A_QUERY = 500
_DUE = 0.1  # share of the photos that were put or removed since an index was built
_PATIENCE = 500  # milliseconds for readers that are about to end
_LAST_PATIENCE = 5_000  # when a file is to be left whole
_REMOVALS, _REMOVALS_SHARE = 10_000, 4  # beyond a quarter of the photos, readers read all anew
_ROWS_A_COMMIT = 16_384  # whose hubness is renewed
_SAID = f"meta WHERE key IN ('model', 'fingerprint', 'dim') OR key GLOB '{file.NOTE}*'"

_NOW = file.VERSION_OF_NOW
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
        self.path = whole(path)
        file.check_file(self.path)
        self._connections = connections.Connections(self.path)
        self._writer: sqlite3.Connection | None = None
        self._file: tuple[int, ...] = ()  # that is written to
        self._writing = threading.RLock()
        with self._connections.reading() as connection:
            self.model, _, self.identity = file.read_meta(connection)
        self._current = CurrentVectors(self.path, self._reading, exact=exact)
        if writable:
            with file.told(self.path):
                self._file = connections.stamp_of(self.path)[:2]
                self._writer = connections.open_to_write(self.path)
                self._writer.execute("PRAGMA wal_autocheckpoint = 0")  # see :meth:`_empty_log`
                if file.schema_of(self._writer) < file.SCHEMA_VERSION:
                    with self._transaction() as writer:
                        file.bring_up_to_date(writer)

    @classmethod
    def create(cls, path: Path, model: Model) -> Self:
        """Make an empty gallery; its folder is made, too. One process at a time may make it."""
        if os.path.lexists(path):
            raise DataError(f"{one_line(path)} is there already: name another file to make")
        with connections.made_whole(path, PART, "choose a folder that can be written to") as new:
            new.parent.mkdir(parents=True, exist_ok=True)
            new.touch(exist_ok=False)
            with file.told(path), closing(connections.open_to_write(new)) as connection:
                file.write_schema(connection, model)
        return cls(path, writable=True)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False, exact: bool = False) -> Self:
        """Open a gallery. To read it, neither the file nor its folder need be writable."""
        return cls(path, writable=writable, exact=exact)

    def close(self) -> None:
        """Close the file; what was committed stays, and nothing else."""
        if self._writer is not None:
            # What a killed writer left in the log goes into the file, too.
            with suppress(DataError, sqlite3.Error):
                if not connections.is_whole(self.path):
                    self._empty_log(self._writer, _PATIENCE)
            self._close(self._writer)
        self._connections.close()

    # Reading

    def count(self) -> int:
        """How many photos there are."""
        return int(self._rows("SELECT count(*) FROM photos")[0][0])

    def version(self) -> int:
        """A number that rises with every change of the photos, whichever process made it."""
        with self._reading() as connection:
            return file.read_meta(connection)[1]

    def committed(self) -> float:
        """When the file was last changed, in Unix seconds."""
        return connections.stamp_of(self.path)[3] / 1e9

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
            select = f"SELECT id, {file.facts_in(connection)} FROM photos"
            if ids is None:
                return [photo_of(row) for row in connection.execute(f"{select} ORDER BY id")]
            found: dict[int, Photo] = {}
            possible = [int(number) for number in ids if 0 < number <= LARGEST_ID]
            for start in range(0, len(possible), _IDS_A_QUERY):
                some = possible[start : start + _IDS_A_QUERY]
                marks = ", ".join("?" * len(some))
                rows = connection.execute(f"{select} WHERE id IN ({marks})", some)
                found.update((row[0], photo_of(row)) for row in rows)
        return [found[number] for number in ids if number in found]

    def blocks(self, rows: int = 4096) -> Iterator[Block]:
        """All photos with their vectors, so many at a time, by rising id, of one commit."""
        return self._blocks(rows, "ORDER BY id")

    def id_at(self, path: Path) -> int | None:
        """The id of the photo of an absolute path; None where there is none."""
        rows = self._rows("SELECT id FROM photos WHERE path = ?", stored_path(path))
        return int(rows[0][0]) if rows else None

    def places(self) -> dict[str, Place]:
        """What is known of every path (as text), to compare with the files that are there."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT path, id, size, mtime_ns, content_hash FROM photos ORDER BY path"
            )
            return {str(path_of(path)): Place(*row) for path, *row in rows}

    def with_content(self, content_hash: str) -> NewPhoto | None:
        """A photo of some content, with its vector: that of the lowest id; None without one."""
        which = "WHERE content_hash = ? ORDER BY id LIMIT 1"
        found = list(self._blocks(1, which, content_hash))
        return found[0].photos[0] if found else None

    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""
        with self._reading() as connection:
            paths = connection.execute("SELECT path FROM photos")
            counts = Counter(os.path.dirname(os.fsencode(path_of(path))) for (path,) in paths)  # noqa: PTH120
        return [(path_of(folder), count) for folder, count in sorted(counts.items())]

    def notes(self) -> dict[str, str]:
        """All texts that were noted in the gallery, by their names."""
        rows = self._rows("SELECT key, value FROM meta WHERE key GLOB ?", f"{file.NOTE}*")
        return {key.removeprefix(file.NOTE): str(text) for key, text in rows}

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
        with self._transaction(of_photos=True) as connection:
            connection.executemany(
                f"INSERT INTO photos ({_COLUMNS}, version) VALUES ({_MARKS}, {_NOW}) {_REPLACING}",
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
            ids = [(int(number),) for number in remove]
            connection.executemany("DELETE FROM photos WHERE id = ?", ids)

    def put_with_ids(self, block: Block) -> None:
        """Put photos under ids of their own, in one commit; what has one's id or path goes."""
        rows = [
            (number, *row_of(photo, self.model.dim))
            for number, photo in zip(block.ids, block.photos, strict=True)
        ]
        with self._transaction(of_photos=True) as connection:
            known = [row[:2] for row in rows]
            connection.executemany("DELETE FROM photos WHERE id = ? OR path = ?", known)
            try:
                connection.executemany(
                    f"INSERT INTO photos (id, {_COLUMNS}, version) VALUES (?, {_MARKS}, {_NOW})",
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
            connection.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", (file.NOTE + name, text)
            )

    def renew_hubness(self, hubness: Hubness, watched: Watched) -> int:
        """Work out the hubness of every photo from its vector, and write what differs."""
        renewed = done = last = 0
        total = self.count()
        while True:
            watched.progress("working out hubs", done, max(done, total))
            with self._transaction(of_photos=True) as connection:
                rows = connection.execute(
                    "SELECT id, vector, hubness FROM photos WHERE id > ? ORDER BY id LIMIT ?",
                    (last, _ROWS_A_COMMIT),
                ).fetchall()
                if not rows:
                    return renewed
                ids, blobs, before = zip(*rows, strict=True)
                vectors = decoded(blobs, self.model.dim).astype(np.float16)
                pairs = zip(hubness(vectors).tolist(), before, ids, strict=True)
                differing = [(now, at) for now, old, at in pairs if now != old]
                connection.executemany("UPDATE photos SET hubness = ? WHERE id = ?", differing)
            renewed, done, last = renewed + len(differing), done + len(rows), ids[-1]

    def successor(self, model: Model) -> Self:
        """The file beside this one that is to take its place: one that was left, or a new one."""
        path = file.beside(self.path, REBUILDING)
        if os.path.lexists(path):
            left = type(self).open(path, writable=True)
            if (left.model.fingerprint, left.model.dim) == (model.fingerprint, model.dim):
                return left
            left.close()
            file.remove_database(path)
        return type(self).create(path, model)

    def take_over(self, other: Path) -> None:
        """Become another gallery that nobody writes, in one commit; known paths keep their ids."""
        with self._writing, file.told(self.path), self.open(other, writable=True) as new:
            writer = self._writable()
            writer.execute("ATTACH ? AS new", (f"{new.path.as_uri()}?mode=rw",))
            try:
                with self._transaction(of_photos=True) as connection:
                    connection.execute(
                        "DELETE FROM photos WHERE path NOT IN (SELECT path FROM new.photos)"
                    )
                    connection.execute(
                        f"INSERT INTO photos ({_COLUMNS}, version) SELECT {_COLUMNS}, {_NOW} "
                        f"FROM new.photos WHERE TRUE ORDER BY id {_REPLACING}"
                    )
                    connection.execute(f"DELETE FROM {_SAID}")
                    connection.execute(f"INSERT INTO meta SELECT * FROM new.{_SAID}")
            finally:
                writer.execute("DETACH new")
            self.model = new.model
        file.remove_database(other)

    @classmethod
    def write_apart(cls, path: Path, dim: int, block: Block) -> list[str]:  # noqa: ARG003
        """Refuse: a file has one writer at a time."""
        raise ConfigError(
            "a cluster writes a Lance gallery, whose name ends in .lance, and not "
            f"{one_line(location(path))}: give --gallery NAME.lance; `msedge gallery copy` brings "
            "over what another holds"
        )

    def commit(self, written: Sequence[str], *, remove: Sequence[int] = ()) -> None:  # noqa: ARG002
        """Refuse: a file has one writer at a time."""
        self.write_apart(self.path, self.model.dim, Block([], []))

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
        room = f"make room for {one_line(target)}, or copy to another disk"
        with sole_indexer(target), _if_full(target, room):
            refuse_existing(target)
            with connections.made_whole(target, PART, "choose another place") as part:
                digest = Digest()
                with cls.create(part, source.model) as copy:
                    for block in passing(source, digest, watched):
                        copy.put_with_ids(block)
                    copy.spare_ids(max(source.last_id(), digest.last_id))
                    for name, text in source.notes().items():
                        copy.write_note(name, text)
                with cls.open(part) as copy:
                    check_equal(copy, digest, watched)
        return digest

    @classmethod
    def put_in_place(cls, part: Path, target: Path) -> Path | None:
        """Give a gallery file the name of another, which is kept together with its log."""
        kept = name_of_kept(target)
        try:
            connections.settle(target)
            if not os.path.lexists(target):
                connections.put_in_place(part, target)
                return None
            if not target.is_file() or target.is_symlink():
                raise DataError(not_a_gallery(target))
            os.link(target, kept)  # so that the name is never without a gallery
            connections.put_in_place(part, target, kept)
        except OSError as error:
            raise cannot_take_place(target, error) from error
        checks.remove_index_of(target)
        return kept

    @classmethod
    def remove(cls, path: Path) -> None:
        """Remove a gallery file that nobody has open."""
        file.remove_database(path)

    def compact(self, watched: Watched) -> Compacted:
        """Write the file anew, for which there must be room."""
        begun = time.monotonic()
        SqliteStore.open(self.path, writable=True).close()  # which says what it is
        with sole_indexer(self.path):
            before = self._bytes()
            watched.progress("writing the file anew")
            room = (
                f"{one_line(self.path)} is as it was; make room, of which compacting needs "
                f"{before:,} bytes for a while"
            )
            with _if_full(self.path, room), closing(connections.open_to_write(self.path)) as writer:
                with watched.interrupting(writer):
                    writer.execute("VACUUM")
                with writer:  # its pages lie elsewhere now: no log of before is its own
                    writer.execute("BEGIN IMMEDIATE")
                    connections.note_state(writer, self.path)
                writer.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
                is_read = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            after = self._bytes()
        late = "others read the old one just now: it shrinks when the next writer closes it"
        done = ("wrote the file anew", late) if is_read else ("wrote the file anew",)
        return Compacted(before, after, done, time.monotonic() - begun)

    def tidy(self) -> list[str]:
        """Forget old removals, and leave the file whole by itself, so that it can be copied."""
        most = max(_REMOVALS, self.count() // _REMOVALS_SHARE)
        if self._rows("SELECT count(*) FROM removed")[0][0] > most:
            with self._transaction() as connection:
                file.forget_removals(connection, most)
        if connections.is_whole(self.path):
            return []
        self._empty_log(self._writable(), _LAST_PATIENCE)
        if connections.is_whole(self.path):
            return []
        log = one_line(file.of_sqlite(self.path, file.LOG).name)
        return [
            f"others read the gallery all the time: its last changes are still in {log} beside it; "
            "until they end copy it with `msedge gallery copy`, not as a file"
        ]

    def build_index(self, recall: float, kind: str, watched: Watched) -> None:
        """Build the index for approximate search beside the file."""
        with self._reading() as connection:
            is_of_schema_1 = file.read_meta(connection)[2] is None
        if is_of_schema_1:
            SqliteStore.open(self.path, writable=True).close()
        self._current.build(self, recall, kind, watched)

    def index_state(self) -> IndexState | None:
        """The index for approximate search; None where there is none that serves."""
        return self._current.state()

    def is_index_due(self, least: int = APPROXIMATE_FROM) -> bool:
        """Whether the index is to be built, or built anew, without being asked."""
        if (photos := self.count()) < least:
            return False
        state = self.index_state()
        return state is None or state.behind > _DUE * photos

    def size(self) -> Size:
        """What the file takes, with its log, and the caches beside it."""
        caches = {
            "approximate": _bytes_below(folder_of(self.path)),
            "thumbnails": _bytes_below(file.beside(self.path, checks.THUMBNAILS)),
        }
        return Size(self._bytes(), {name: size for name, size in caches.items() if size})

    def _bytes(self) -> int:
        return _bytes_below(self.path) + _bytes_below(file.of_sqlite(self.path, file.LOG))

    def _blocks(self, rows: int, which: str, *values: str) -> Iterator[Block]:
        with self._reading() as connection:
            select = f"SELECT id, vector, {file.facts_in(connection)} FROM photos {which}"
            cursor = connection.execute(select, values)
            while some := cursor.fetchmany(rows):
                vectors = decoded([row[1] for row in some], self.model.dim).astype(np.float16)
                photos = [new_photo_of(row[2:], vectors[at]) for at, row in enumerate(some)]
                yield Block([row[0] for row in some], photos)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connections.reading() as connection:
            file.check_schema(connection, self.path)  # a newer release may have been here meanwhile
            model, _, identity = file.read_meta(connection)
            self.check_same(model, identity)
            yield connection

    def _writable(self) -> sqlite3.Connection:
        if self._writer is None:
            raise DataError(f"gallery {one_line(self.path)} was opened for reading alone")
        return self._writer

    @contextmanager
    def _transaction(self, *, of_photos: bool = False) -> Iterator[sqlite3.Connection]:
        """Let several changes become one commit; after an error none of them has happened."""
        with self._writing, file.told(self.path):
            with self._writable() as writer:
                writer.execute("BEGIN IMMEDIATE")
                file.check_schema(writer, self.path)  # a newer release may have been here meanwhile
                if not self._is_in_place():
                    raise connections.replaced(self.path)
                yield writer
                if of_photos:
                    writer.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")
                connections.note_state(writer, self.path)
            self._empty_log(writer, _PATIENCE)

    def _empty_log(self, writer: sqlite3.Connection, milliseconds: int) -> None:
        """Move the log into the file, unless readers stay in the way for so long.

        So the file is whole by itself but for moments, and can be moved or copied as a file.
        """
        if self._is_in_place():
            writer.execute(f"PRAGMA busy_timeout = {milliseconds}")
            with suppress(sqlite3.Error):  # what was committed is safe in the log
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            writer.execute(f"PRAGMA busy_timeout = {file.SECONDS_TO_WAIT * 1000:.0f}")

    def _is_in_place(self) -> bool:
        """Whether the file that is written to is the one of the gallery's name."""
        try:
            return connections.stamp_of(self.path)[:2] == self._file
        except DataError:
            return False

    def _close(self, writer: sqlite3.Connection) -> None:
        """Close what writes; the log goes into the file only where it is known to be its own."""
        with ExitStack() as held:
            with suppress(DataError):  # the last to be closed would move it without a look
                held.enter_context(self._connections.reading())
            writer.close()


def _last_id(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'photos'").fetchone()
    if row is not None and not isinstance(row[0], int):
        raise sqlite3.DatabaseError("its last id is no number")
    return 0 if row is None else int(row[0])


def _spare(connection: sqlite3.Connection, last: int) -> None:
    last = max(last, _last_id(connection))
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'photos'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('photos', ?)", (last,))


@contextmanager
def _if_full(path: Path, advice: str) -> Iterator[None]:
    """Turn errors into a DataError; say of a full disk what helps."""
    try:
        with file.told(path):
            yield
    except DataError as error:
        if getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise DataError(f"the disk is full: {advice}") from error
        raise


def _bytes_below(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 where there is none."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
