"""The gallery: one SQLite file that holds what is known of every photo.

It is the truth; anything else (thumbnails, an index for approximate search) is a cache beside it.
SQLite's write-ahead log lets any number of processes read while one writes, and leaves the last
commit whole after a kill. Tested in ``tests/search/test_gallery_file.py``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.approximate_view import CurrentVectors
from msedge.search.encoder import Encoder
from msedge.search.filters import Filters
from msedge.search.gallery_connections import (
    Connections,
    check_file,
    open_to_write,
    remove_database,
    told,
)
from msedge.search.gallery_reads import (
    Changes,
    count_changes,
    decoded,
    joined,
    read_blocks,
    read_changes,
    read_folders,
    read_ids,
    read_photos,
    read_vectors,
)
from msedge.search.gallery_rows import (
    Model,
    NewPhoto,
    Photo,
    Place,
    new_photo_of_row,
    path_of,
    row_of_photo,
    stored_path,
)
from msedge.search.gallery_schema import (
    bring_up_to_date,
    read_identity,
    read_meta,
    write_model,
    write_schema,
)
from msedge.search.gallery_view import GalleryView
from msedge.search.gallery_writes import COLUMNS, move, put, put_with_ids, take_all
from msedge.search.model_check import check_not_rebuilt, check_same_model
from msedge.search.store import Block, Ids, View

__all__ = ["GalleryFile", "Model", "NewPhoto", "Photo"]


class GalleryFile:
    """A gallery's photos and their vectors, by rising id.

    Reading is safe from any number of threads; writing is for one at a time. Make one with
    :meth:`create` or :meth:`open`, and use it as a context manager or :meth:`close` it.

    Every method raises :class:`~msedge.errors.DataError` for a file that cannot be read or written,
    and the reading ones :class:`~msedge.errors.WeightsError` when the gallery has meanwhile been
    rebuilt with another model.
    """

    def __init__(self, path: Path, *, writable: bool, exact: bool = False) -> None:
        """Open a gallery; see :meth:`open`."""
        self.path = Path(os.path.abspath(path))  # noqa: PTH100
        check_file(self.path)
        self._connections = Connections(self.path)
        self._writer: sqlite3.Connection | None = None
        self._writing = threading.RLock()
        self._depth = 0
        self._current = CurrentVectors(self, exact=exact)
        with self._connections.reading() as connection:
            self.model = read_meta(connection)[0]
        if writable:
            with told(self.path):
                self._writer = open_to_write(self.path)
                bring_up_to_date(self._writer)

    @classmethod
    def create(cls, path: Path, model: Model) -> Self:
        """Make an empty gallery, open for writing.

        It appears whole: a kill leaves no half-made file of that name. One process at a time may
        make it.

        Args:
            path: where; its folder is made when it is missing.
            model: what makes the vectors.

        Raises:
            DataError: a file of that name is there, or none can be written.
        """
        if os.path.lexists(path):
            raise DataError(f"{one_line(path)} is there already: name another file to make")
        new = Path(os.path.abspath(path))  # noqa: PTH100
        new = new.with_name(new.name + "-new")  # what a kill left goes with the next try
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
        """Open a gallery.

        Args:
            path: the file. To read it, neither it nor its folder need be writable, and another
                process may be writing it.
            writable: whether photos will be put, moved or removed.
            exact: whether views leave the approximate index beside it alone.

        Raises:
            DataError: it is missing, not a gallery, of a newer schema, or damaged. The file is left
                as it is.
        """
        return cls(path, writable=writable, exact=exact)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was committed stays, and nothing else."""
        self._connections.close()
        if self._writer is not None:
            self._writer.close()

    def check_model(self, encoder: Encoder) -> None:
        """Refuse an encoder whose vectors do not compare with the gallery's.

        Raises:
            WeightsError: its fingerprint is another; the message says the ways out.
        """
        check_same_model(self.path, self.model, encoder)

    def count(self) -> int:
        """How many photos there are."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM photos").fetchone()[0])

    def version(self) -> int:
        """A number that rises with every commit that changes photos, whichever process made it."""
        with self._connections.reading() as connection:
            return self._checked_version(connection)

    def identity(self) -> str | None:
        """What tells this gallery from another of the same name, whatever it holds.

        None for a file that an earlier release made and this one has not written to.
        """
        with self._connections.reading() as connection:
            return read_identity(connection)

    def view(self, last: View | None = None) -> View:
        """The gallery as it is now; the last view where nothing has changed since."""
        before = last.vectors if isinstance(last, GalleryView) else None
        vectors = self._current.read(before)
        return last if last is not None and vectors is before else GalleryView(self, vectors)

    def is_current(self, view: View) -> bool:
        """Whether :meth:`view` would give the same view again."""
        return isinstance(view, GalleryView) and self._current.is_still(view.vectors)

    def vectors(self) -> tuple[Ids, npt.NDArray[np.float16]]:
        """All vectors.

        Returns:
            The photos' ids ``(N,)``, rising, and their vectors ``(N, dim)``, of length 1 but for
            rounding.
        """
        with self._reading() as connection:
            return read_vectors(connection, self.model.dim)

    def changes(self, since: int, *, most: int) -> Changes | None:
        """The photos that were put or removed after a version.

        Args:
            since: a version that the gallery has had.
            most: photos.

        Returns:
            None where there are more than that, or the file does not tell: one that an earlier
            release made and this one has not written to.
        """
        with self._connections.reading() as connection:
            version = self._checked_version(connection)
            return read_changes(connection, self.model.dim, version, since, most)

    def changed(self, since: int) -> int | None:
        """How many photos were put or removed after a version; None where the file cannot tell."""
        with self._connections.reading() as connection:
            return count_changes(connection, self._checked_version(connection), since)

    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, without ids that are not there; None for all, by id."""
        with self._reading() as connection:
            return read_photos(connection, ids)

    def blocks(self, rows: int = 4096) -> Iterator[Block]:
        """All photos with their vectors, so many at a time, by rising id, of one commit."""
        with self._reading() as connection:
            yield from read_blocks(connection, self.model.dim, rows)

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
        """The first photo of some content, with its vector; None where there is none.

        Within a transaction it sees the changes that are not committed yet.
        """
        with self.transaction() as connection:
            row = connection.execute(
                f"SELECT vector, {COLUMNS} FROM photos WHERE content_hash = ? ORDER BY id",
                (content_hash,),
            ).fetchone()
            return (
                None
                if row is None
                else new_photo_of_row(row[1:-1], decoded(joined(row[:1]), 1, self.model.dim)[0])
            )

    def ids(self, filters: Filters) -> npt.NDArray[np.int64]:
        """The ids ``(M,)`` of the photos that match, rising."""
        with self._reading() as connection:
            return read_ids(connection, filters)

    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""
        with self._reading() as connection:
            return read_folders(connection)

    def put(self, photos: Sequence[NewPhoto]) -> None:
        """Add photos; one whose path is known replaces what was known of it, and keeps its id.

        Raises:
            ShapeError: a vector is not as the gallery's model makes it.
        """
        with self.transaction() as connection:
            put(connection, [row_of_photo(photo, self.model.dim) for photo in photos])

    def put_with_ids(self, block: Block) -> None:
        """Add photos that have ids already, as those of another gallery.

        Raises:
            DataError: an id or path is there already.
        """
        rows = [
            (number, *row_of_photo(photo, self.model.dim))
            for number, photo in zip(block.ids, block.photos, strict=True)
        ]
        with self.transaction() as connection:
            try:
                put_with_ids(connection, rows)
            except sqlite3.IntegrityError as error:
                raise DataError(
                    f"gallery {one_line(self.path)} holds one of these photos already: put them "
                    "into an empty gallery"
                ) from error

    def remove(self, ids: Sequence[int]) -> None:
        """Remove photos; their ids are not given to others."""
        with self.transaction() as connection:
            connection.executemany(
                "DELETE FROM photos WHERE id = ?", [(int(number),) for number in ids]
            )

    def move(self, id: int, path: Path, mtime_ns: int) -> None:
        """Say that a photo lies elsewhere; what is known of that place is replaced.

        Args:
            id: the photo's.
            path: where it lies now, absolute; its own path for one that was only touched.
            mtime_ns: when the file there was last changed, in nanoseconds of Unix time.
        """
        with self.transaction() as connection:
            move(connection, int(id), stored_path(path), int(mtime_ns))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Let several changes become one commit; after an error none of them has happened.

        Raises:
            DataError: the gallery was opened for reading.
        """
        with self._writing, told(self.path):
            if self._writer is None:
                raise DataError(f"gallery {one_line(self.path)} was opened for reading alone")
            if self._depth == 0:
                self._writer.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._writer
                if self._depth == 1:
                    self._commit(self._writer)
            except BaseException:
                if self._depth == 1 and self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def take_over(self, other: Path) -> None:
        """Become another gallery, in one commit: its model, its photos, and no others.

        Whoever reads this one meanwhile sees it whole, before or after. A photo keeps its id.

        Args:
            other: a gallery that nobody writes.
        """
        with self._writing, told(self.path), GalleryFile.open(other) as new:
            if self._writer is None:
                raise DataError(f"gallery {one_line(self.path)} was opened for reading alone")
            self._writer.execute("ATTACH ? AS new", (f"{new.path.as_uri()}?mode=rw",))
            try:
                with self.transaction() as connection:
                    take_all(connection)
                    write_model(connection, new.model)
            finally:
                self._writer.execute("DETACH new")
            self.model = new.model

    @staticmethod
    def _commit(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")
        connection.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connections.reading() as connection:
            self._checked_version(connection)
            yield connection

    def _checked_version(self, connection: sqlite3.Connection) -> int:
        model, version = read_meta(connection)
        check_not_rebuilt(self.path, self.model, model)
        return version
