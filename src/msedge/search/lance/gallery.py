"""A gallery as a Lance dataset, which any number of processes on any machines read and change.

Each change of photos is one version of the dataset: whoever reads sees it whole or not at all, and
goes on reading the version it began with. Tested in ``tests/search/lance/test_gallery.py``.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import lance
from lance import LanceDataset, LanceOperation

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.quoting import quoted
from msedge.search.encoder import Embeddings, Encoder
from msedge.search.gallery_rows import Model, Photo, Place
from msedge.search.lance.changes import change, photos_changed, rows_with
from msedge.search.lance.datasets import is_conflict, open_dataset, reason, told
from msedge.search.lance.fragments import read_fragments, write_rows
from msedge.search.lance.index_building import RECALL, build_index
from msedge.search.lance.moment import Moment
from msedge.search.lance.schema import read_model, schema_of, table_of
from msedge.search.lance.upkeep import KEPT, Compacted, compact
from msedge.search.lance.vector_index import Tuning
from msedge.search.lance.view import IN_MEMORY, LanceView
from msedge.search.locations import is_remote, location, whole
from msedge.search.model_check import check_not_rebuilt, check_same_model
from msedge.search.store import Block, View

SECONDS_BETWEEN_LOOKS = 1.0
"""How long a gallery may go on with a version before it looks for a newer one.

A look lists the dataset's versions, which an object store bills and takes tens of milliseconds for.
"""

NEXT_ID = "msedge.next_id"
"""In the dataset's configuration: ids from here on were never given."""

_DIGITS = 19  # of the largest id
_TRIES = 50  # at a change that others get in the way of
_SECONDS_BEFORE_NEXT_TRY = 0.05


class LanceGallery:
    """A gallery's photos and vectors. Reading is safe from any number of threads.

    Make one with :meth:`create` or :meth:`open`, and use it as a context manager or :meth:`close`
    it. What another process commits is seen within :data:`SECONDS_BETWEEN_LOOKS`; what this one
    commits, at once.

    Every method raises :class:`~msedge.errors.DataError` for a dataset that cannot be read or
    written, and :class:`~msedge.errors.WeightsError` when the gallery has meanwhile been rebuilt
    with another model.
    """

    def __init__(
        self,
        path: Path,
        dataset: LanceDataset,
        *,
        writable: bool,
        exact: bool = False,
        memory: int = IN_MEMORY,
    ) -> None:
        """Take an open dataset; see :meth:`open`."""
        self.path = path
        self.model: Model = read_model(dataset.schema, path)
        self._dataset: LanceDataset | None = dataset
        self._looked = time.monotonic()
        self._looking = threading.Lock()
        self._writable = writable
        # The version whose photos the writer knows; None when others have changed them since.
        self._known: int | None = int(dataset.version)
        self._exact, self._memory = exact, memory

    @classmethod
    def create(cls, path: Path, model: Model) -> Self:
        """Make an empty gallery, open for writing.

        Args:
            path: where; ends in ``.lance``, may be remote. Its folder is made when it is missing.
            model: what makes the vectors.

        Raises:
            DataError: something of that name is there, or none can be written.
        """
        path = whole(path)
        there = f"{one_line(location(path))} is there already: name another gallery to make"
        if not is_remote(path) and os.path.lexists(path):
            raise DataError(there)
        try:
            schema = schema_of(model)
            made = lance.write_dataset(
                schema.empty_table(), location(path), schema=schema, mode="create"
            )
        except OSError as error:
            if "already exists" in str(error):
                raise DataError(there) from error
            raise DataError(
                f"cannot write {one_line(location(path))} ({reason(error)}): choose a place that "
                "can be written to"
            ) from error
        return cls(path, made, writable=True)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        writable: bool = False,
        exact: bool = False,
        memory: int = IN_MEMORY,
    ) -> Self:
        """Open a gallery.

        Args:
            path: the dataset, on a disk or remote.
            writable: whether photos will be put or removed.
            exact: whether it is searched exactly, whatever index it has.
            memory: bytes that vectors may take; where all of them fit, they are searched there.

        Raises:
            DataError: it is missing, not a gallery, of a newer schema, or damaged.
        """
        path = whole(path)
        with told(path):
            return cls(path, open_dataset(path), writable=writable, exact=exact, memory=memory)

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
        """Let go of the dataset; what was committed stays, and nothing else."""
        with self._looking:
            self._dataset = None

    def check_model(self, encoder: Encoder) -> None:
        """Refuse an encoder whose vectors do not compare with the gallery's (WeightsError)."""
        check_same_model(self.path, self.model, encoder)

    def now(self, *, afresh: bool = False) -> Moment:
        """The gallery as it is.

        Args:
            afresh: look for a newer version, however recently that was done.
        """
        with self._looking:
            if self._dataset is None:
                raise DataError(
                    f"gallery {one_line(location(self.path))} has been closed: open it again"
                )
            if afresh or time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS:
                with told(self.path):
                    latest = self._dataset.latest_version
                    if latest != self._dataset.version:
                        self._adopt(self._dataset.checkout_version(latest))
                self._looked = time.monotonic()
            return Moment(self.path, self._dataset, self.model.dim)

    def own_dataset(self) -> LanceDataset:
        """The newest version, for upkeep alone: Lance moves on what it compacts or indexes."""
        dataset = self.now(afresh=True).dataset
        with told(self.path):
            return dataset.checkout_version(dataset.version)

    def count(self) -> int:
        """How many photos there are."""
        return self.now().count()

    def version(self) -> int:
        """A number that rises with every change of the photos, and with upkeep."""
        return self.now().version

    def view(self, last: View | None = None) -> LanceView:
        """The gallery as it is now; ``last`` comes back where nothing has changed since."""
        moment = self.now()
        before = last if isinstance(last, LanceView) else None
        if before is not None and before.version == moment.version:
            return before
        return LanceView(moment, exact=self._exact, memory=self._memory, before=before)

    def is_current(self, view: View) -> bool:
        """Whether :meth:`view` would give the same view again."""
        return view.version == self.version()

    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, None for all by rising id; unknown ids are left out."""
        return self.now().photos(ids)

    def id_at(self, path: Path) -> int | None:
        """The id of the photo of an absolute path; None where there is none."""
        return self.now().id_at(path)

    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""
        return self.now().folders()

    def blocks(self, rows: int = 4096) -> Iterator[Block]:
        """Everything, by rising id, as it was at one moment."""
        return self.now(afresh=True).blocks(rows)

    def places(self) -> dict[str, Place]:
        """What is known of every path (as text), to compare with the files that are there.

        :meth:`commit` then refuses where another process has changed photos since.
        """
        moment = self.now(afresh=True)
        self._known = moment.version
        return moment.places()

    def reserve_ids(self, count: int) -> int:
        """The first of so many ids in a row that nobody had and nobody else will be given.

        Args:
            count: how many, at least 1.
        """
        return self._raise_next_id(lambda first: first + count)

    def spare_ids(self, last: int) -> None:
        """Let the ids up to ``last`` be given to no photo."""
        self._raise_next_id(lambda first: max(first, last + 1))

    def put(self, block: Block) -> None:
        """Add photos in one commit; one with the same id or the same path is replaced.

        Raises:
            ShapeError: a vector is not as the gallery's model makes it.
            DataError: an id or path stands twice in the block.
        """
        self._check_writable()
        rows = table_of(block, self.model.dim)
        if not rows.num_rows:
            return
        self._raise_next_id(lambda first: max(first, max(block.ids) + 1))
        new = write_rows(self.path, self.now().dataset, rows)
        paths = rows["path"].to_pylist()

        def plan(dataset: LanceDataset) -> LanceOperation.BaseOperation:
            return change(dataset, new, rows_with(dataset, ids=block.ids, paths=paths))

        self.change(plan)

    def commit(self, fragments: Sequence[str], *, removing: Sequence[int] = ()) -> None:
        """Make fragments visible and photos vanish, in one commit.

        Args:
            fragments: what :func:`~msedge.search.lance.fragments.write_fragment` gave.
            removing: ids of photos that were there before; ids that are not there do not matter.

        Raises:
            DataError: another process has changed photos since this one opened the gallery, read
                its places or last changed it: nothing is committed. Compacting it or building an
                index meanwhile does not matter.
        """
        self._check_writable()
        new = read_fragments(fragments)
        if not new and not len(removing):
            return

        def plan(dataset: LanceDataset) -> LanceOperation.BaseOperation:
            if self._known is None:
                raise DataError(
                    f"gallery {one_line(location(self.path))} was changed by another process "
                    "meanwhile: start again, one at a time"
                )
            return change(dataset, new, rows_with(dataset, ids=list(map(int, removing))))

        self.change(plan)

    def compact(
        self, *, kept: timedelta = KEPT, telling: Callable[[str], None] | None = None
    ) -> Compacted:
        """Few large fragments; see :func:`msedge.search.lance.upkeep.compact`."""
        return compact(self, kept=kept, telling=telling)

    def build_index(
        self,
        *,
        recall: float = RECALL,
        queries: Embeddings | None = None,
        telling: Callable[[str], None] | None = None,
    ) -> Tuning:
        """Search by an index; see :func:`msedge.search.lance.index_building.build_index`."""
        return build_index(self, recall=recall, queries=queries, telling=telling)

    def change(self, plan: Callable[[LanceDataset], LanceOperation.BaseOperation | None]) -> None:
        """Commit what is planned from the newest version; plan again where others were quicker.

        Args:
            plan: gives an operation on a version of the dataset; None for nothing to do.
        """
        for tried in range(_TRIES):
            dataset = self.now(afresh=True).dataset
            with told(self.path):
                if self._known is not None and photos_changed(dataset, self._known):
                    self._known = None
                operation = plan(dataset)
                if operation is None:
                    return
                try:
                    made = LanceDataset.commit(dataset, operation, read_version=dataset.version)
                except OSError as error:
                    if not is_conflict(error):
                        raise
                    time.sleep(random.random() * _SECONDS_BEFORE_NEXT_TRY * (tried + 1))
                    continue
            with self._looking:
                self._adopt(made)
            if self._known is not None:
                self._known = int(made.version)
            return
        raise DataError(
            f"gallery {one_line(location(self.path))}: other processes change it all the time: "
            "try again when they have ended"
        )

    def _raise_next_id(self, to: Callable[[int], int]) -> int:
        """Move the mark up to which ids are spoken for; gives where it stood."""
        self._check_writable()
        before = 0

        def plan(dataset: LanceDataset) -> LanceOperation.BaseOperation | None:
            nonlocal before
            before = next_id(dataset)
            after = to(before)
            if after <= before and NEXT_ID in dataset.config():
                return None
            return LanceOperation.UpdateConfig(
                config_updates=LanceOperation.UpdateMap({NEXT_ID: str(after)})
            )

        self.change(plan)
        return before

    def _adopt(self, dataset: LanceDataset) -> None:
        check_not_rebuilt(self.path, self.model, read_model(dataset.schema, self.path))
        self._dataset = dataset

    def _check_writable(self) -> None:
        if not self._writable:
            raise DataError(f"gallery {one_line(location(self.path))} was opened for reading alone")


def id_of(said: str) -> int:
    """The id that a dataset's configuration gives.

    Raises:
        DataError: it gives none.
    """
    if not (said.isascii() and said.isdigit() and len(said) <= _DIGITS):
        raise DataError(f"the gallery says that its next id is {quoted(said)}: copy it anew")
    return int(said)


def next_id(dataset: LanceDataset) -> int:
    """The id that a dataset gives next; above all that it holds where it says nothing."""
    said = dataset.config().get(NEXT_ID)
    if said is not None:
        return id_of(said)
    ids = dataset.to_table(columns=["id"])["id"]
    return 1 + int(ids.to_numpy().max(initial=0))
