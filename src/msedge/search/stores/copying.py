"""What every kind of store does when it is written as a copy of another.

Tested in ``tests/search/stores/test_copying.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.locations import location
from msedge.search.photo import Block, Digest
from msedge.search.stores.reports import Watched
from msedge.search.stores.store import Store

PART = "-new"  # ends the name of a copy until it is whole


def is_there(path: Path) -> str:
    """The message for a place where something lies already."""
    return f"{one_line(location(path))} is there already: name another gallery to make"


def refuse_existing(target: Path) -> None:
    """Raise a DataError where a file or folder of the name is there."""
    if os.path.lexists(target):
        raise DataError(is_there(target))


def name_of_kept(target: Path) -> Path:
    """What a gallery is called whose place another takes: a name that nothing has."""
    before = f"{target.stem}-before-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in count(1):
        kept = target.with_name(f"{before}{f'-{number}' * (number > 1)}{target.suffix}")
        if not os.path.lexists(kept):
            return kept
    raise AssertionError


def cannot_take_place(target: Path, error: OSError) -> DataError:
    """What is said where a gallery cannot be put in another's place."""
    return DataError(
        f"cannot put a gallery in the place of {one_line(target)} ({error.strerror}): move it "
        "away, and copy the backup there with `msedge gallery copy`"
    )


def passing(source: Store, digest: Digest, watched: Watched) -> Iterator[Block]:
    """What a gallery holds at one moment, taken into a digest as it passes."""
    total = source.count()
    watched.progress("copying", 0, total)
    for block in source.blocks():
        digest.take(block)
        yield block
        watched.progress("copying", digest.count, max(total, digest.count))


def check_equal(copy: Store, wanted: Digest, watched: Watched) -> None:
    """Read a copy again, and raise a DataError where it differs from what was copied."""
    found = Digest()
    for block in copy.blocks():
        found.take(block)
        watched.progress("comparing", found.count, wanted.count)
    if (found.count, found.value()) != (wanted.count, wanted.value()):
        raise DataError(
            f"the copy holds {found.count:,} photos that are not the {wanted.count:,} that were "
            "copied, and is not kept: check the disk, and try again"
        )
