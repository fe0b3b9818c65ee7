"""A gallery as a Lance dataset, which any number of processes on any machines read and change.

Each change of photos is one version of the dataset: whoever reads sees it whole or not at all, and
goes on reading the version it began with. Tested in ``tests/search/stores/test_lance*.py`` and,
beside SQLite, in the other files of that folder.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

import lance
from lance import LanceDataset, LanceOperation
from lance.fragment import FragmentMetadata, LanceFragment

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.search.locations import is_remote, location, whole
from msedge.search.photo import Block, Digest, NewPhoto, Photo, Place, row_of, stored_path
from msedge.search.stores.copying import (
    cannot_take_place,
    is_there,
    name_of_kept,
    refuse_existing,
)
from msedge.search.stores.lance import dataset as stored
from msedge.search.stores.lance.checks import problems_of
from msedge.search.stores.lance.copying import write_copy
from msedge.search.stores.lance.dataset import (
    NEXT_ID,
    NOTE,
    WHOLE,
    literal,
    matching,
    table_of,
    told,
)
from msedge.search.stores.lance.moment import InMemory, Moment, Scanned, index_vectors, tune
from msedge.search.stores.reports import Compacted, IndexState, Model, Problem, Size, Watched
from msedge.search.stores.store import (
    APPROXIMATE_FROM,
    AUTO,
    Hubness,
    Store,
    View,
    not_a_gallery,
)

SECONDS_BETWEEN_LOOKS = 1.0
"""Between two looks for a newer version: an object store bills them, and takes its time."""

IN_MEMORY = 512 * 2**20
"""Bytes up to which vectors, as float32, are held in memory: 524,288 of 256 dimensions."""

KEPT = timedelta(hours=1)
"""How long versions stay that nobody needs: a copy of the whole gallery reads one that long."""

_MANY = 16  # small fragments, or versions, from which on a run's end tidies them
_SMALL = 16_384  # rows: a fragment of fewer is small
_MOST_TIDIED = (
    8 * _SMALL
)  # rows that are written anew after one run: some 80 MB, or a second or two

_ROWS_A_COMMIT = 65_536  # at least, whose hubness is renewed, or a fragment
_TRIES = 50  # at a change that others get in the way of
_UPKEEP_TRIES = 20
_SECONDS_BEFORE_NEXT_TRY = 0.05
_FLOAT32_BYTES = 4
_NO_REBUILDING = (
    "--rebuild is not for a Lance dataset: index into another dataset with --gallery OTHER.lance, "
    "and put it in the place of this one"
)


class LanceStore(Store):
    """A dataset of photos and vectors.

    What another process commits is seen within :data:`SECONDS_BETWEEN_LOOKS`; what this one
    commits, at once.
    """

    kind = "lance"
    is_shared = True

    def __init__(
        self, path: Path, dataset: LanceDataset, *, writable: bool, exact: bool, memory: int
    ) -> None:
        """Take an open dataset; see :meth:`open`."""
        self.path, self._name = path, f"gallery {one_line(location(path))}"
        self.model = stored.read_model(dataset.schema, path)
        self.identity = stored.identity_of(dataset.schema)
        self._dataset: LanceDataset | None = dataset
        self._looked, self._looking = time.monotonic(), threading.Lock()
        self._writable, self._exact, self._memory = writable, exact, memory
        if writable and not stored.is_up_to_date(dataset):
            self._insist(lambda: stored.bring_up_to_date(self._own_dataset()))
        # The version whose photos the writer knows; None when others have changed them since.
        self._known: int | None = self.now().version

    @classmethod
    def create(cls, path: Path, model: Model) -> Self:
        """Make an empty gallery, open for writing, in a folder that is made when it is missing."""
        path = whole(path)
        if not is_remote(path):
            refuse_existing(path)
        empty = stored.schema_of(model).empty_table()
        options = stored.access(path)
        try:
            made = lance.write_dataset(
                empty, location(path), mode="create", storage_options=options
            )
        except OSError as error:
            if stored.is_unanswered(error):
                with told(path):
                    raise
            if "already exists" in str(error):
                raise DataError(is_there(path)) from error
            raise DataError(
                f"cannot write {one_line(location(path))} ({stored.reason(error)}): choose a place "
                "that can be written to"
            ) from error
        return cls(path, made, writable=True, exact=False, memory=IN_MEMORY)

    @classmethod
    def open(
        cls, path: Path, *, writable: bool = False, exact: bool = False, memory: int = IN_MEMORY
    ) -> Self:
        """Open a gallery; where all vectors fit into ``memory`` (bytes) they are searched there."""
        path = whole(path)
        with told(path):
            dataset = stored.open_dataset(path)
            return cls(path, dataset, writable=writable, exact=exact, memory=memory)

    def close(self) -> None:
        """Let go of the dataset; what was committed stays, and nothing else."""
        with self._looking:
            self._dataset = None

    # Reading

    def now(self, *, afresh: bool = False) -> Moment:
        """The gallery as it is; ``afresh``, however recently a newer version was looked for."""
        with self._looking:
            if self._dataset is None:
                raise DataError(f"{self._name} has been closed: open it again")
            if afresh or time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS:
                # Afresh, since what an open dataset remembers may be of one that lay here before.
                latest = stored.open_dataset(self.path)
                self._check_same(latest)
                if latest.version != self._dataset.version:
                    with told(self.path):
                        self._adopt(self._dataset.checkout_version(latest.version))
                self._looked = time.monotonic()
            return Moment(self.path, self._dataset, self.model.dim)

    def _check_same(self, latest: LanceDataset) -> None:
        """Raise a ReplacedError where a dataset is not a later version of the one that is open."""
        model, before = stored.read_model(latest.schema, self.path), self._dataset
        self.check_same(model, stored.identity_of(latest.schema))
        if before is not None and stored.is_before(latest, before):
            raise self.replaced_by(model)

    def _adopt(self, dataset: LanceDataset) -> None:
        self._check_same(dataset)
        self._dataset = dataset

    def count(self) -> int:
        """How many photos there are."""
        return self.now().count()

    def version(self) -> int:
        """The dataset's version, which upkeep raises, too."""
        return self.now().version

    def committed(self) -> float | None:
        """When a version was last written, in Unix seconds; None in an object store."""
        if is_remote(self.path):
            return None
        with told(self.path):
            return (self.path / "_versions").stat().st_mtime

    def view(self, last: View | None = None) -> View:
        """The gallery as it is now; ``last`` comes back where nothing has changed since."""
        moment = self.now()
        if last is not None and last.version == moment.version:
            return last
        if moment.count() * moment.dim * _FLOAT32_BYTES <= self._memory:
            before = last.vectors if last and isinstance(last.vectors, InMemory) else None
            return View(InMemory(moment, before), moment.photos)
        return View(Scanned(moment, None if self._exact else moment.tuning()), moment.photos)

    def is_current(self, view: View) -> bool:
        """Whether :meth:`view` would give the same view again."""
        return view.version == self.version()

    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, without ids that are not there; None for all, by id."""
        return self.now().photos(ids)

    def blocks(self, rows: int = 4096) -> Iterator[Block]:
        """All photos with their vectors, so many at a time, by rising id, of one moment."""
        return self.now(afresh=True).blocks(rows)

    def id_at(self, path: Path) -> int | None:
        """The id of the photo of an absolute path; None where there is none."""
        where = f"path = {literal(stored_path(path))}"
        return min(self.now().table(["id"], where)["id"].to_pylist(), default=None)

    def places(self) -> dict[str, Place]:
        """What is known of every path (as text), to compare with the files that are there."""
        moment = self.now(afresh=True)
        self._known = moment.version
        columns = moment.table(["path", *Place._fields]).columns
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return {os.fsdecode(path): Place(*rest) for path, *rest in rows}

    def with_content(self, content_hash: str) -> NewPhoto | None:
        """A photo of some content, with its vector: that of the lowest id; None without one."""
        where = f"content_hash = {literal(content_hash)}"
        rows = self.now().table(WHOLE, where).sort_by("id").slice(0, 1)
        return next(iter(stored.block_of(rows, self.model.dim).photos), None)

    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""
        paths = self.now().table(["path"])["path"].to_pylist()
        counts = Counter(os.path.dirname(path) for path in paths)  # noqa: PTH120
        return [(Path(os.fsdecode(folder)), count) for folder, count in sorted(counts.items())]

    def notes(self) -> dict[str, str]:
        """All texts that were noted in the gallery, by their names; a copy takes them over."""
        said = self.now(afresh=True).dataset.config()
        return {key[len(NOTE) :]: said[key] for key in said if key.startswith(NOTE)}

    def last_id(self) -> int:
        """The largest id that was ever given, 0 before the first."""
        dataset = self.now(afresh=True).dataset
        with told(self.path):
            return stored.next_id(dataset) - 1

    # Writing

    def change(
        self,
        *,
        put: Sequence[NewPhoto] = (),
        move: Sequence[tuple[int, Path, int, int]] = (),
        remove: Sequence[int] = (),
    ) -> None:
        """Change photos in one commit: put some, then move some, then remove some."""
        self._check_writable()
        dim = self.model.dim
        puts = {row_of(photo, dim)[0]: photo for photo in put}
        moves = [(each[0], stored_path(each[1]), *each[1:]) for each in move]
        moving, removed = {number for number, *_ in moves}, set(map(int, remove))
        touched = {*puts, *(place for _, place, *_ in moves)}
        spare: list[int] = []  # ids that were reserved for new photos, also for the next try

        def plan(dataset: LanceDataset) -> LanceOperation.BaseOperation | None:
            gone = matching(dataset, ["id", "path"], id=moving | removed, path=touched)
            ids = dict(zip(gone["path"].to_pylist(), gone["id"].to_pylist(), strict=True))
            block = stored.block_of(matching(dataset, WHOLE, id=moving), dim)
            after = dict(zip(*block, strict=True))
            unknown = [place for place in puts if place not in ids]
            if (missing := len(unknown) - len(spare)) > 0:
                first = self.reserve_ids(missing)
                spare.extend(range(first, first + missing))
            ids.update(zip(unknown, spare, strict=False))
            after.update((ids[place], photo) for place, photo in puts.items())
            for number, place, path, size, mtime_ns in moves:
                if ids.get(place, number) != number:
                    after.pop(ids.pop(place), None)
                if number in after:
                    ids.pop(stored_path(after[number].path), None)
                    ids[place] = number
                    after[number] = _moved(after[number], path, size, mtime_ns)
            for number in removed:
                after.pop(number, None)
            if not after and not gone.num_rows:
                return None
            rows = table_of(Block(list(after), list(after.values())), dim)
            return stored.change(dataset, stored.write_rows(self.path, dataset, rows), gone)

        if touched or removed:
            self._settle(plan)

    def put_with_ids(self, block: Block) -> None:
        """Put photos under ids of their own, in one commit; what has one's id or path goes."""
        self._check_writable()
        rows = table_of(block, self.model.dim)
        if not rows.num_rows:
            return
        self.spare_ids(max(block.ids))
        new = stored.write_rows(self.path, self.now().dataset, rows)
        keys = {"id": block.ids, "path": rows["path"].to_pylist()}
        self._settle(lambda dataset: stored.change(dataset, new, matching(dataset, **keys)))

    def reserve_ids(self, count: int) -> int:
        """The first of so many ids in a row that nobody had and nobody else will be given."""
        return self._raise_next_id(lambda first: first + count)

    def spare_ids(self, last: int) -> None:
        """Let the ids up to ``last`` be given to no photo."""
        self._raise_next_id(lambda first: max(first, last + 1))

    def write_note(self, name: str, text: str) -> None:
        """Note a text in the gallery under a name, in place of what was noted before."""
        self._check_writable()
        self._settle(lambda _: stored.saying({NOTE + name: text}))

    def renew_hubness(self, hubness: Hubness, watched: Watched) -> int:
        """Work out the hubness of every photo from its vector, and write what differs.

        The column alone is written anew: vectors stay where they lie, and the index knows them.
        """
        self._check_writable()
        done: set[int] = set()  # fragments
        some: list[LanceFragment] = []
        renewed = written = photos = 0

        def plan(dataset: LanceDataset) -> LanceOperation.BaseOperation | None:
            nonlocal some, written
            left = [each for each in dataset.get_fragments() if each.fragment_id not in done]
            some = stored.first_rows(left, _ROWS_A_COMMIT)
            operation, written = stored.renewed_hubness(some, self.model.dim, hubness)
            return operation

        while True:
            watched.progress("working out hubs", photos, max(photos, self.count()))
            self._settle(plan)
            if not some:
                return renewed
            done |= {each.fragment_id for each in some}
            renewed, photos = renewed + written, photos + sum(each.count_rows() for each in some)

    def successor(self, model: Model) -> Self:  # noqa: ARG002
        """Refuse: a dataset is put in another's place by whoever keeps the folder or bucket."""
        raise ConfigError(_NO_REBUILDING)

    def take_over(self, other: Path) -> None:  # noqa: ARG002
        """Refuse, as :meth:`successor` does."""
        raise ConfigError(_NO_REBUILDING)

    @classmethod
    def write_apart(cls, path: Path, dim: int, block: Block) -> list[str]:
        """Write photos beside a gallery's others; gives what to commit, as JSON of a line each."""
        path, rows = whole(path), table_of(block, dim)
        written = stored.write_rows(path, stored.open_dataset(path), rows)
        return [json.dumps(fragment.to_json()) for fragment in written]

    def commit(self, written: Sequence[str], *, remove: Sequence[int] = ()) -> None:
        """Make what was written apart visible, and photos vanish, in one commit.

        Others may compact the gallery or build its index meanwhile, but not change photos since
        this one opened it, read its places or last changed it.
        """
        self._check_writable()
        try:
            new = [FragmentMetadata.from_json(each) for each in written]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError("no fragment of a gallery: commit what write_apart gave") from error

        def plan(dataset: LanceDataset) -> LanceOperation.BaseOperation:
            if self._known is None:
                raise DataError(
                    f"{self._name} was changed by another process meanwhile: start again, one at "
                    "a time"
                )
            return stored.change(dataset, new, matching(dataset, id=list(map(int, remove))))

        if new or len(remove):
            self._settle(plan)

    def _settle(self, plan: Callable[[LanceDataset], LanceOperation.BaseOperation | None]) -> None:
        """Commit what is planned from the newest version; plan again where others were quicker."""

        def step() -> None:
            dataset = self.now(afresh=True).dataset
            if self._known is not None and stored.photos_changed(dataset, self._known):
                self._known = None
            if (operation := plan(dataset)) is None:
                return
            made = LanceDataset.commit(dataset, operation, read_version=dataset.version)
            with self._looking:
                self._adopt(made)
            if self._known is not None:
                self._known = int(made.version)

        self._insist(step, _TRIES)

    def _insist(self, step: Callable[[], object], tries: int = _UPKEEP_TRIES) -> None:
        for tried in range(tries):
            if self._came_through(step):
                return
            time.sleep(random.random() * _SECONDS_BEFORE_NEXT_TRY * (tried + 1))
        raise DataError(
            f"{self._name}: other processes change it all the time: try again when they have ended"
        )

    def _came_through(self, step: Callable[[], object]) -> bool:
        """Whether a step was done; not where another process was quicker."""
        with told(self.path):
            try:
                step()
            except OSError as error:
                # Compacting says so by no class of its own.
                if "concurrent transaction" not in str(error):
                    raise
                return False
        return True

    def _raise_next_id(self, to: Callable[[int], int]) -> int:
        """Move the mark up to which ids are spoken for; gives where it stood."""
        self._check_writable()
        before = 0

        def plan(dataset: LanceDataset) -> LanceOperation.BaseOperation | None:
            nonlocal before
            before = stored.next_id(dataset)
            after = to(before)
            if after <= before and stored.said_next_id(dataset) is not None:
                return None
            return stored.saying({NEXT_ID: str(after)})

        self._settle(plan)
        return before

    def _check_writable(self) -> None:
        if not self._writable:
            raise DataError(f"{self._name} was opened for reading alone")

    # Upkeep

    @classmethod
    def problems(
        cls, path: Path, watched: Watched, *, alone: bool, photos: bool
    ) -> Iterator[Problem]:
        """What is wrong with a dataset, which many may write meanwhile; see :mod:`.checks`."""
        del alone
        try:
            store = cls.open(path)
        except DataError as error:
            # Where Lance itself did not fail, what is there is something else.
            if is_remote(path) or not (error.__cause__ and stored.is_failure(error.__cause__)):
                raise
            advice = "put a copy in its place, or index the photos again"
            yield Problem.found("damage", str(error), 1, advice)
            return
        with store:
            yield from problems_of(store, lambda: store.now(afresh=True), watched, photos=photos)

    @classmethod
    def write_copy(cls, source: Store, target: Path, watched: Watched) -> Digest:
        """Make a dataset of another gallery's photos, whole and read again, or not at all."""
        return write_copy(cls.open, source, target, watched)

    @classmethod
    def put_in_place(cls, part: Path, target: Path) -> Path | None:
        """Give a dataset's folder the name of another, which is kept."""
        kept = name_of_kept(target)
        try:
            if was_there := os.path.lexists(target):
                if not (target / "_versions").is_dir():
                    raise DataError(not_a_gallery(target))
                target.rename(kept)
            part.rename(target)
        except OSError as error:
            raise cannot_take_place(target, error) from error
        return kept if was_there else None

    @classmethod
    def remove(cls, path: Path) -> None:
        """Remove a dataset of this machine that nobody has open."""
        shutil.rmtree(path, ignore_errors=True)

    def compact(self, watched: Watched, *, kept: timedelta = KEPT) -> Compacted:
        """Few large fragments, indices that know every photo, no versions older than ``kept``.

        Files that no version names, as writers leave them that die, go when they are a week old.
        """
        begun, moment = time.monotonic(), self.now(afresh=True)
        bytes_before, waiting = self._bytes(), moment.unindexed()
        fragments = len(moment.dataset.get_fragments())
        watched.progress("putting fragments together")
        self._insist(lambda: stored.put_together(self._own_dataset()))
        left = self.now(afresh=True).dataset.get_fragments()
        if len(left) > 1 or any(each.num_deletions for each in left):
            # The oldest fragment, which every change of photos names: only while nobody changes any
            self._came_through(lambda: self._own_dataset().optimize.compact_files())
        watched.progress("bringing the indices up to date")
        self._insist(lambda: self._own_dataset().optimize.optimize_indices())
        watched.progress("removing old versions")
        with told(self.path):
            removed = stored.let_go(self._own_dataset(), kept)
        moment = self.now(afresh=True)
        done = [
            f"fragments: {fragments:,} before, {len(moment.dataset.get_fragments()):,} now",
            f"old versions removed: {removed.old_versions:,} "
            f"({removed.bytes_removed:,} bytes); younger ones stay, for those who read them",
        ]
        if (known := waiting - moment.unindexed()) > 0:
            done.append(f"photos taken into the index: {known:,}")
        return Compacted(bytes_before, self._bytes(), tuple(done), time.monotonic() - begun)

    def tidy(self, *, kept: timedelta = KEPT) -> list[str]:
        """Put small fragments together, and let versions older than ``kept`` go, if many gathered.

        So there are at most some 16 small fragments beside large ones, and some 16 versions beside
        those of the last hour. The oldest fragment, which others name as changed, stays as it is.
        """
        with suppress(DataError):  # the photos are in; others write, or the disk is full
            parts = self.now(afresh=True).dataset.get_fragments()
            if sum(each.metadata.num_rows < _SMALL for each in parts) > _MANY:
                few = {"target_rows_per_fragment": _SMALL, "max_source_rows": _MOST_TIDIED}
                self._came_through(
                    lambda: stored.put_together(
                        self._own_dataset(), materialize_deletions=False, **few
                    )
                )
            if self.now(afresh=True).parts()["versions"] > _MANY:
                self._came_through(lambda: stored.let_go(self._own_dataset(), kept))
        return []

    def build_index(self, recall: float, kind: str, watched: Watched) -> None:
        """Build the indices on vectors, ids and paths, and find out how to ask the first."""
        if kind != AUTO:
            raise ConfigError(f"--kind {kind}: a Lance dataset chooses its own, leave it out")
        begun, photos = time.monotonic(), self.now(afresh=True).count()
        if not photos:
            raise DataError(f"{self._name} holds no photos to index")
        watched.progress("building the index on vectors")
        with told(self.path):
            dataset = self._own_dataset()
            partitions = index_vectors(dataset, photos)
            watched.progress("building the indices on ids and paths")
            for column in ("id", "path"):
                dataset.create_scalar_index(column, "BTREE", replace=True)
        watched.progress("measuring how much is found")
        tuned = tune(self.now(afresh=True), partitions, recall, photos)
        tuned = tuned.model_copy(update={"seconds": time.monotonic() - begun})
        self._settle(lambda _: stored.saying(tuned.setting()))

    def index_state(self) -> IndexState | None:
        """The index on vectors; None where there is none."""
        return self.now(afresh=True).index_state()

    def is_index_due(self, least: int = APPROXIMATE_FROM) -> bool:  # noqa: ARG002
        """No: whoever keeps a dataset says when its index is built, since all share it."""
        return False

    def size(self) -> Size:
        """Bytes on disk (None of a remote dataset), fragments, versions, photos not indexed."""
        return Size(self._bytes(), parts=self.now(afresh=True).parts())

    def _bytes(self) -> int | None:
        if is_remote(self.path):
            return None
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def _own_dataset(self) -> LanceDataset:
        """The newest version, for upkeep alone: Lance moves on what it compacts or indexes."""
        dataset = self.now(afresh=True).dataset
        return dataset.checkout_version(dataset.version)


def _moved(photo: NewPhoto, path: Path, size: int, mtime_ns: int) -> NewPhoto:
    # A photo without a date of its own is dated by its file, and follows it.
    follows = photo.taken == photo.mtime_ns / 1e9
    taken = mtime_ns / 1e9 if follows else photo.taken
    return replace(photo, path=path, size=size, mtime_ns=mtime_ns, taken=taken)
