"""Files that hold many photos: WebDataset's tars, which must not be compressed, and Parquet files.

Tested in ``tests/search/sources/test_shards.py``.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.sources.objects import PHOTO, TAR, Item, kind_of, open_binary, why

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

_ROWS_READ = 16
_PICTURES = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "webp", "bytes", "content")
_NAMES = ("image_url", "url", "image_path", "path", "file_name", "filename", "image", "photo")


@dataclass(frozen=True, slots=True)
class Listing:
    """The photos of a shard, in the order in which they lie there."""

    shard: Item  # as it was found before it was listed
    photos: tuple[Item, ...] = ()
    unread: str | None = None  # why it could not be listed
    outside: tuple[str, ...] = ()  # members named like photos, by names that climb out of a tar


def list_shard(shard: Item, column: str | None = None) -> Listing:
    """Name a shard's photos and where they lie, in the column asked for of a Parquet file."""
    found = ""
    outside: tuple[str, ...] = ()
    try:
        if kind_of(shard.path) == TAR:
            spots, outside = members(shard.path)
        else:
            rows, found = rows_and_column(shard.path, column)
            spots = {str(row): (row, 0) for row in range(rows)}
    except Exception as error:  # each file system has errors of its own
        return Listing(shard, unread=why(error))
    photos = (
        Item(f"{shard.path}/{name}", *shard.state, shard.path, spot, found)
        for name, spot in sorted(spots.items(), key=lambda named: named[1])
    )
    return Listing(shard, tuple(photos), outside=outside)


def members(path: str) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """First byte and length of a tar's members that are named like photos, by name without ``./``.

    Of several of one name the last counts, as when a tar is unpacked. Names that climb out of the
    tar, and so stand for no path below it, are given apart.

    Raises:
        DataError: it is no plain tar, or damaged.
        OSError: it cannot be read; or whatever its file system raises.
    """
    import tarfile  # with its compressions, late: a search needs none of it

    found: dict[str, tuple[int, int]] = {}
    outside: set[str] = set()
    try:
        with open_binary(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                name = posixpath.normpath(member.name).lstrip("/")
                if member.isreg() and not member.issparse() and kind_of(name) == PHOTO:
                    if ".." in name.split("/"):
                        outside.add(name)
                    else:
                        found[name] = (member.offset_data, member.size)
                tar.members = []  # type: ignore[attr-defined]  # it would keep every header
            # A header that is damaged or cut ends the walk without a word.
            stream.seek(tar.offset)
            if any(rest := stream.read(tarfile.BLOCKSIZE)) or len(rest) % tarfile.BLOCKSIZE:
                raise tarfile.ReadError("a header makes no sense, or is cut short")
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"no plain tar, or damaged ({one_line(error)})") from error
    return found, tuple(sorted(outside))


def rows_and_column(path: str, column: str | None) -> tuple[int, str]:
    """How many rows a Parquet file has, and which column holds the photos.

    That is the one asked for; else the column of bytes, or one of URLs or paths that is called so.

    Raises:
        DataError: it is no Parquet file, or has no such column, or several that may be meant.
    """
    with _opened(path) as file:
        return file.metadata.num_rows, _column(file.schema_arrow, column)


def cells(path: str, column: str, rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """What stands in some rows, rising, of a Parquet file; a few are in memory at a time.

    Yields:
        The row, and its bytes, text, ``{"bytes": ..., "path": ...}`` or None.

    Raises:
        DataError: it is no Parquet file.
    """
    with _opened(path) as file:
        end, wanted = 0, deque(rows)
        for group in range(file.metadata.num_row_groups):
            at, end = end, end + file.metadata.row_group(group).num_rows
            if not wanted or wanted[0] >= end:
                continue
            for batch in file.iter_batches(_ROWS_READ, row_groups=[group], columns=[column]):
                while wanted and wanted[0] < at + len(batch):
                    row = wanted.popleft()
                    yield row, batch.column(0)[row - at].as_py()
                at += len(batch)
                if not wanted or wanted[0] >= end:
                    break


@contextmanager
def _opened(path: str) -> Iterator[ParquetFile]:
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError("Parquet files are read by pyarrow: pip install pyarrow") from error
    with open_binary(path) as stream:
        try:
            file = ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise DataError("no Parquet file, or damaged") from error
        with file:
            yield file


def _column(schema: pyarrow.Schema, asked: str | None) -> str:
    pictures = [field.name for field in schema if _holds_bytes(field.type)]
    texts = [f.name for f in schema if str(f.type) in ("string", "large_string")]
    names: Sequence[str] = _PICTURES if pictures else _NAMES
    among = pictures or texts
    if asked is not None:
        names, among = (asked,), pictures + texts
    elif len(pictures) == 1:
        return str(pictures[0])
    if known := [name for name in names if name in among]:
        return known[0]
    there = ", ".join(schema.names)
    if asked is not None:
        raise DataError(f"no column {asked!r} of images, URLs or paths: it has {there}")
    raise DataError(f"which column holds the images? Name one with --image-column: {there}")


def _holds_bytes(kind: pyarrow.DataType) -> bool:
    if str(kind).startswith("struct<"):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return str(kind) in ("binary", "large_binary")
