"""What the old readers of shards say of a photo: in use until :mod:`msedge.search.sources` is."""

from __future__ import annotations

from dataclasses import dataclass

from msedge.search.folders import FoundFile


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard that photos lie in: as it was when it was listed.

    Attributes:
        path: of the shard.
        size: bytes.
        mtime_ns: when it was last changed, in nanoseconds of Unix time.
        column: of the photos, in a Parquet file.
    """

    path: str
    size: int
    mtime_ns: int
    column: str


@dataclass(frozen=True, slots=True)
class Item:
    """A photo to be read.

    Attributes:
        file: its path, and what identifies its content: its own size and time, or its shard's.
        id: that it has in the gallery, or will have.
        known_hash: of the content that the gallery holds under this path; empty for a new one.
        shard: that it lies in; None for a file or an object of its own.
        spot: where in the shard, as of `Listing`.
    """

    file: FoundFile
    id: int
    known_hash: str = ""
    shard: ShardFile | None = None
    spot: tuple[int, int] = (0, 0)
