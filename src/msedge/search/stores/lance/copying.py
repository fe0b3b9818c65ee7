"""A gallery copied into a Lance dataset: whole and read again, or not at all.

Tested in ``tests/search/stores/test_copying.py``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from lance import LanceDataset

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.locks import sole_indexer
from msedge.search.locations import is_remote, location
from msedge.search.photo import Digest
from msedge.search.stores.copying import PART, check_equal, is_there, refuse_existing
from msedge.search.stores.lance import dataset as stored
from msedge.search.stores.reports import Watched
from msedge.search.stores.store import Store

Open = Callable[..., Store]
_OWN_VERSIONS = 3  # of a copy: the photos, and at most two that say which ids were given


def write_copy(open_it: Open, source: Store, target: Path, watched: Watched) -> Digest:
    """Make a dataset of another gallery's photos; opened by what opens such a dataset.

    An object store cannot rename: there it is written in its place, unseen before the one
    commit at the end, and removed again where it is not equal. What a kill leaves there are
    data files of no dataset, which Lance's cleaning up removes.
    """
    if is_remote(target):
        try:
            open_it(target).close()
        except DataError:
            pass  # whether the place can be used is seen when it is written
        else:
            raise DataError(is_there(target))
        return _write(open_it, source, target, watched)
    refuse_existing(target)
    part = target.with_name(target.name + PART)
    with sole_indexer(target):
        refuse_existing(target)
        try:
            shutil.rmtree(part, ignore_errors=True)  # what a kill left
            digest = _write(open_it, source, part, watched)
            part.rename(target)
        except OSError as error:
            raise DataError(
                f"cannot write {one_line(target)} ({error.strerror}): choose another place"
            ) from error
        except DataError as error:
            if "the disk is full" not in str(error):
                raise
            raise DataError(
                f"the disk is full: make room for {one_line(target)}, or copy to another disk"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return digest


def _write(open_it: Open, source: Store, place: Path, watched: Watched) -> Digest:
    """Write a dataset in one commit, and compare it; where that fails, it is removed."""
    digest = stored.write_whole(source, place, watched)
    version = 0
    try:
        with open_it(place, writable=True) as copy:
            copy.spare_ids(max(source.last_id(), digest.last_id))
            for name, text in source.notes().items():
                copy.write_note(name, text)
            version = copy.version()
        with open_it(place) as copy:
            check_equal(copy, digest, watched)
    except BaseException:
        # In an object store others see it already, and what they put is theirs.
        if stored.open_dataset(place).version <= max(version, _OWN_VERSIONS):
            LanceDataset.drop(location(place), storage_options=stored.access(place))
        raise
    return digest
