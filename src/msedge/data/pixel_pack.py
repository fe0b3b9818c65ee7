"""One file of decoded images: a header, an index, and the pixels, read through a memory map.

Layout: a page of JSON; an entry of 64 bytes a row; from the next page on ``S * S * 3`` bytes a row.
An entry says which file the pixels came from, and ends with a checksum over itself and them. Space
is taken when the file is made, so that a full disk is an error then and not a crash at the first
look at a page that could not be given.

Writing a row clears its entry, writes the pixels, then the entry; a process that is killed in
between leaves a row without a valid entry, which is the same as none. Readers compare the checksum
before and after they copy, so that a row that another process is writing is never mistaken for one
that stands. Tested in ``tests/data/test_pixel_pack.py``.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import sys
import weakref
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from msedge.data.image_content import FileState

if sys.platform != "win32":
    import fcntl

_PAGE = 4096
_ENTRY = np.dtype(
    {
        "names": ["length", "changed_ns", "content", "check"],
        "formats": ["<u8", "<i8", "V16", "<u4"],
        "offsets": [0, 8, 16, 32],
        "itemsize": 64,  # a whole number a page: no entry lies on two
    }
)
_CHECKED = 32  # bytes of an entry before its checksum
_NO_ROOM_IN_ADVANCE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

Pixels = npt.NDArray[np.uint8]
Checks = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Source:
    """The file that a row was decoded from: its state then, and the hash of its content."""

    state: FileState
    content: bytes


def pack_bytes(rows: int, size: int) -> int:
    """Bytes of a file of so many rows of ``size`` x ``size`` pixels."""
    return _first_pixel(rows) + rows * size * size * 3


def rows_within(limit: float, size: int) -> float:
    """How many rows fit into ``limit`` bytes, whatever the rest; at least 0."""
    return max(0.0, (limit - 2 * _PAGE) / (_ENTRY.itemsize + size * size * 3))


def create_pack(path: Path, header: Mapping[str, Any], rows: int, size: int) -> None:
    """Make a file without any row, its space taken.

    Args:
        path: where; nothing may stand there.
        header: what it is of, as plain values.
        rows: how many there is to be room for, at least 1.
        size: pixels on a side.

    Raises:
        OSError: as of the system; also where the disk is too full. What was begun is removed.
    """
    page = _header_page({**header, "rows": rows, "size": size})
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _allocate(descriptor, pack_bytes(rows, size))
        os.write(descriptor, page)
    except BaseException:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    os.close(descriptor)


class PixelPack:
    """An open file of decoded images. Threads and processes may share one.

    Attributes:
        path: of the file.
        rows: how many it has room for.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], rows: int, size: int) -> None:
        """Open a file for reading and writing.

        Args:
            path: what :func:`create_pack` made.
            header: as it was made with.
            rows: likewise.
            size: likewise.

        Raises:
            ValueError: the file is another one, or cut short.
            OSError: it cannot be opened for writing.
        """
        self.path, self.rows, self._size = path, rows, size
        self._file = path.open("r+b", buffering=0)
        weakref.finalize(self, self._file.close)
        expected = _header_page({**header, "rows": rows, "size": size})
        length = os.fstat(self._file.fileno()).st_size
        if length != pack_bytes(rows, size) or self._file.read(_PAGE) != expected:
            self._file.close()
            raise ValueError(f"{path} is not the file of decoded images that was expected")
        self._lock = Lock()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._entries = np.frombuffer(mapped, _ENTRY, count=rows, offset=_PAGE)
        self._pixels = np.frombuffer(mapped, np.uint8, offset=_first_pixel(rows)).reshape(rows, -1)

    def checks(self, rows: npt.NDArray[np.int64]) -> Checks:
        """The checksums that stand in the file now, 0 where a row is not there."""
        found: Checks = self._entries["check"][rows]
        return found

    def copy(self, rows: npt.NDArray[np.int64], out: Pixels) -> None:
        """Copy rows as they stand, without a look at their entries.

        Args:
            rows: ``(N,)``, each at least 0 and below :attr:`rows`.
            out: ``(N, size, size, 3)``, contiguous.
        """
        flat = out.reshape(len(rows), self._pixels.shape[1])
        # The default mode copies by way of a buffer; and the GIL is let go while this copies.
        np.take(self._pixels, rows, axis=0, out=flat, mode="clip")

    def verified(self, row: int, out: Pixels) -> tuple[Source, int] | None:
        """Copy a row, and see whether what was copied is what was written.

        Args:
            row: which.
            out: ``(size, size, 3)``, contiguous; of no worth where None is returned.

        Returns:
            Where the row came from, and its checksum; None where it is not there or is damaged.
        """
        entry = self._entries[row].copy()
        if not entry["check"]:
            return None
        out.reshape(-1)[:] = self._pixels[row]
        if entry["check"] != _check(row, entry, out):
            return None
        state = FileState(int(entry["length"]), int(entry["changed_ns"]))
        return Source(state, entry["content"].tobytes()), int(entry["check"])

    def write(self, row: int, source: Source, pixels: Pixels) -> int:
        """Put a row there, in place of what stood there.

        Args:
            row: which.
            source: where the pixels came from.
            pixels: ``(size, size, 3)``, contiguous.

        Returns:
            The row's checksum.

        Raises:
            OSError: as of the system.
        """
        entry = np.zeros((), _ENTRY)
        entry["length"], entry["changed_ns"] = source.state.length, source.state.changed_ns
        entry["content"] = np.void(source.content)
        entry["check"] = _check(row, entry, pixels)
        place = _PAGE + row * _ENTRY.itemsize
        flat = pixels.reshape(-1)
        with self._alone():
            standing = int(self._entries["check"][row])
            same = standing == entry["check"] and np.array_equal(self._pixels[row], flat)
            if not same:  # else another process was first
                if standing:
                    self._write(place, bytes(_ENTRY.itemsize))
                self._write(_first_pixel(self.rows) + row * len(flat), flat.data)
                self._write(place, entry.tobytes())
        return int(entry["check"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep out the writers of this process and of others.

        Where the file system cannot lock, two writers of a row may mix their pixels; the next
        process to read them sees that by the checksum.
        """
        with self._lock:
            if sys.platform == "win32":
                yield
                return
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            except OSError:
                yield
                return
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, place: int, content: bytes | memoryview) -> None:
        left = memoryview(content)
        while left:
            if hasattr(os, "pwrite"):
                written = os.pwrite(self._file.fileno(), left, place)
            else:
                self._file.seek(place)
                written = self._file.write(left)
            left, place = left[written:], place + written


def _header_page(header: Mapping[str, Any]) -> bytes:
    page = json.dumps(header, sort_keys=True).encode() + b"\n"
    if len(page) > _PAGE:
        raise ValueError(f"a header of {len(page)} bytes does not fit a page of {_PAGE}")
    return page.ljust(_PAGE, b"\0")


def _first_pixel(rows: int) -> int:
    return _PAGE + -(-rows * _ENTRY.itemsize // _PAGE) * _PAGE


def _allocate(descriptor: int, length: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, length)
            return
        except OSError as error:
            if error.errno not in _NO_ROOM_IN_ADVANCE:
                raise
    os.ftruncate(descriptor, length)


def _check(row: int, entry: np.void | npt.NDArray[np.void], pixels: Pixels) -> int:
    """CRC-32 of a row's number, its entry and its pixels; never 0, which stands for no row."""
    beginning = zlib.crc32(row.to_bytes(8, "little") + entry.tobytes()[:_CHECKED])
    return zlib.crc32(pixels.reshape(-1).data, beginning) or 1
