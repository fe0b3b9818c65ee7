"""The bytes of photos, wherever they lie: files, objects, members of tars, rows of Parquet files.

Tested in ``tests/search/sources/test_contents.py``.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from msedge.data.image_file import MAX_BYTES
from msedge.data.images import one_line
from msedge.errors import DataError, MSEdgeError
from msedge.search.locations import is_remote, location
from msedge.search.sources.objects import (
    TAR,
    Item,
    found_at,
    local_or_remote,
    open_binary,
    read_at_most,
    read_range,
    shard_kind,
    shard_of,
    why,
)
from msedge.search.sources.shards import cells, members, rows_and_column

_FETCHED_AT_ONCE = 16  # objects of a store, whose answers take tens of milliseconds
_SHARDS_KNOWN = 16  # whose photos' places are kept; some hundred bytes a photo


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a photo could not be used.

    Attributes:
        reason: in a few words.
        is_damaged: whether its bytes were read and are no photo; else it may be one.
    """

    reason: str
    is_damaged: bool


Content = bytes | Unreadable | None
"""What was read of a photo; None for a file of this machine, which is read where it is decoded."""


def contents(items: Sequence[Item]) -> Generator[tuple[Item, Content]]:
    """Fetch the bytes of photos, in their order, some ahead of the reader.

    A shard is opened once for the photos of its that follow each other.
    """
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="fetch") as pool:
        for shard, group in groupby(items, key=lambda item: item.shard):
            several = list(group)
            if shard:
                yield from _of_shard(shard, several, pool)
            else:
                yield from _ahead((item, _fetching(item, pool)) for item in several)


def open_location(path: Path) -> bytes:
    """Read a photo of a gallery.

    Args:
        path: as the gallery holds it.

    Raises:
        DataError: it is not there, cannot be read, or is larger than
            :data:`~msedge.data.image_file.MAX_BYTES`.
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
        raise _too_large_at(path)
    return content


def is_within(path: Path) -> bool:
    """Whether a photo is something else than a file of this machine."""
    return is_remote(path) or shard_of(path) is not None


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


def _ahead(
    fetched: Iterator[tuple[Item, Future[Content] | None]],
) -> Iterator[tuple[Item, Content]]:
    waiting: deque[tuple[Item, Future[Content] | None]] = deque()
    for pair in fetched:
        waiting.append(pair)
        if len(waiting) > _FETCHED_AT_ONCE:
            yield _done(*waiting.popleft())
    while waiting:
        yield _done(*waiting.popleft())


def _done(item: Item, future: Future[Content] | None) -> tuple[Item, Content]:
    return item, None if future is None else future.result()


def _fetching(item: Item, pool: ThreadPoolExecutor) -> Future[Content] | None:
    if not is_remote(item.path):
        return None
    return pool.submit(_tried, lambda: _bounded(read_at_most(item.path, MAX_BYTES)))


def _of_shard(
    shard: str, items: list[Item], pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Content]]:
    done = 0
    try:
        if found_at(shard).state != items[0].state:
            raise DataError("its shard was changed while it was indexed")
        read = _members(shard, items) if shard_kind(shard) == TAR else _rows(shard, items, pool)
        for pair in read:
            yield pair
            done += 1
    except Exception as error:  # each file system has errors of its own
        for item in items[done:]:
            yield item, Unreadable(why(error), is_damaged=False)


def _members(shard: str, items: list[Item]) -> Iterator[tuple[Item, Content]]:
    with open_binary(shard) as stream:
        for item in items:
            start, length = item.spot
            if length > MAX_BYTES:
                yield item, Unreadable(_too_large(), is_damaged=True)
                continue
            stream.seek(start)
            content = stream.read(length)
            short = Unreadable("its shard is cut short", is_damaged=False)
            yield item, content if len(content) == length else short


def _rows(
    shard: str, items: list[Item], pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Content]]:
    found = cells(shard, items[0].column, [item.spot[0] for item in items])

    def reading(cell: Any) -> Future[Content]:
        return pool.submit(_tried, lambda: content_of_cell(cell, shard))

    yield from _ahead((item, reading(cell)) for item, (_, cell) in zip(items, found, strict=True))


def _tried(read: Callable[[], bytes]) -> Content:
    try:
        return read()
    except DataError as error:
        return Unreadable(str(error), is_damaged=True)
    except Exception as error:  # each file system has errors of its own
        return Unreadable(why(error), is_damaged=False)


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise DataError(_too_large())
    return content


def _too_large() -> str:
    return f"more than {MAX_BYTES // 1_000_000} MB: scale it down"


def _too_large_at(path: Path) -> DataError:
    megabytes = MAX_BYTES // 1_000_000
    return DataError(f"cannot read {one_line(location(path))}: it is more than {megabytes} MB")


def _whole(path: str) -> bytes:
    if not is_remote(path) and not Path(path).is_file():  # opening a pipe would wait for ever
        raise FileNotFoundError
    return read_at_most(path, MAX_BYTES)


def _within(shard: str, name: str) -> bytes:
    found = found_at(shard)
    if shard_kind(shard) != TAR:
        rows, column = _known_rows(found)
        if not (name.isascii() and name.isdigit() and int(name) < rows):
            raise DataError(f"{one_line(location(shard))} has no row {one_line(name)}")
        ((_, cell),) = cells(shard, column, [int(name)])
        return content_of_cell(cell, shard)
    place = _known_members(found).get(name)
    if place is None:
        raise DataError(f"{one_line(location(shard))} no longer holds {one_line(name)}")
    start, length = place
    if length > MAX_BYTES:
        raise _too_large_at(Path(shard, name))
    return read_range(shard, start, length)


@lru_cache(_SHARDS_KNOWN)
def _known_members(shard: Item) -> dict[str, tuple[int, int]]:
    """Where a tar's photos lie, as long as its size and time stay the same."""
    return members(shard.path)


@lru_cache(_SHARDS_KNOWN)
def _known_rows(shard: Item) -> tuple[int, str]:
    return rows_and_column(shard.path, None)
