"""The bytes of an image's file, no more than fit and without waiting for anything.

A photo may be a pipe by the time it is opened, may be a terabyte of nothing, and may grow while it
is read. Tested in ``tests/data/test_image_file.py``.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 256_000_000
"""Larger files are refused: an image is read whole, and by several threads at once."""

_AT_LEAST = 64 * 1024  # asked for at a time, of a file that says it is shorter


def read_image_file(path: Path, most: int = MAX_BYTES) -> tuple[bytes, os.stat_result]:
    """Read a whole file.

    Args:
        path: the file; links are followed.
        most: bytes that it may have, :data:`MAX_BYTES` of what is no drawing.

    Returns:
        Its bytes, and what the system said of it before the first was read: where it is written
        to meanwhile, a later look finds another size or time.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is no regular file (a pipe would be waited for), it is too large, or its
            path holds a null. The message says which in a few words.
    """
    _check(path.stat(), most)  # before opening: that alone can start something in a device
    with open(path, "rb", opener=_without_waiting) as stream:
        status = os.fstat(stream.fileno())
        _check(status, most)
        parts, left = [], most + 1
        while left > 0:
            part = stream.read(min(left, max(status.st_size, _AT_LEAST) + 1))
            if not part:
                break
            parts.append(part)
            left -= len(part)
    if left <= 0:
        raise ValueError(_too_large(most))
    return (parts[0] if len(parts) == 1 else b"".join(parts)), status


def _check(status: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > most:
        raise ValueError(_too_large(most))


def _too_large(most: int) -> str:
    return f"it is larger than {most / 1e6:g} MB: scale it down or leave it out"


def _without_waiting(path: str, flags: int) -> int:
    # A pipe that took the file's place since it was looked at would else be waited for, for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
