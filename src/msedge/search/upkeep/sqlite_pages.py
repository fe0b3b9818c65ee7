"""The rows in the pages of a SQLite file, read without SQLite, which stops at the first damage.

Every page that looks like a leaf of a table is taken for what it seems, whether or not anything
still leads to it. The format is https://www.sqlite.org/fileformat.html; the numbers of its sections
stand beside the functions. Tested in ``tests/search/upkeep/test_sqlite_pages.py``.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TABLE_LEAF, INDEX_LEAF = 0x0D, 0x0A

_HEADER = 100  # bytes before the first page's content
_USUAL_PAGE = 8192  # of a gallery
_LEAF_HEADER = 8
_LOG_HEADER, _FRAME_HEADER = 32, 24
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes of a value by its serial type
_MOST_COLUMNS = 64
_LONGEST = 2**26  # bytes of a row; more is damage

Record = tuple[Any, ...]


class DamagedRowError(Exception):
    """A row does not make sense."""


class Pages:
    """A database file and the log beside it, mapped into memory."""

    def __init__(self, path: Path) -> None:
        """Open both for reading.

        Raises:
            OSError: the file cannot be opened.
        """
        with ExitStack() as stack:
            self._file = _mapped(path, stack)
            self._log = _mapped(path.with_name(path.name + "-wal"), stack, missing=True)
            self._open = stack.pop_all()
        self.page_size, reserved = _page_size(self._file)
        self.usable = self.page_size - reserved
        self._changed = _pages_of_log(self._log, self.page_size)
        self.count = max([len(self._file) // self.page_size, *self._changed])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def page(self, number: int) -> bytes:
        """A page by its number, from 1, as of the last commit.

        Raises:
            DamagedRowError: there is none.
        """
        if not 1 <= number <= self.count:
            raise DamagedRowError(f"no page {number}")
        if (at := self._changed.get(number)) is not None:
            return bytes(self._log[at : at + self.page_size])
        start = (number - 1) * self.page_size
        return bytes(self._file[start : start + self.page_size])

    def rows(self, kind: int) -> Iterator[tuple[int, Record]]:
        """Every row of every leaf of a kind that is in use: its number (0 in an index), values."""
        free = self._free_pages()
        for number in range(1, self.count + 1):
            if number in free:
                continue
            page = self.page(number)
            start = _HEADER if number == 1 else 0
            if len(page) == self.page_size and page[start] == kind:
                yield from self._cells(page, start, kind)

    def _cells(self, page: bytes, start: int, kind: int) -> Iterator[tuple[int, Record]]:
        count = int.from_bytes(page[start + 3 : start + 5])
        first = start + _LEAF_HEADER
        for pointer in range(first, min(first + 2 * count, self.page_size - 1), 2):
            try:
                yield self._cell(page, int.from_bytes(page[pointer : pointer + 2]), kind)
            except (DamagedRowError, IndexError, UnicodeDecodeError, struct.error):
                continue

    def _cell(self, page: bytes, at: int, kind: int) -> tuple[int, Record]:
        """One row (1.6, "B-tree Cell Format")."""
        length, at = _varint(page, at)
        number, at = _varint(page, at) if kind == TABLE_LEAF else (0, at)
        if not 0 < length <= _LONGEST:
            raise DamagedRowError(f"a row of {length} bytes")
        local = self._local_bytes(length, kind)
        payload = page[at : at + local]
        if local < length:
            payload += self._overflow(int.from_bytes(page[at + local : at + local + 4]), length)
        if len(payload) < length:
            raise DamagedRowError("a row is cut short")
        return _signed(number), _record(payload[:length])

    def _local_bytes(self, length: int, kind: int) -> int:
        """How much of a row lies in its own page (1.6)."""
        most = self.usable - 35
        least = (self.usable - 12) * 32 // 255 - 23
        if kind == INDEX_LEAF:
            most = (self.usable - 12) * 64 // 255 - 23
        if length <= most:
            return length
        wanted = least + (length - least) % (self.usable - 4)
        return wanted if wanted <= most else least

    def _overflow(self, number: int, length: int) -> bytes:
        """What lies in other pages (1.7)."""
        content = b""
        while number and len(content) < length:
            page = self.page(number)
            number = int.from_bytes(page[:4])
            content += page[4 : self.usable]
        return content

    def _free_pages(self) -> set[int]:
        """Pages that hold what was deleted (1.5), as far as the list of them can be followed."""
        free: set[int] = set()
        try:
            trunk = int.from_bytes(self.page(1)[32:36])
            while trunk and trunk not in free:
                page = self.page(trunk)
                free.add(trunk)
                count = min(int.from_bytes(page[4:8]), self.usable // 4 - 2)
                free.update(struct.unpack_from(f">{count}I", page, 8))
                trunk = int.from_bytes(page[:4])
        except (DamagedRowError, struct.error):
            pass
        return free


def _mapped(path: Path, stack: ExitStack, *, missing: bool = False) -> mmap.mmap | bytes:
    try:
        stream = stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        if missing:
            return b""
        raise
    if path.stat().st_size == 0:
        return b""
    return stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _page_size(content: mmap.mmap | bytes) -> tuple[int, int]:
    """Bytes of a page, and how many are not used (1.3); a gallery's where that is damaged."""
    if len(content) < _HEADER:
        return _USUAL_PAGE, 0
    size = int.from_bytes(content[16:18])
    size = 65_536 if size == 1 else size
    if content[:15] != b"SQLite format 3" or size < 512 or size & (size - 1):
        return _USUAL_PAGE, 0
    return size, content[20]


def _pages_of_log(log: mmap.mmap | bytes, page_size: int) -> dict[int, int]:
    """Where in the log the newest committed state of each page lies (4.3)."""
    committed: dict[int, int] = {}
    waiting: dict[int, int] = {}
    salts = log[16:24]
    for at in range(_LOG_HEADER, len(log) - page_size, _FRAME_HEADER + page_size):
        frame = log[at : at + _FRAME_HEADER]
        if frame[8:16] != salts:  # of an earlier round
            break
        waiting[int.from_bytes(frame[:4])] = at + _FRAME_HEADER
        if any(frame[4:8]):  # the last of a commit
            committed |= waiting
            waiting = {}
    return committed


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends (1.6)."""
    number = 0
    for place in range(at, at + 8):
        number = number << 7 | page[place] & 0x7F
        if page[place] < 0x80:
            return number, place + 1
    return number << 8 | page[at + 8], at + 9


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _record(payload: bytes) -> Record:
    """The values of a row (2.1)."""
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
        if len(kinds) > _MOST_COLUMNS:
            raise DamagedRowError("too many columns")
    values = []
    at = end
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in (10, 11):
        raise DamagedRowError(f"a value of kind {kind}")
    size = _INTEGERS.get(kind, 8 if kind == 7 else (kind - 12) // 2)
    content = payload[at : at + size]
    if len(content) < size:
        raise DamagedRowError("a value is cut short")
    if kind in _INTEGERS:
        return int.from_bytes(content, signed=True), at + size
    if kind == 7:
        return struct.unpack(">d", content)[0], at + size
    return (content.decode() if kind % 2 else content), at + size
