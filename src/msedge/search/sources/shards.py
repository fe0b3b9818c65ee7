"""Files that hold many photos: WebDataset's tars, which must not be compressed, and Parquet files.

Tested in ``tests/search/sources/test_shards.py``.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.sources.objects import (
    TAR,
    Item,
    is_photo_name,
    open_binary,
    shard_kind,
    why,
)

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

_ROWS_READ = 16
_PICTURES = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "webp", "bytes", "content")
_NAMES = ("image_url", "url", "image_path", "path", "file_name", "filename", "image", "photo")


@dataclass(frozen=True, slots=True)
class Listing:
    """The photos of a shard.

    Attributes:
        shard: as it was found before it was listed.
        photos: in the order in which they lie there.
        unread: why it could not be listed; None where it was.
    """

    shard: Item
    photos: tuple[Item, ...] = ()
    unread: str | None = None


def list_shard(shard: Item, column: str | None = None) -> Listing:
    """Name the photos of a shard, and say where they lie; none is read.

    Args:
        shard: the file or object.
        column: of a Parquet file's photos; None to find it.
    """
    found = ""
    try:
        if shard_kind(shard.path) == TAR:
            spots = members(shard.path)
        else:
            rows, found = rows_and_column(shard.path, column)
            spots = {str(row): (row, 0) for row in range(rows)}
    except DataError as error:
        return Listing(shard, unread=str(error))
    except Exception as error:  # each file system has errors of its own
        return Listing(shard, unread=why(error))
    photos = (
        Item(f"{shard.path}/{name}", *shard.state, shard.path, spot, found)
        for name, spot in sorted(spots.items(), key=lambda named: named[1])
    )
    return Listing(shard, tuple(photos))


def members(path: str) -> dict[str, tuple[int, int]]:
    """The members of a tar that are named like photos.

    Returns:
        First byte and length of each, by its name without ``./``; of several of one name the last
        counts, as when a tar is unpacked.

    Raises:
        DataError: it is no plain tar, or damaged.
        OSError: it cannot be read; or whatever its file system raises.
    """
    found: dict[str, tuple[int, int]] = {}
    try:
        with open_binary(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                name = posixpath.normpath(member.name).lstrip("/")
                usable = member.isreg() and not member.issparse() and ".." not in name.split("/")
                if usable and is_photo_name(name):
                    found[name] = (member.offset_data, member.size)
                tar.members = []  # type: ignore[attr-defined]  # it would keep every header
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"no plain tar, or damaged ({one_line(error)})") from error
    return found


def rows_and_column(path: str, column: str | None) -> tuple[int, str]:
    """How many rows a Parquet file has, and which column holds the photos.

    Args:
        path: of the file.
        column: as it was asked for; None to find it: the column of bytes, else one of URLs or
            paths that is called so.

    Raises:
        DataError: it is no Parquet file, or has no such column, or several that may be meant.
    """
    with _opened(path) as file:
        return file.metadata.num_rows, _column(file.schema_arrow, column)


def cells(path: str, column: str, rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """What stands in some rows of a Parquet file, a few rows in memory at a time.

    Args:
        path: of the file.
        column: of the photos.
        rows: rising.

    Yields:
        The row, and its bytes, text, ``{"bytes": ..., "path": ...}`` or None.

    Raises:
        DataError: it is no Parquet file.
    """
    with _opened(path) as file:
        start, wanted = 0, iter(rows)
        row = next(wanted, None)
        for group in range(file.metadata.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            if row is not None and row < end:
                at = start
                batches = file.iter_batches(_ROWS_READ, row_groups=[group], columns=[column])
                for batch in batches:
                    while row is not None and row < at + len(batch):
                        yield row, batch.column(0)[row - at].as_py()
                        row = next(wanted, None)
                    at += len(batch)
                    if row is None or row >= end:
                        break
            start = end


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
    texts = [field.name for field in schema if _is_text(field.type)]
    if asked is not None:
        if asked in pictures + texts:
            return asked
        raise DataError(
            f"no column {asked!r} of images, URLs or paths: it has {', '.join(schema.names)}"
        )
    if len(pictures) == 1:
        return str(pictures[0])
    known = [name for name in _PICTURES if name in pictures] or [
        name for name in _NAMES if name in texts and not pictures
    ]
    if known:
        return str(known[0])
    raise DataError(
        f"which column holds the images? Name one with --image-column: {', '.join(schema.names)}"
    )


def _holds_bytes(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
