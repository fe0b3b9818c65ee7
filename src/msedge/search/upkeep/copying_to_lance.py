"""A gallery copied into a Lance dataset.

On a disk the dataset is written under another name and renamed. An object store cannot rename, so
there the dataset is written in its place, where nobody sees it before the one commit at the end;
it is compared afterwards, and removed again where it is not equal. What a kill leaves there are
data files of no dataset, which a later copy to the same name takes among its own and Lance's
cleaning up removes. Tested in ``tests/search/upkeep/test_copying.py``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import lance
import pyarrow as pa

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.index_lock import sole_indexer
from msedge.search.lance.datasets import told
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.schema import schema_of, table_of
from msedge.search.locations import is_remote, location
from msedge.search.store import Store
from msedge.search.upkeep.copying import PART, blocks_of, check_equal, refuse_existing
from msedge.search.upkeep.digest import Digest
from msedge.search.upkeep.last_id import last_id, never_give_again
from msedge.search.upkeep.watching import Watched

_OWN_VERSIONS = 3  # the photos, and at most two that say which ids were given


def write_lance(store: Store, target: Path, watched: Watched) -> Digest:
    """Make a Lance dataset of a gallery; see :func:`~msedge.search.upkeep.copying.copy_gallery`.

    Args:
        store: what is copied.
        target: where to, whole.
        watched: told how far it is.

    Returns:
        The digest of what was copied.
    """
    if is_remote(target):
        return _write_remote(store, target, watched)
    refuse_existing(target)
    part = target.with_name(target.name + PART)
    with sole_indexer(target):
        refuse_existing(target)
        try:
            shutil.rmtree(part, ignore_errors=True)  # what a kill left
            digest = _write(store, part, watched)
            part.rename(target)
        except OSError as error:
            raise DataError(
                f"cannot write {one_line(target)} ({error.strerror}): choose another place"
            ) from error
        except DataError as error:
            if "the disk is full" in str(error):
                raise DataError(
                    f"the disk is full: make room for {one_line(target)}, or copy to another disk"
                ) from error
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return digest


def _write_remote(store: Store, target: Path, watched: Watched) -> Digest:
    try:
        LanceGallery.open(target).close()
    except DataError:
        pass  # whether the place can be used is seen when it is written
    else:
        raise DataError(
            f"{one_line(location(target))} is there already: name another gallery to make"
        )
    return _write(store, target, watched)


def _write(store: Store, place: Path, watched: Watched) -> Digest:
    """Write a dataset in one commit, and compare it; where that fails, it is removed."""
    stream = _Stream(store, watched)
    stream.write(place)
    version = 0
    try:
        with LanceGallery.open(place, writable=True) as copy:
            never_give_again(copy, max(last_id(store), stream.digest.last_id))
            version = copy.version()
        with LanceGallery.open(place) as copy:
            check_equal(copy, stream.digest, watched)
    except BaseException:
        # In an object store others see it already, and what they put is theirs.
        if lance.dataset(location(place)).version <= max(version, _OWN_VERSIONS):
            lance.LanceDataset.drop(location(place))
        raise
    return stream.digest


class _Stream:
    """A gallery as Lance reads it: from a thread of its own, which swallows what goes wrong."""

    def __init__(self, store: Store, watched: Watched) -> None:
        self.digest = Digest()
        self._store, self._watched = store, watched
        self._schema = schema_of(store.model)
        self._failed: BaseException | None = None

    def write(self, place: Path) -> None:
        reader = pa.RecordBatchReader.from_batches(self._schema, self._batches())
        try:
            with told(place):
                lance.write_dataset(reader, location(place), schema=self._schema, mode="create")
        except DataError:
            if self._failed is not None:
                raise self._failed from None
            raise

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for block in blocks_of(self._store, self.digest, self._watched):
                rows = table_of(block, self._store.model.dim)
                yield from rows.replace_schema_metadata(self._schema.metadata).to_batches()
        except BaseException as error:
            self._failed = error
            raise
