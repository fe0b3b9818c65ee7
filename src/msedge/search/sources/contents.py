"""The bytes of photos, wherever they lie: files, objects, members of tars, rows of Parquet files.

Tested in ``tests/search/sources/test_contents.py``.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from msedge.data.image_content import read_content
from msedge.data.image_file import MAX_BYTES
from msedge.data.images import one_line
from msedge.errors import DataError, MSEdgeError
from msedge.search.locations import is_remote, location
from msedge.search.sources.objects import (
    TAR,
    Item,
    found_at,
    kind_of,
    local_or_remote,
    open_binary,
    read_at_most,
    read_range,
    shard_of,
    why,
)
from msedge.search.sources.shards import cells, members, rows_and_column

_FETCHED_AT_ONCE = 16  # objects of a store, whose answers take tens of milliseconds
_SHARDS_KNOWN = 16  # whose photos' places are kept; some hundred bytes a photo


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a photo could not be used."""

    reason: str  # in a few words
    is_damaged: bool  # its bytes were read and are no photo; else it may be one


Content = bytes | Unreadable | None
"""What was read of a photo; None for a file of this machine, which is read where it is decoded."""


def contents(items: Sequence[Item]) -> Generator[tuple[Item, Content]]:
    """Fetch the bytes of photos, in their order, some ahead; a shard is opened once for several."""
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="fetch") as pool:
        for shard, group in groupby(items, key=lambda item: item.shard):
            several = list(group)
            if shard:
                yield from _of_shard(shard, several, pool)
            else:
                reads = (partial(_read, i.path) if is_remote(i.path) else None for i in several)
                yield from _ahead(zip(several, reads, strict=True), pool)


def open_location(path: Path) -> bytes:
    """Read a photo that a gallery holds.

    Raises:
        DataError: it is not there, cannot be read, or is larger than
            :data:`~msedge.data.image_file.MAX_BYTES`.
        ConfigError: the package for its protocol is not installed.
    """
    try:
        if (shard := shard_of(path)) is not None:
            return _within(*shard)
        if not is_remote(path) and not path.is_file():  # opening a pipe would wait for ever
            raise FileNotFoundError
        content = read_at_most(str(path), MAX_BYTES)
    except MSEdgeError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise DataError(f"cannot read {one_line(location(path))}: {why(error)}") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"cannot read {one_line(location(path))}: it is {_too_large()}")
    return content


def content_of(path: Path) -> bytes:
    """Read a photo that a gallery holds, wherever it lies; errors are those of its place."""
    return open_location(path) if is_within(path) else read_content(path)


def is_within(path: Path) -> bool:
    """Whether a photo is something else than a file of this machine."""
    return is_remote(path) or shard_of(path) is not None


def content_of_cell(cell: Any, shard: str) -> bytes:
    """The bytes that a cell of a Parquet file holds or names.

    It is bytes, a URL or path, or a struct of both, of which the bytes come first. A path that is
    not absolute begins in the shard's folder; a remote shard names no files of this machine.

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
        named = local_or_remote(cell) if cell.startswith(("file:", "local:")) else cell
    else:
        named = posixpath.join(posixpath.dirname(location(shard)), cell)
    if is_remote(shard) and not is_remote(named):
        raise DataError("the row names a file of one machine: give URLs instead")
    return _read(named)


def _ahead(
    items: Iterable[tuple[Item, Callable[[], bytes] | None]], pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Content]]:
    waiting: deque[tuple[Item, Future[Content] | None]] = deque()

    def first() -> tuple[Item, Content]:
        item, future = waiting.popleft()
        return item, future.result() if future else None

    for item, read in items:
        waiting.append((item, pool.submit(_tried, read) if read else None))
        if len(waiting) > _FETCHED_AT_ONCE:
            yield first()
    while waiting:
        yield first()


def _tried(read: Callable[[], bytes]) -> Content:
    try:
        return read()
    except Exception as error:  # each file system has errors of its own
        return Unreadable(why(error), is_damaged=isinstance(error, DataError))


def _read(path: str) -> bytes:
    return _bounded(read_at_most(path, MAX_BYTES))


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise DataError(f"{_too_large()}: scale it down")
    return content


def _too_large() -> str:
    return f"more than {MAX_BYTES // 1_000_000} MB"


def _of_shard(
    shard: str, items: list[Item], pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Content]]:
    done = 0
    try:
        if found_at(shard).state != items[0].state:
            raise DataError("its shard was changed while it was indexed")
        read = _members(shard, items) if kind_of(shard) == TAR else _rows(shard, items, pool)
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
                yield item, Unreadable(f"{_too_large()}: scale it down", is_damaged=True)
                continue
            stream.seek(start)
            content = stream.read(length)
            short = Unreadable("its shard is cut short", is_damaged=False)
            yield item, content if len(content) == length else short


def _rows(
    shard: str, items: list[Item], pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Content]]:
    found = cells(shard, items[0].column, [item.spot[0] for item in items])
    reads = (partial(content_of_cell, cell, shard) for _, cell in found)
    return _ahead(zip(items, reads, strict=True), pool)


def _within(shard: str, name: str) -> bytes:
    known, named = _known(found_at(shard)), one_line(location(shard))
    if kind_of(shard) != TAR:
        rows, column = known
        if not (name.isascii() and name.isdigit() and int(name) < rows):
            raise DataError(f"{named} has no row {one_line(name)}")
        ((_, cell),) = cells(shard, column, [int(name)])
        return content_of_cell(cell, shard)
    place = known.get(name)
    if place is None:
        raise DataError(f"{named} no longer holds {one_line(name)}")
    if place[1] > MAX_BYTES:
        raise DataError(
            f"cannot read {one_line(f'{location(shard)}/{name}')}: it is {_too_large()}"
        )
    return read_range(shard, *place)


@lru_cache(_SHARDS_KNOWN)
def _known(shard: Item) -> Any:
    if kind_of(shard.path) == TAR:
        return members(shard.path)[0]
    return rows_and_column(shard.path, None)
