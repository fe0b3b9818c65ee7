"""Files and objects by one set of verbs: what is there, what identifies it, its bytes.

A path without a protocol is a file of this machine; anything else is reached through fsspec, whose
plug-ins (``s3fs``, ``gcsfs``, ``adlfs``, ``aiohttp``) bring the protocols. Tested in
``tests/search/sources/test_objects.py``.
"""

# ruff: noqa: PTH116, PTH122  (a folder may hold millions: paths are text here)

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from msedge.data.images import PHOTO_SUFFIXES, one_line
from msedge.errors import ConfigError, DataError
from msedge.search.locations import is_remote, location

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PHOTO, TAR, PARQUET = "photo", ".tar", ".parquet"

_LAST_NS = 2**63 - 1
_SECOND = 1_000_000_000
_TIMES = "mtime", "LastModified", "last_modified", "updated", "modified", "Last-Modified", "created"
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "checksum")
_ASKED_AT_ONCE = 16
_NOT_THERE = (404, 410)  # as HTTP numbers it
_ODD_NAME = "its name holds // or /./, which paths do not: give it another"
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Item:
    """A photo to be read, or a shard: a file that holds many of them.

    A photo within a shard is named as if the shard were a folder: ``/data/a.tar/cat.jpg``, and
    ``/data/b.parquet/17`` for a row. What identifies it is its shard's size and time.
    """

    path: str  # absolute, or of an object store
    size: int  # bytes
    mtime_ns: int  # of the last change, in Unix time
    shard: str = ""  # that it lies in
    spot: tuple[int, int] = (0, 0)  # first byte and length in a tar, row and 0 in a Parquet file
    column: str = ""  # of the photos, in a Parquet file

    def __post_init__(self) -> None:
        # A file may claim any time; those that galleries hold end in the year 2262.
        object.__setattr__(self, "mtime_ns", max(-_LAST_NS, min(self.mtime_ns, _LAST_NS)))

    @property
    def state(self) -> tuple[int, int]:
        """Size and time, which tell whether it is as it was."""
        return self.size, self.mtime_ns


def kind_of(name: str) -> str | None:
    """What a file of this name counts as: `PHOTO`, `TAR` or `PARQUET`; None for anything else.

    >>> [kind_of(name) for name in ("cat.HEIC", "train-0000.TAR", "a.parquet", "a.tar.gz")]
    ['photo', '.tar', '.parquet', None]
    """
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PHOTO_SUFFIXES:
        return PHOTO
    return suffix if suffix in (TAR, PARQUET) else None


def shard_of(path: Path) -> tuple[str, str] | None:
    """The tar or Parquet file that a photo lies in, and its name there; None for one of its own.

    Of this machine a shard is a file: a folder may be called ``a.tar`` as well.
    """
    text = str(path)
    for slash in re.finditer("/", text):
        shard = text[: slash.start()]
        if kind_of(shard) in (TAR, PARQUET) and (is_remote(shard) or Path(shard).is_file()):
            return shard, text[slash.end() :]
    return None


def local_or_remote(source: Path | str) -> str:
    """A source as a gallery writes paths: ``file://`` is this machine, others keep their protocol.

    >>> local_or_remote("file:///photos/a"), local_or_remote("s3://bucket/a/")
    ('/photos/a', 's3:/bucket/a')
    """
    return str(Path(re.sub("^(file|local)://", "/", location(source))))


def found_at(path: str) -> Item:
    """What identifies a file or an object now; raises whatever its file system raises."""
    if not is_remote(path):
        status = os.stat(path)
        return Item(path, status.st_size, status.st_mtime_ns)
    system, name = _filesystem(path)
    with _missing_alone():
        return found_of(path, system.info(name))


def found_of(path: str, info: Mapping[str, Any]) -> Item:
    """What identifies an object, from what its file system says of it.

    The time has the object's entity tag mixed in below the second, which object stores do not
    tell: two writes within a second, or without any time, are still told apart.
    """
    times = (_nanoseconds(info[key]) for key in _TIMES if info.get(key) is not None)
    time = next((time for time in times if time is not None), 0)
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), None)
    if tag is not None and time % _SECOND == 0:
        import hashlib

        digest = hashlib.blake2b(tag.encode(), digest_size=8).digest()
        time += int.from_bytes(digest, "big") % _SECOND
    return Item(path, int(info.get("size") or 0), time)


def objects_at(root: str, counts: Callable[[str], bool]) -> tuple[list[Item], dict[str, str]]:
    """The photos and shards at a remote path, itself or below; and what cannot be read, and why.

    ``counts`` says whether an object of such a path below is wanted.

    Raises:
        DataError: nothing is there, or it cannot be reached.
        ConfigError: there is no such protocol, or its package is not installed.
    """
    unread: dict[str, str] = {}
    try:
        system, name = _filesystem(root)
        with _missing_alone():
            info = system.info(name)
        if info.get("type") != "directory" and kind_of(root):
            known = {root: info}
        else:
            known, odd = _below(system, root, name)
            known = {path: info for path, info in known.items() if path != root and counts(path)}
            unread = dict.fromkeys(odd, _ODD_NAME)
    except ConfigError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise DataError(
            f"cannot read {one_line(location(root))} ({why(error)}): check its name, and your "
            "access to it; nothing was changed"
        ) from error
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="ask") as pool:
        found = list(pool.map(_identified, known.items()))
    unread |= {path: each for path, each in zip(known, found, strict=True) if isinstance(each, str)}
    return [each for each in found if isinstance(each, Item)], unread


def open_binary(path: str) -> BinaryIO:
    """Open a file or an object to be read in any order; an OSError for a pipe or a device."""
    if not is_remote(path):
        # Without waiting: opening a pipe would wait for who writes to it.
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    system, name = _filesystem(path)
    with _missing_alone():
        return cast(BinaryIO, system.open(name, "rb"))


def read_range(path: str, start: int, length: int) -> bytes:
    """So many bytes from somewhere in a file or an object; fewer where it ends before."""
    if not is_remote(path):
        with open_binary(path) as stream:
            stream.seek(start)
            return stream.read(length)
    system, name = _filesystem(path)
    return cast(bytes, system.cat_file(name, start=start, end=start + length))


def read_at_most(path: str, limit: int) -> bytes:
    """All bytes of a file or an object, or ``limit + 1`` of them where there are more."""
    with open_binary(path) as stream:
        return stream.read(limit + 1)


def why(error: Exception) -> str:
    """The reason of a failed reading, in a few words."""
    if isinstance(error, DataError):
        return str(error)
    status = getattr(error, "status", None)  # of HTTP
    if isinstance(error, FileNotFoundError) or status in _NOT_THERE:
        return "no such file or directory"
    if isinstance(status, int):
        words = getattr(error, "message", "") or "no reason"
        return one_line(f"the server answers {status} ({words})")[:200]
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    if getattr(error, "errno", None) == errno.ECONNREFUSED:
        return "the server refuses the connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return one_line(str(error).strip() or type(error).__name__)[:200]


@contextmanager
def _missing_alone() -> Iterator[None]:
    """Keep a server that refuses or fails from being a missing file, which fsspec makes of it."""
    try:
        yield
    except FileNotFoundError as error:
        cause = error.__cause__
        if not isinstance(cause, Exception) or getattr(cause, "status", None) in _NOT_THERE:
            raise
        raise ConnectionError(why(cause)) from error


def _filesystem(path: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a remote path, and what it calls the path."""
    try:
        import fsspec

        return cast("tuple[AbstractFileSystem, str]", fsspec.core.url_to_fs(location(path)))
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"cannot reach {one_line(location(path))} ({one_line(error)}): install the package of "
            "fsspec that knows this protocol"
        ) from error


def _below(
    system: AbstractFileSystem, root: str, name: str
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """What is said of the photos and shards below, and the URLs of those no path can name."""
    system.invalidate_cache()
    protocol = location(root).partition("://")[0]
    below, odd = {}, []
    for called, info in system.find(name, detail=True).items():
        if info.get("type") == "directory" or not kind_of(called):
            continue
        url = called if "://" in called else f"{protocol}://{called.removeprefix('/')}"
        parts = url.partition("://")[2]
        if posixpath.normpath(parts) == parts:  # a path knows no empty parts and no `.`
            below[str(Path(url))] = info
        else:
            odd.append(url)
    return below, odd


def _identified(listed: tuple[str, Mapping[str, Any]]) -> Item | str:
    """An object by what the listing says, asked for where that leaves its size out; or why not."""
    path, info = listed
    try:
        return found_of(path, info) if info.get("size") is not None else found_at(path)
    except Exception as error:  # each file system has errors of its own
        return why(error)


def _nanoseconds(value: object) -> int | None:
    from email.utils import parsedate_to_datetime

    for parsed in (datetime.fromisoformat, parsedate_to_datetime):
        if isinstance(value, str):
            with suppress(ValueError):
                value = parsed(value)
    if isinstance(value, datetime):
        return int(value.replace(microsecond=0).timestamp()) * _SECOND + value.microsecond * 1_000
    return int(value * _SECOND) if isinstance(value, int | float) else None
