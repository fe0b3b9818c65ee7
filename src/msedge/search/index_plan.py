"""What has to be done so that a gallery holds what lies in its folders.

Tested in ``tests/search/test_index_plan.py``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.folders import FoundFile, Walk
from msedge.search.gallery_rows import Place


@dataclass(frozen=True, slots=True)
class Plan:
    """A walk held against a gallery.

    Attributes:
        to_read: new files, and those of another size or time than before, by path.
        unchanged: how many files are as they were.
        gone: ids of the photos that are no longer where they were, by content hash and path.
    """

    to_read: list[FoundFile]
    unchanged: int
    gone: dict[str, list[int]]


def plan_index(walk: Walk, places: Mapping[str, Place], *, everything: bool = False) -> Plan:
    """Compare files with photos, by size and time.

    Args:
        walk: the files that are there.
        places: the photos that are known.
        everything: whether photos outside the folders walked count as gone.
    """
    found = {file.path for file in walk.files}
    to_read = []
    for file in walk.files:
        place = places.get(file.path)
        if place is None or (place.size, place.mtime_ns) != (file.size, file.mtime_ns):
            to_read.append(file)
    gone: dict[str, list[int]] = defaultdict(list)
    for path, place in places.items():
        if path not in found and (everything or walk.covers(path)):
            gone[place.content_hash].append(place.id)
    return Plan(to_read, len(walk.files) - len(to_read), dict(gone))


def check_not_emptied(walk: Walk, places: Mapping[str, Place]) -> None:
    """Refuse a folder without photos where the gallery has some: its disk may be missing.

    The folder that a disk is mounted on is there without the disk, too.

    Raises:
        DataError: there is such a folder.
    """
    for root in walk.empty_roots():
        count = sum(path.startswith(root.rstrip(os.sep) + os.sep) for path in places)
        if count:
            raise DataError(
                f"no photos in {one_line(root)}, and the gallery holds {count:,} from there: is "
                "its disk missing? If they are gone for good, give --allow-empty; nothing was "
                "changed"
            )


def with_photos_elsewhere(walk: Walk, places: Mapping[str, Place]) -> Walk:
    """A walk that also finds the gallery's photos outside the folders walked.

    Raises:
        DataError: the folder of one is not there, so that nobody knows whether it is.
    """
    files = list(walk.files)
    known = {file.path for file in files}
    for path in places:
        if path in known or walk.covers(path):
            continue
        try:
            status = Path(path).stat()
        except OSError as error:
            if not Path(path).parent.is_dir():
                raise DataError(
                    f"the gallery holds {one_line(path)}, and its folder is not there: bring its "
                    "disk back, or index into another file with --gallery; nothing was changed"
                ) from error
            continue
        files.append(FoundFile(path, status.st_size, status.st_mtime_ns))
    files.sort(key=lambda file: os.fsencode(file.path))
    return Walk(walk.roots, files, walk.unread, walk.odd)
