"""Files that hold many photos: WebDataset's tars, and Parquet.

A photo within one is named as if the shard were a folder: ``/data/a.tar/cat.jpg``,
``/data/b.parquet/17`` for a row. What identifies such a photo is its shard's size and time. Tested
in ``tests/search/cluster/test_shards.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from msedge.errors import DataError
from msedge.search.cluster.objects import why
from msedge.search.folders import FoundFile

TAR, PARQUET = ".tar", ".parquet"


@dataclass(frozen=True, slots=True)
class Listing:
    """The photos of a shard.

    Attributes:
        shard: as it was found before it was listed.
        names: of the photos within, as paths continue behind the shard.
        spots: where each lies: first byte and length within a tar, row and 0 within a Parquet file.
        column: of the photos within a Parquet file.
        unread: why it could not be listed; None where it was.
    """

    shard: FoundFile
    names: tuple[str, ...] = ()
    spots: tuple[tuple[int, int], ...] = ()
    column: str = ""
    unread: str | None = None


def shard_kind(name: str) -> str | None:
    """`TAR` or `PARQUET` for a file of such a name, else None.

    >>> shard_kind("train-0000.TAR"), shard_kind("a.parquet"), shard_kind("a.tar.gz")
    ('.tar', '.parquet', None)
    """
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return suffix if suffix in (TAR, PARQUET) else None


def list_shard(shard: FoundFile, column: str | None = None) -> Listing:
    """Name the photos of a shard, and say where they lie; none is read.

    Args:
        shard: the file or object.
        column: of a Parquet file's photos; None to find it.
    """
    from msedge.search.cluster import parquet_shards, tar_shards

    try:
        if shard_kind(shard.path) == TAR:
            members = tar_shards.members(shard.path)
            return Listing(shard, tuple(members), tuple(members.values()))
        rows, found = parquet_shards.rows_and_column(shard.path, column)
        names = tuple(map(str, range(rows)))
        return Listing(shard, names, tuple((row, 0) for row in range(rows)), found)
    except DataError as error:
        return Listing(shard, unread=str(error))
    except Exception as error:  # each file system has errors of its own
        return Listing(shard, unread=why(error))
