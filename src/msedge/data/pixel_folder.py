"""The folder of decoded images: one file a dataset and size, all together within a bound.

Files are made under a hidden name and then linked into place, so that no process meets half of
one. Opening them is what makes room, under a lock on the folder; reading and writing them needs
none, and a file that is removed stays as it is for those that have it open. Tested in
``tests/data/test_pixel_folder.py``.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msedge.data.images import one_line
from msedge.data.pixel_pack import PixelPack, create_pack, pack_bytes
from msedge.errors import DataError

if sys.platform != "win32":
    import fcntl

_LOCK = ".lock"
_PACKS = re.compile(r"[0-9a-f]{32}\.pixels")
_BEGUN = re.compile(r"\.[0-9a-f]{32}-[0-9a-f]{8}\.pixels")


def pack_path(folder: Path, key: str) -> Path:
    """The file of a key in a folder."""
    return folder / f"{key}.pixels"


def open_pack(
    folder: Path, key: str, rows: int, size: int, *, most_bytes: float
) -> PixelPack | None:
    """Open the file of a key, or make it; others are removed where there are too many.

    Args:
        folder: made when it is missing.
        key: 32 hexadecimal digits, of everything that the pixels depend on.
        rows: how many the file is to have room for.
        size: pixels on a side.
        most_bytes: of all files together, this one among them. The least recently opened others
            go first; where ``rows`` are more than fit, everything else goes.

    Returns:
        The file; None where ``rows`` is 0. One that is damaged or has room for another number of
        rows is begun anew.

    Raises:
        DataError: the folder cannot be written, or the disk is too full.
    """
    path = pack_path(folder, key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder) as alone:
            if alone:  # what a killed process left: nobody is making a file now
                _remove(found for found in folder.iterdir() if _BEGUN.fullmatch(found.name))
            if not rows:
                _remove([path])
            _make_room(path, most_bytes - (pack_bytes(rows, size) if rows else 0))
            return _opened(path, key, rows, size) if rows else None
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {one_line(folder)} ({error.strerror or error}); "
            "choose a folder with --cache-dir, or go without by --no-cache"
        ) from error


def _opened(path: Path, key: str, rows: int, size: int) -> PixelPack:
    header = {"key": key}
    for _ in range(3):
        try:
            pack = PixelPack(path, header, rows, size)
        except FileNotFoundError:
            pass
        except ValueError:  # cut short, or made for another bound
            path.unlink(missing_ok=True)
        else:
            os.utime(path)  # used now
            return pack
        begun = path.with_name(f".{key}-{secrets.token_hex(4)}.pixels")
        create_pack(begun, header, rows, size)
        try:
            _put_in_place(begun, path)
        finally:
            begun.unlink(missing_ok=True)
    raise OSError(f"{path.name} is changed by others all the time")


def _put_in_place(begun: Path, path: Path) -> None:
    try:
        os.link(begun, path)
    except FileExistsError:  # another was faster, where the folder cannot be locked
        pass
    except OSError:  # a file system without links
        begun.rename(path)


def _make_room(own: Path, room: float) -> None:
    found = []
    for path in own.parent.iterdir():
        if _PACKS.fullmatch(path.name) and path != own:
            with suppress(FileNotFoundError):
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
    total = sum(length for _, length, _ in found)
    for _, length, path in sorted(found):
        if total <= room:
            break
        _remove([path])
        total -= length


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        with suppress(PermissionError, FileNotFoundError):  # another user's; in use, on Windows
            path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep others from opening files of the folder meanwhile; yields whether that was possible."""
    if sys.platform == "win32":
        yield False
        return
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            alone = True
        except OSError:  # some network file systems cannot
            alone = False
        yield alone
    finally:
        os.close(descriptor)
