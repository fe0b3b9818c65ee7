"""Files and objects by one set of verbs: what is there, what identifies it, its bytes.

A path without a protocol is a file of this machine; anything else is reached through fsspec, whose
plug-ins (``s3fs``, ``gcsfs``, ``adlfs``, ``aiohttp``) bring the protocols. Tested in
``tests/search/cluster/test_objects.py``.
"""

# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from msedge.data.images import one_line
from msedge.errors import ConfigError
from msedge.search.folders import FoundFile
from msedge.search.locations import is_remote, location

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_SECOND = 1_000_000_000
_TIMES = (
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "modified",
    "Last-Modified",
    "created",
)
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "checksum")
_ASKED_AT_ONCE = 16


def local_or_remote(source: Path | str) -> str:
    """A source as a gallery writes paths: ``file://`` is this machine, others keep their protocol.

    >>> local_or_remote("file:///photos/a"), local_or_remote("s3://bucket/a/")
    ('/photos/a', 's3:/bucket/a')
    """
    text = location(source)
    for protocol in ("file://", "local://"):
        if text.startswith(protocol):
            return "/" + text.removeprefix(protocol).lstrip("/")
    return str(Path(text))


def filesystem(path: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a remote path, and what it calls the path.

    Raises:
        ConfigError: there is no such protocol, or its package is not installed.
    """
    import fsspec

    try:
        return cast("tuple[AbstractFileSystem, str]", fsspec.core.url_to_fs(location(path)))
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"cannot reach {one_line(location(path))} ({one_line(error)}): install the package of "
            "fsspec that knows this protocol"
        ) from error


def found_at(path: str) -> FoundFile:
    """What identifies a file or an object now: size, and time of the last change.

    Raises:
        OSError: it cannot be reached; or whatever its file system raises.
    """
    if not is_remote(path):
        status = os.stat(path)
        return FoundFile(path, status.st_size, status.st_mtime_ns)
    system, name = filesystem(path)
    return found_of(path, system.info(name))


def found_of(path: str, info: Mapping[str, Any]) -> FoundFile:
    """What identifies an object, from what its file system says of it.

    The time has the object's entity tag mixed in below the second, which object stores do not
    tell: two writes within a second, or without any time, are still told apart.
    """
    times = (_nanoseconds(info[key]) for key in _TIMES if info.get(key) is not None)
    time = next((time for time in times if time is not None), 0)
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), None)
    if tag is not None and time % _SECOND == 0:
        digest = hashlib.blake2b(tag.encode(), digest_size=8).digest()
        time += int.from_bytes(digest, "big") % _SECOND
    return FoundFile(path, int(info.get("size") or 0), time)


def objects_below(path: str) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The objects below a remote path.

    Returns:
        What is known of each, by path, where sizes may be missing; and the URLs of those whose
        names a path cannot hold.
    """
    system, name = filesystem(path)
    system.invalidate_cache()
    found = system.find(name, detail=True)
    protocol = location(path).partition("://")[0]
    below, odd = {}, []
    for called, info in found.items():
        if info.get("type") == "directory":
            continue
        url = called if "://" in called else f"{protocol}://{called.removeprefix('/')}"
        if _can_be_named(url):
            below[str(Path(url))] = info
        else:
            odd.append(url)
    return below, odd


def with_sizes(found: Mapping[str, Mapping[str, Any]]) -> dict[str, FoundFile | Exception]:
    """What identifies each object; where a listing left its size out, it is asked for."""

    def ask(item: tuple[str, Mapping[str, Any]]) -> FoundFile | Exception:
        path, info = item
        try:
            return found_of(path, info) if info.get("size") is not None else found_at(path)
        except Exception as error:  # each file system has errors of its own
            return error

    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="ask") as pool:
        return dict(zip(found, pool.map(ask, found.items()), strict=True))


def open_binary(path: str) -> BinaryIO:
    """Open a file or an object to be read in any order."""
    if not is_remote(path):
        return open(path, "rb")
    system, name = filesystem(path)
    return cast(BinaryIO, system.open(name, "rb"))


def read_range(path: str, start: int, length: int) -> bytes:
    """So many bytes from somewhere in a file or an object; fewer where it ends before."""
    if not is_remote(path):
        with open(path, "rb") as stream:
            stream.seek(start)
            return stream.read(length)
    system, name = filesystem(path)
    return cast(bytes, system.cat_file(name, start=start, end=start + length))


def read_at_most(path: str, limit: int) -> bytes:
    """All bytes of a file or an object, or ``limit + 1`` of them where there are more."""
    with open_binary(path) as stream:
        return stream.read(limit + 1)


def why(error: Exception) -> str:
    """The reason of a failed reading, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "no such file or directory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return one_line(str(error).strip() or type(error).__name__)[:200]


def _can_be_named(url: str) -> bool:
    """Whether a path can hold the name: it knows no empty parts and no ``.``."""
    parts = url.partition("://")[2]
    return posixpath.normpath(parts) == parts


def _nanoseconds(value: object) -> int | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            try:
                value = parsedate_to_datetime(cast(str, value))
            except ValueError:
                return None
    if isinstance(value, datetime):
        return int(value.replace(microsecond=0).timestamp()) * _SECOND + value.microsecond * 1_000
    return int(value * _SECOND) if isinstance(value, int | float) else None
