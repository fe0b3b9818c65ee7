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
from typing import ClassVar, Protocol, Self

from msedge.data.images import one_line
from msedge.errors import DataError, WeightsError
from msedge.models.bank import Bank, hubness
from msedge.search.encoder import Encoder
from msedge.search.filters import Filters
from msedge.search.locations import location
from msedge.search.photo import (
    STORED_VECTOR,
    Block,
    Digest,
    NewPhoto,
    Photo,
    Place,
    Reals,
    Vector,
)
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

RECALL = 0.99  # share of the first 20 photos that an index is to find, unless told otherwise
WIDEST = 65_536  # numbers of a vector: many times what any model is trained with
REBUILDING = "-rebuild"  # ends the name of a gallery that is to take the place of another
RESTORING = "-restoring"  # likewise, where that is a backup
AUTO = "auto"
HUBS = "hubs"
"""The note that says of whose drawings the photos' hubness is: a bank's fingerprint. Where it is
empty, photos have none, or not all of them have it yet, and it does not count."""

Hubness = Callable[[Vector], Reals]  # of float16 vectors (n, dim), as they are stored
EMBEDS_AGAIN = "the next `msedge index` reads these photos again"

_ROWS = 4096
_FOLDERS = 10


class UnreadableError(DataError):
    """A gallery cannot be read or written just now; what it was asked is not the reason."""


class MissingGalleryError(UnreadableError):
    """There is no gallery of that name."""


class ReplacedError(WeightsError):
    """Another gallery lies in the place of the one that was opened, or other vectors in it."""


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

    def nearest(
        self, query: Embeddings, depth: int, filters: Filters | None, hub_share: float = 0.0
    ) -> Candidates:
        """The first so many photos that match; fewer only where there are no more.

        They are ranked by similarity less a share of their hubness.
        """


@dataclass(frozen=True, slots=True)
class View:
    """A gallery as it was at one moment. Any number of threads may search it.

    It gives photos in the order of the ids asked for; ids that have gone are left out.
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
        hub_share: float = 0.0,
    ) -> list[Found]:
        """The ``k`` photos, or groups of near-duplicates together, nearest to a unit vector.

        The filters' folder is absolute. Photos ``without`` which do not count, nor do their
        near-duplicates. So much of a photo's hubness is taken off its similarity.
        """

        def look(depth: int) -> Candidates:
            return self.vectors.nearest(query, depth, filters, hub_share)

        shunned = [vector for photo in without if (vector := self.vector(photo)) is not None]
        return found(look, k, shunned=shunned, together=together)


class Store(ABC):
    """A gallery's photos and vectors. Reading is safe from any number of threads.

    Made by :meth:`create` or :meth:`open`, and used as a context manager or closed by
    :meth:`close`; writing is for one thread at a time. Its path is absolute. It is shared where
    processes on many machines may write it, each apart (:meth:`write_apart`), and its index is its
    own rather than a cache beside it.

    Raises:
        DataError: by every method, where the store cannot be read or written.
        ReplacedError: by those that read, where another gallery lies in its place meanwhile, or
            another model has made the vectors.
        ConfigError: by those that this kind of store cannot do; the message says what to do then.
        StoppedError: by those that take a :class:`~.reports.Watched`, where that was asked to stop;
            everything is as it was before, or as it was to be.
        ShapeError: by those that put photos, where a vector is not as the model makes it.
    """

    kind: ClassVar[str]
    is_shared: ClassVar[bool]
    path: Path
    model: Model
    identity: str | None  # what tells it from others of its name, where it says so

    @classmethod
    @abstractmethod
    def create(cls, path: Path, model: Model) -> Self:
        """Make an empty gallery, open for writing, where nothing is. It appears whole, or not."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path, *, writable: bool = False, exact: bool = False) -> Self:
        """Open a gallery of this release or an earlier one.

        To be written it is brought up to date; to be exact, its views do without an index.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the files; what was committed stays, and nothing else."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # Reading

    @abstractmethod
    def count(self) -> int:
        """How many photos there are."""

    @abstractmethod
    def version(self) -> int:
        """A number that rises with every change of the photos, whichever process made it."""

    @abstractmethod
    def committed(self) -> float | None:
        """When it was last changed, in Unix seconds; None where that costs a request."""

    @abstractmethod
    def view(self, last: View | None = None) -> View:
        """The gallery as it is now; the last view comes back where nothing has changed since."""

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
                file has the size of that file.
            remove: ids; they are not given to others.
        """

    @abstractmethod
    def put_with_ids(self, block: Block) -> None:
        """Put photos under ids of their own, in one commit; what has one's id or path goes.

        Raises a DataError where an id or path stands twice in the block.
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
    def renew_hubness(self, hubness: Hubness, watched: Watched) -> int:
        """Work out the hubness of every photo from its vector, and write what differs.

        It is done in commits of some thousand photos, so that what a kill leaves is gone on with;
        :meth:`bring_hubs` sees to it that nobody uses it meanwhile. Gives how many were written.
        """

    @abstractmethod
    def successor(self, model: Model) -> Self:
        """The gallery beside this one that is to take its place, open for writing.

        It is what an earlier run of the same model left, else empty.
        """

    @abstractmethod
    def take_over(self, other: Path) -> None:
        """Become another gallery of the same kind, in one commit: its model, and its photos alone.

        Whoever reads this one meanwhile sees it whole, before or after. A photo keeps its id. The
        other is removed then.
        """

    # Writing from many machines

    @classmethod
    @abstractmethod
    def write_apart(cls, path: Path, dim: int, block: Block) -> list[str]:
        """Write photos, whose ids were reserved, on any machine; nobody sees them yet.

        What comes back is for :meth:`commit`.
        """

    @abstractmethod
    def commit(self, written: Sequence[str], *, remove: Sequence[int] = ()) -> None:
        """Make what was written apart visible, and photos vanish, in one commit.

        It is refused by a DataError where others changed photos since :meth:`places` was read.
        """

    # Upkeep

    @classmethod
    @abstractmethod
    def problems(
        cls, path: Path, watched: Watched, *, alone: bool, photos: bool
    ) -> Iterator[Problem]:
        """What is wrong with a gallery, which may be damaged; nothing changes before it is mended.

        Alone is a caller who keeps other indexers out; the photos' files may be looked for, too.
        """

    @classmethod
    @abstractmethod
    def write_copy(cls, source: Store, target: Path, watched: Watched) -> Digest:
        """Make a gallery of this kind of another's photos, where nothing is, or nothing at all.

        The copy is read again; what comes back is the digest of both.
        """

    @classmethod
    @abstractmethod
    def put_in_place(cls, part: Path, target: Path) -> Path | None:
        """Give a gallery that nobody has open the name of another one, which others may read.

        That one, damaged or not, is kept under the name that comes back; None where there was none.
        """

    @classmethod
    @abstractmethod
    def remove(cls, path: Path) -> None:
        """Remove a gallery that nobody has open, or what is left of one."""

    @abstractmethod
    def compact(self, watched: Watched) -> Compacted:
        """Give back the room of what was removed. Others may search meanwhile, and not write."""

    @abstractmethod
    def tidy(self) -> list[str]:
        """Upkeep after a run that changed something, where it is due; gives lines for a person.

        It is little work, or none. Others may search and write meanwhile. It raises nothing of
        theirs: what is not done now is done after another run, or by :meth:`compact`.
        """

    @abstractmethod
    def build_index(self, recall: float, kind: str, watched: Watched) -> None:
        """Build the index for approximate search in place of the one that is there.

        The recall is the share of the true first 20 photos that a search is to find; the kind is
        ``hnsw``, ``ivf-sq``, ``ivf-pq``, or :data:`AUTO` to choose.
        """

    @abstractmethod
    def index_state(self) -> IndexState | None:
        """The index for approximate search; None where there is none that serves."""

    @abstractmethod
    def is_index_due(self, least: int = APPROXIMATE_FROM) -> bool:
        """Whether the index of at least so many photos is to be built, or anew, without asking."""

    @abstractmethod
    def size(self) -> Size:
        """What the gallery takes on disk."""

    # What is the same for all

    def note(self, name: str) -> str:
        """A text that was noted in the gallery under a name; empty where none was."""
        return self.notes().get(name, "")

    def bring_hubs(self, bank: Bank | None, watched: Watched) -> int:
        """See to it that the photos' hubness is of a bank; None for no hubs.

        Vectors are read for it, photos are not. Gives how many photos have another hubness now.
        """
        wanted = "" if bank is None else bank.fingerprint_of_drawings
        if self.note(HUBS) == wanted:
            return 0
        self.write_note(HUBS, "")  # that of two banks is not to be mixed
        if bank is None:
            return 0
        renewed = self.renew_hubness(lambda some: hubness(some, bank.drawings), watched)
        self.write_note(HUBS, wanted)
        return renewed

    def check_model(self, encoder: Encoder) -> None:
        """Raise a WeightsError for an encoder whose vectors do not compare with the gallery's."""
        model = self.model
        if (encoder.fingerprint, encoder.dim) != (model.fingerprint, model.dim):
            raise WeightsError(
                f"gallery {one_line(location(self.path))} was made by other weights "
                f"({one_line(model.name)}, {one_line(model.fingerprint[:12])}) than these "
                f"({one_line(encoder.name)}, {encoder.fingerprint[:12]}): use --model with those, "
                "index into another gallery with `msedge index --gallery OTHER`, or embed it anew "
                "with `msedge index --rebuild`"
            )

    def check_same(self, now: Model, identity: str | None) -> None:
        """Raise a ReplacedError where another gallery lies here, or other vectors, than before."""
        same_model = (now.fingerprint, now.dim) == (self.model.fingerprint, self.model.dim)
        # Galleries of early releases get theirs when they are first written to.
        self.identity = self.identity or identity
        if not same_model or identity not in (None, self.identity):
            raise self.replaced_by(now)

    def replaced_by(self, now: Model) -> ReplacedError:
        """What is said where another gallery lies in the place of this one."""
        what = "another gallery was put in its place"
        if now.fingerprint != self.model.fingerprint:
            what = f"it has been rebuilt with other weights ({one_line(now.name)})"
        return ReplacedError(
            f"gallery {one_line(location(self.path))}: {what} while it was open: open it again"
        )

    def statistics(self, watched: Watched) -> Statistics:
        """Count what the gallery holds, and what lies beside it."""
        orientations = {"landscape": 0, "portrait": 0, "square": 0}
        folders: Counter[Path] = Counter()
        contents: set[int] = set()
        first, last = float("inf"), float("-inf")
        photos, total = 0, self.count()
        size, version = self.size(), self.version()
        for block in self.blocks():
            for photo in block.photos:
                longer = "landscape" if photo.width > photo.height else "portrait"
                orientations["square" if photo.width == photo.height else longer] += 1
                folders[photo.path.parent] += 1
                contents.add(hash(photo.content_hash))  # 64 bits: two in a billion photos may meet
                first, last = min(first, photo.taken), max(last, photo.taken)
            photos += len(block.ids)
            watched.progress("counting photos", photos, max(total, photos))
        most = sorted(folders.items(), key=lambda item: (-item[1], os.fsencode(item[0])))
        return Statistics(
            gallery=location(self.path),
            kind=self.kind,
            model=self.model,
            version=version,
            bytes_a_vector=self.model.dim * STORED_VECTOR.itemsize,
            photos=photos,
            taken=(first, last) if photos else None,
            orientations=orientations,
            folders=[(location(folder), count) for folder, count in most[:_FOLDERS]],
            folder_count=len(folders),
            same_content=photos - len(contents),
            bytes_on_disk=size.on_disk,
            bytes_of_caches=size.caches,
            approximate=self.index_state(),
            lance=size.parts,
        )


def problems_of_files(store: Store, watched: Watched) -> Iterator[Problem]:
    """Photos whose file is missing or another than when it was indexed.

    Photos in an object store, or within a tar or Parquet file, are not looked at.
    """
    from msedge.search.sources.contents import is_within  # late: a search needs no sources

    missing: list[Path] = []
    changed: list[Path] = []
    elsewhere = done = 0
    total = store.count()
    for block in store.blocks():
        for photo in block.photos:
            if is_within(photo.path):
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
    for name, paths, is_so in (
        ("missing", missing, "is not there"),
        ("changed", changed, "has changed"),
    ):
        if paths:
            what = f"{len(paths):,} photos whose file {is_so} ({examples(paths)})"
            yield Problem.found(name, what, len(paths), again)
    if elsewhere:
        what = f"{elsewhere:,} photos in archives or an object store, which are not looked at"
        yield Problem.noted("elsewhere", what, elsewhere, "`msedge index` looks at them")
