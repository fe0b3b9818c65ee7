"""The bytes of a photo of a gallery, wherever it lies.

A file of this machine, an object of a store, a member of a tar, or a row of a Parquet file: the
path says which (:mod:`msedge.search.locations`). Tested in ``tests/search/test_photo_bytes.py``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError, MSEdgeError
from msedge.search.cluster.objects import found_at, read_at_most, read_range, why
from msedge.search.cluster.shards import TAR, shard_kind
from msedge.search.folders import FoundFile
from msedge.search.locations import is_remote, location
from msedge.search.photo_reading import MAX_BYTES

_TARS_KNOWN = 16  # whose members' places are kept; some hundred bytes a member


def open_location(path: Path) -> bytes:
    """Read a photo.

    Args:
        path: as a gallery holds it.

    Raises:
        DataError: it is not there, cannot be read, or is larger than
            :data:`~msedge.search.photo_reading.MAX_BYTES`.
        ConfigError: the package for its protocol is not installed.
    """
    try:
        shard = shard_of(path)
        content = _whole(str(path)) if shard is None else _within(*shard)
    except MSEdgeError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise DataError(f"cannot read {one_line(location(path))}: {why(error)}") from error
    if len(content) > MAX_BYTES:
        raise _too_large(path)
    return content


def is_within(path: Path) -> bool:
    """Whether a photo is something else than a file of this machine."""
    return is_remote(path) or shard_of(path) is not None


def shard_of(path: Path) -> tuple[str, str] | None:
    """The tar or Parquet file that a photo lies in, and its name there; None for one of its own.

    Of this machine a shard is a file: a folder may be called ``a.tar`` as well.
    """
    text = str(path)
    at = text.find("/", 1)
    while at >= 0:
        shard = text[:at]
        if shard_kind(shard) and (is_remote(shard) or Path(shard).is_file()):
            return shard, text[at + 1 :]
        at = text.find("/", at + 1)
    return None


def _whole(path: str) -> bytes:
    if not is_remote(path) and not Path(path).is_file():  # opening a pipe would wait for ever
        raise FileNotFoundError
    return read_at_most(path, MAX_BYTES)


def _within(shard: str, name: str) -> bytes:
    found = found_at(shard)
    if shard_kind(shard) == TAR:
        place = _members(found).get(name)
        if place is None:
            raise DataError(f"{one_line(location(shard))} no longer holds {one_line(name)}")
        start, length = place
        if length > MAX_BYTES:
            raise _too_large(Path(shard, name))
        return read_range(shard, start, length)
    return _cell(found, name)


@lru_cache(_TARS_KNOWN)
def _members(shard: FoundFile) -> dict[str, tuple[int, int]]:
    """Where a tar's photos lie, as long as its size and time stay the same."""
    from msedge.search.cluster.tar_shards import members

    return members(shard.path)


@lru_cache(_TARS_KNOWN)
def _column(shard: FoundFile) -> tuple[int, str]:
    from msedge.search.cluster.parquet_shards import rows_and_column

    return rows_and_column(shard.path, None)


def _cell(shard: FoundFile, name: str) -> bytes:
    from msedge.search.cluster.parquet_shards import cells
    from msedge.search.cluster.reading import content_of_cell

    rows, column = _column(shard)
    if not (name.isascii() and name.isdigit() and int(name) < rows):
        raise DataError(f"{one_line(location(shard.path))} has no row {one_line(name)}")
    ((_, cell),) = cells(shard.path, column, [int(name)])
    return content_of_cell(cell, shard.path)


def _too_large(path: Path) -> DataError:
    megabytes = MAX_BYTES // 1_000_000
    return DataError(f"cannot read {one_line(location(path))}: it is more than {megabytes} MB")
