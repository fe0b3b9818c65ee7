"""Photos within Parquet files: bytes, or names of files, in a column.

Tested in ``tests/search/cluster/test_shards.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msedge.errors import DataError
from msedge.search.cluster.objects import open_binary

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

_ROWS_READ = 16
_PICTURES = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "webp", "bytes", "content")
_NAMES = ("image_url", "url", "image_path", "path", "file_name", "filename", "image", "photo")


def rows_and_column(path: str, column: str | None) -> tuple[int, str]:
    """How many rows there are, and which column holds the photos.

    Args:
        path: of the Parquet file.
        column: as it was asked for; None to find it: the column of bytes, else one of URLs or
            paths that is called so.

    Raises:
        DataError: it is no Parquet file, or has no such column, or several that may be meant.
    """
    with _opened(path) as file:
        return file.metadata.num_rows, _column(file.schema_arrow, column)


def cells(path: str, column: str, rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """What stands in some rows, a few rows in memory at a time.

    Args:
        path: of the Parquet file.
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
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

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
