"""A gallery as it is stored: everything that can be done to one, wherever it lies.

A store says what photos there are; a view is the store as it was at one moment, and is what one
search looks through. :mod:`.sqlite` is one file for one machine, :mod:`.lance` a dataset for many.
Nothing outside this folder asks which one it holds: what only one of them can do, the other refuses
in a line that says what to do instead. Tested in ``tests/search/stores/``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

from msedge.data.images import one_line
from msedge.errors import DataError, WeightsError
from msedge.search.encoder import Encoder
from msedge.search.filters import Filters
from msedge.search.locations import is_remote, location
from msedge.search.photo import STORED_VECTOR, Block, Digest, NewPhoto, Photo, Place
from msedge.search.ranking import Candidates, Embeddings, Found, found
from msedge.search.stores.reports import (
    Compacted,
    IndexState,
    Model,
    Problem,
    Size,
    Statistics,
    Watched,
    examples,
)

APPROXIMATE_FROM = 1_000_000
"""Photos from which a gallery gets an approximate index without being asked.

Below that, exact search answers within a tenth of a second: 39 ms for a million vectors of 128
numbers (``benchmarks/query_cost.py``), and twice that for 256.
"""

RECALL = 0.99
"""The share of the first 20 photos that an approximate index is to find, unless told otherwise."""

WIDEST = 65_536
"""Of a model's vectors: many times what any is trained with."""

REBUILDING = "-rebuild"
"""What the name of a gallery ends in that is to take the place of another."""

AUTO = "auto"
EMBEDS_AGAIN = "the next `msedge index` reads these photos again"

_ROWS = 4096
_FOLDERS = 10


class MissingGalleryError(DataError):
    """There is no gallery of that name."""


def not_a_gallery(path: Path) -> str:
    """The message for something else that has the name."""
    return (
        f"{one_line(location(path))} is not a gallery: name one that `msedge index` made, or "
        "another file to make one"
    )


class Vectors(Protocol):
    """The vectors of one moment: in memory, or behind an index."""

    @property
    def version(self) -> int:
        """Of the store that they were read from."""

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""

    def nearest(self, query: Embeddings, depth: int, filters: Filters | None) -> Candidates:
        """The first so many photos that match; fewer only where there are no more."""


@dataclass(frozen=True, slots=True)
class View:
    """A gallery as it was at one moment. Any number of threads may search it.

    Attributes:
        vectors: of that moment.
        photos: gives photos in the order of the ids asked for; ids that have gone are left out.
    """

    vectors: Vectors
    photos: Callable[[Sequence[int]], list[Photo]]

    @property
    def version(self) -> int:
        """Of the store that it was read from."""
        return self.vectors.version

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""
        return self.vectors.vector(photo)

    def search(
        self,
        query: Embeddings,
        k: int,
        *,
        filters: Filters | None = None,
        without: Sequence[int] = (),
        together: bool = True,
    ) -> list[Found]:
        """The photos nearest to a query.

        Args:
            query: a unit vector ``(dim,)``.
            k: photos wanted, at least 1; groups of them where ``together``.
            filters: which photos count; its folder is absolute.
            without: ids of photos that do not count, nor do their near-duplicates.
            together: whether near-duplicates are one.
        """
        shunned = [vector for photo in without if (vector := self.vector(photo)) is not None]
        return found(
            lambda depth: self.vectors.nearest(query, depth, filters),
            k,
            shunned=shunned,
            together=together,
        )


class Store(ABC):
    """A gallery's photos and vectors. Reading is safe from any number of threads.

    Made by :meth:`create` or :meth:`open`, and used as a context manager or closed by
    :meth:`close`; writing is for one thread at a time. Every method raises
    :class:`~msedge.errors.DataError` for a store that cannot be read or written, and the reading
    ones :class:`~msedge.errors.WeightsError` when another model has made its vectors meanwhile.

    Attributes:
        kind: ``sqlite`` or ``lance``.
        is_shared: whether processes on many machines may write it, each apart
            (:meth:`write_apart`), and its index is its own rather than a cache beside it.
        path: where it lies, absolute.
        model: what made its vectors.
    """

    kind: ClassVar[str]
    is_shared: ClassVar[bool]
    path: Path
    model: Model

    @classmethod
    @abstractmethod
    def create(cls, path: Path, model: Model) -> Self:
        """Make an empty gallery, open for writing. It appears whole, or not at all.

        Raises:
            DataError: something of that name is there, or none can be written.
        """

    @classmethod
    @abstractmethod
    def open(cls, path: Path, *, writable: bool = False, exact: bool = False) -> Self:
        """Open a gallery.

        Args:
            path: where it lies.
            writable: whether it will be changed; one of an earlier release is brought up to date.
            exact: whether views search exactly, whatever index there is.

        Raises:
            DataError: it is missing, not a gallery, of a newer release, or damaged.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the files; what was committed stays, and nothing else."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Reading

    @abstractmethod
    def count(self) -> int:
        """How many photos there are."""

    @abstractmethod
    def version(self) -> int:
        """A number that rises with every change of the photos, whichever process made it."""

    @abstractmethod
    def view(self, last: View | None = None) -> View:
        """The gallery as it is now.

        Args:
            last: an earlier view of this store; it comes back where nothing has changed since.
        """

    @abstractmethod
    def is_current(self, view: View) -> bool:
        """Whether :meth:`view` would give the same view again."""

    @abstractmethod
    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, without ids that are not there; None for all, by id."""

    @abstractmethod
    def blocks(self, rows: int = _ROWS) -> Iterator[Block]:
        """All photos with their vectors, so many at a time, by rising id, of one moment."""

    @abstractmethod
    def id_at(self, path: Path) -> int | None:
        """The id of the photo of an absolute path; None where there is none."""

    @abstractmethod
    def places(self) -> dict[str, Place]:
        """What is known of every path (as text), to compare with the files that are there."""

    @abstractmethod
    def with_content(self, content_hash: str) -> NewPhoto | None:
        """A photo of some content, with its vector: that of the lowest id; None without one."""

    @abstractmethod
    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""

    @abstractmethod
    def notes(self) -> dict[str, str]:
        """All texts that were noted in the gallery, by their names; a copy takes them over."""

    # Writing

    @abstractmethod
    def change(
        self,
        *,
        put: Sequence[NewPhoto] = (),
        move: Sequence[tuple[int, Path, int, int]] = (),
        remove: Sequence[int] = (),
    ) -> None:
        """Change photos in one commit, which happens whole or not at all.

        Args:
            put: photos; one whose path is known replaces what was known of it, and keeps its id.
            move: id, path, ``size`` and ``mtime_ns`` of photos that lie elsewhere now, or were only
                touched; what is known of that place is replaced. A photo within a tar or Parquet
                file has the size of that file, so that it may be another though the content is not.
            remove: ids; they are not given to others.

        Raises:
            ShapeError: a vector is not as the gallery's model makes it.
        """

    @abstractmethod
    def put_with_ids(self, block: Block) -> None:
        """Put photos under ids of their own, in one commit; what has one's id or path goes.

        Raises:
            ShapeError: a vector is not as the gallery's model makes it.
            DataError: an id or path stands twice in the block.
        """

    @abstractmethod
    def reserve_ids(self, count: int) -> int:
        """The first of so many ids in a row that nobody had and nobody else will be given."""

    @abstractmethod
    def last_id(self) -> int:
        """The largest id that was ever given, 0 before the first."""

    @abstractmethod
    def spare_ids(self, last: int) -> None:
        """Let the ids up to ``last`` be given to no photo."""

    @abstractmethod
    def write_note(self, name: str, text: str) -> None:
        """Note a text in the gallery under a name, in place of what was noted before."""

    @abstractmethod
    def successor(self, model: Model) -> Self:
        """The gallery beside this one that is to take its place, open for writing.

        Returns:
            What an earlier run left of it, where the same model made that; else an empty one.

        Raises:
            ConfigError: this kind cannot.
        """

    @abstractmethod
    def take_over(self, other: Path) -> None:
        """Become another gallery of the same kind, in one commit: its model, photos, no others.

        Whoever reads this one meanwhile sees it whole, before or after. A photo keeps its id. The
        other is removed then.

        Raises:
            ConfigError: this kind cannot.
        """

    # Writing from many machines

    @classmethod
    @abstractmethod
    def write_apart(cls, path: Path, dim: int, block: Block) -> list[str]:
        """Write photos beside a gallery's others, on any machine; nobody sees them yet.

        Args:
            path: the gallery, which is there.
            dim: width of the vectors.
            block: photos whose ids were reserved for them.

        Returns:
            What :meth:`commit` takes.

        Raises:
            ConfigError: this kind has one writer at a time.
        """

    @abstractmethod
    def commit(self, written: Sequence[str], *, remove: Sequence[int] = ()) -> None:
        """Make what was written apart visible, and photos vanish, in one commit.

        Raises:
            DataError: another process has changed photos since this one read :meth:`places`:
                nothing is committed.
            ConfigError: this kind has one writer at a time.
        """

    # Upkeep

    @classmethod
    @abstractmethod
    def problems(
        cls, path: Path, watched: Watched, *, alone: bool, photos: bool
    ) -> Iterator[Problem]:
        """What is wrong with a gallery, which may be damaged; nothing changes before it is mended.

        Args:
            path: whole.
            watched: told how far it is.
            alone: whether the caller keeps other indexers out.
            photos: whether the photos' files are looked for, too.

        Raises:
            DataError: there is none, it is another program's or a later release's, or it may not be
                read.
        """

    @classmethod
    @abstractmethod
    def write_copy(cls, source: Store, target: Path, watched: Watched) -> Digest:
        """Make a gallery of this kind of another's photos, whole and read again, or not at all.

        Args:
            source: a gallery of any kind; it may be in use.
            target: where to, whole.
            watched: told how far it is.

        Returns:
            The digest of both.

        Raises:
            DataError: something of that name is there, or it cannot be written.
        """

    @abstractmethod
    def compact(self, watched: Watched) -> Compacted:
        """Give back the room of what was removed; others may search meanwhile.

        Raises:
            DataError: the disk is full, or another process writes the gallery.
            StoppedError: it was asked to stop; everything is as it was, or as it was to be.
        """

    @abstractmethod
    def build_index(self, recall: float, kind: str, watched: Watched) -> None:
        """Build the index for approximate search, in place of the one that is there.

        Args:
            recall: the share of the true first 20 photos that a search is to find, in (0, 1).
            kind: ``hnsw``, ``ivf-sq``, ``ivf-pq``, or :data:`AUTO` to choose.
            watched: told how far it is.

        Raises:
            DataError: another process builds it, or it cannot be written.
            ConfigError: no such kind, or not here.
            StoppedError: it was asked to stop; the earlier index stays.
        """

    @abstractmethod
    def index_state(self) -> IndexState | None:
        """The index for approximate search; None where there is none that serves."""

    @abstractmethod
    def is_index_due(self, least: int = APPROXIMATE_FROM) -> bool:
        """Whether the index is to be built, or built anew, without being asked.

        Args:
            least: photos from which a gallery gets one.
        """

    @abstractmethod
    def size(self) -> Size:
        """What the gallery takes on disk."""

    # What is the same for all

    def note(self, name: str) -> str:
        """A text that was noted in the gallery under a name; empty where none was."""
        return self.notes().get(name, "")

    def check_model(self, encoder: Encoder) -> None:
        """Refuse an encoder whose vectors do not compare with the gallery's.

        Raises:
            WeightsError: its fingerprint is another; the message says the ways out.
        """
        model = self.model
        if (encoder.fingerprint, encoder.dim) != (model.fingerprint, model.dim):
            raise WeightsError(
                f"gallery {one_line(location(self.path))} was made by other weights "
                f"({one_line(model.name)}, {one_line(model.fingerprint[:12])}) than these "
                f"({one_line(encoder.name)}, {encoder.fingerprint[:12]}): use --model with those, "
                "index into another gallery with `msedge index --gallery OTHER`, or embed it anew "
                "with `msedge index --rebuild`"
            )

    def check_not_rebuilt(self, now: Model) -> None:
        """Refuse to go on where another model has made the vectors meanwhile.

        Raises:
            WeightsError: the fingerprints differ.
        """
        if (now.fingerprint, now.dim) != (self.model.fingerprint, self.model.dim):
            raise WeightsError(
                f"gallery {one_line(location(self.path))} has been rebuilt with other weights "
                f"({one_line(now.name)}) while it was open: open it again"
            )

    def statistics(self, watched: Watched) -> Statistics:
        """Count what the gallery holds, and what lies beside it.

        Raises:
            StoppedError: it was asked to stop.
        """
        size = self.size()
        counted = Statistics(
            gallery=location(self.path),
            kind=self.kind,
            model=self.model,
            version=self.version(),
            bytes_a_vector=self.model.dim * STORED_VECTOR.itemsize,
            bytes_on_disk=size.on_disk,
            bytes_of_caches=size.caches,
            lance=size.parts,
        )
        _count_photos(self, counted, watched)
        counted.approximate = self.index_state()
        return counted


def _count_photos(store: Store, counted: Statistics, watched: Watched) -> None:
    orientations = Counter({"landscape": 0, "portrait": 0, "square": 0})
    folders: Counter[Path] = Counter()
    contents: set[int] = set()
    first, last = float("inf"), float("-inf")
    total = store.count()
    for block in store.blocks():
        for photo in block.photos:
            orientations[_orientation(photo)] += 1
            folders[photo.path.parent] += 1
            contents.add(hash(photo.content_hash))  # 64 bits: two in a billion photos may meet
            first, last = min(first, photo.taken), max(last, photo.taken)
        counted.photos += len(block.ids)
        watched.progress("counting photos", counted.photos, max(total, counted.photos))
    counted.orientations = dict(orientations)
    most = sorted(folders.items(), key=lambda item: (-item[1], os.fsencode(item[0])))
    counted.folders = [(location(folder), count) for folder, count in most[:_FOLDERS]]
    counted.folder_count = len(folders)
    counted.same_content = counted.photos - len(contents)
    counted.taken = (first, last) if counted.photos else None


def _orientation(photo: NewPhoto) -> str:
    if photo.width == photo.height:
        return "square"
    return "landscape" if photo.width > photo.height else "portrait"


def problems_of_files(store: Store, watched: Watched) -> Iterator[Problem]:
    """Photos whose file is missing or another than when it was indexed.

    Photos in an object store, or within a tar or Parquet file, are not looked at.
    """
    missing: list[Path] = []
    changed: list[Path] = []
    elsewhere = done = 0
    total = store.count()
    for block in store.blocks():
        for photo in block.photos:
            if is_remote(photo.path) or _is_within_a_file(photo.path):
                elsewhere += 1
                continue
            try:
                status = photo.path.stat()
            except OSError:
                missing.append(photo.path)
                continue
            if (status.st_size, status.st_mtime_ns) != (photo.size, photo.mtime_ns):
                changed.append(photo.path)
        done += len(block.ids)
        watched.progress("looking for files", done, total)
    again = "`msedge index` with their folder brings the gallery up to date"
    if missing:
        what = f"{len(missing):,} photos whose file is not there ({examples(missing)})"
        yield Problem.found("missing", what, len(missing), again)
    if changed:
        what = f"{len(changed):,} photos whose file has changed ({examples(changed)})"
        yield Problem.found("changed", what, len(changed), again)
    if elsewhere:
        what = f"{elsewhere:,} photos in archives or an object store, which are not looked at"
        yield Problem.noted("elsewhere", what, elsewhere, "`msedge index` looks at them")


def _is_within_a_file(path: Path) -> bool:
    return any(part.suffix in (".tar", ".parquet") and part.is_file() for part in path.parents)
