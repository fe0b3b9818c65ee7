"""From a photo of any place to its hash and pixels, as the single-machine index has them.

A file of this machine is read by the same function as there; the bytes of all others go through the
same steps. Tested in ``tests/search/cluster/test_worker.py``.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any

from msedge.errors import DataError
from msedge.search.cluster.objects import (
    found_at,
    local_or_remote,
    open_binary,
    read_at_most,
    why,
)
from msedge.search.cluster.shards import TAR, shard_kind
from msedge.search.cluster.wire import Item, ShardFile
from msedge.search.folders import FoundFile
from msedge.search.locations import is_remote, location
from msedge.search.photo_reading import MAX_BYTES, ReadPhoto, Unreadable, photo_of, read_photo

_FETCHED_AT_ONCE = 16  # objects of a store, whose answers take tens of milliseconds
_TOO_LARGE = f"more than {MAX_BYTES // 1_000_000} MB: scale it down"

Content = bytes | Unreadable | None
"""What was read of a photo; None for a file of this machine, which is read with the rest."""


def contents(items: Sequence[Item]) -> Iterator[tuple[Item, Content]]:
    """Fetch the bytes of photos, in their order, some ahead of the reader.

    Shards are opened once for the photos of theirs that follow each other.
    """
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="fetch") as pool:
        for shard, group in groupby(items, key=lambda item: item.shard):
            if shard is None:
                yield from _objects(list(group), pool)
            else:
                yield from _of_shard(shard, list(group), pool)


def read_content(item: Item, content: Content, size: int) -> ReadPhoto | Unreadable:
    """Hash and decode a photo.

    Args:
        item: which one.
        content: as of :func:`contents`.
        size: side of the square of pixels that the encoder reads.
    """
    if content is None:
        return read_photo(item.file, size, lambda _: False)
    if isinstance(content, Unreadable):
        return content
    return photo_of(item.file, content, size)


def content_of_cell(cell: Any, shard: str) -> bytes:
    """The bytes that a cell of a Parquet file holds or names.

    Args:
        cell: bytes; a URL or path; or a struct of both, of which the bytes come first.
        shard: the Parquet file. A path that is not absolute begins in its folder, and a shard
            that is not of this machine names no files of this machine.

    Raises:
        DataError: it holds and names nothing.
        OSError: what it names cannot be read; or whatever its file system raises.
    """
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return _bounded(cell)
    if not isinstance(cell, str) or not cell:
        raise DataError("the row holds no image")
    if is_remote(cell):
        is_file = cell.startswith(("file:", "local:"))
        named = local_or_remote(cell) if is_file else cell
    else:
        named = posixpath.join(posixpath.dirname(location(shard)), cell)
    if is_remote(shard) and not is_remote(named):
        raise DataError("the row names a file of one machine: give URLs instead")
    return _bounded(read_at_most(named, MAX_BYTES))


def _objects(items: list[Item], pool: ThreadPoolExecutor) -> Iterator[tuple[Item, Content]]:
    ahead: deque[tuple[Item, Future[Content] | None]] = deque()
    for item in items:
        remote = is_remote(item.file.path)
        ahead.append((item, pool.submit(_object, item.file) if remote else None))
        if len(ahead) > _FETCHED_AT_ONCE:
            yield _done(*ahead.popleft())
    while ahead:
        yield _done(*ahead.popleft())


def _done(item: Item, fetched: Future[Content] | None) -> tuple[Item, Content]:
    return item, None if fetched is None else fetched.result()


def _object(file: FoundFile) -> Content:
    return _told(file, lambda: _bounded(read_at_most(file.path, MAX_BYTES)))


def _of_shard(
    shard: ShardFile, items: list[Item], pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Content]]:
    try:
        now = found_at(shard.path)
        if (now.size, now.mtime_ns) != (shard.size, shard.mtime_ns):
            raise DataError("its shard was changed while it was indexed")
    except Exception as error:  # each file system has errors of its own
        for item in items:
            yield item, Unreadable(item.file, why(error), is_damaged=False)
        return
    read = _members if shard_kind(shard.path) == TAR else _rows
    done = 0
    try:
        for pair in read(shard, items, pool):
            yield pair
            done += 1
    except Exception as error:
        for item in items[done:]:
            yield item, Unreadable(item.file, why(error), is_damaged=False)


def _members(
    shard: ShardFile,
    items: list[Item],
    pool: ThreadPoolExecutor,  # noqa: ARG001
) -> Iterator[tuple[Item, Content]]:
    with open_binary(shard.path) as stream:
        for item in items:
            start, length = item.spot
            if length > MAX_BYTES:
                yield item, Unreadable(item.file, _TOO_LARGE, is_damaged=True)
                continue
            stream.seek(start)
            content = stream.read(length)
            short = Unreadable(item.file, "its shard is cut short", is_damaged=False)
            yield item, content if len(content) == length else short


def _rows(
    shard: ShardFile, items: list[Item], pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Content]]:
    from msedge.search.cluster.parquet_shards import cells

    rows = [item.spot[0] for item in items]
    ahead: deque[tuple[Item, Future[Content]]] = deque()
    for item, (_, cell) in zip(items, cells(shard.path, shard.column, rows), strict=True):
        ahead.append((item, pool.submit(_cell, item.file, cell, shard.path)))
        if len(ahead) > _FETCHED_AT_ONCE:
            yield _done(*ahead.popleft())
    while ahead:
        yield _done(*ahead.popleft())


def _cell(file: FoundFile, cell: Any, shard: str) -> Content:
    return _told(file, lambda: content_of_cell(cell, shard))


def _told(file: FoundFile, read: Any) -> Content:
    try:
        return read()  # type: ignore[no-any-return]
    except DataError as error:
        return Unreadable(file, str(error), is_damaged=True)
    except Exception as error:  # each file system has errors of its own
        return Unreadable(file, why(error), is_damaged=False)


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise DataError(_TOO_LARGE)
    return content
