"""Photos within plain tar files, found by their headers and read by their place.

Tested in ``tests/search/cluster/test_shards.py``.
"""

from __future__ import annotations

import posixpath
import tarfile

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.cluster.objects import open_binary
from msedge.search.folders import is_photo_name


def members(path: str) -> dict[str, tuple[int, int]]:
    """The members that are named like photos.

    Args:
        path: of a tar that is not compressed.

    Returns:
        First byte and length of each, by its name without ``./``; of several of one name the last
        counts, as when a tar is unpacked.

    Raises:
        DataError: it is no such tar, or damaged.
        OSError: it cannot be read; or whatever its file system raises.
    """
    found: dict[str, tuple[int, int]] = {}
    try:
        with open_binary(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                name = posixpath.normpath(member.name).lstrip("/")
                usable = member.isreg() and not member.issparse() and ".." not in name.split("/")
                if usable and is_photo_name(name):
                    found[name] = (member.offset_data, member.size)
                tar.members = []  # type: ignore[attr-defined]  # it would keep every header
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"no plain tar, or damaged ({one_line(error)})") from error
    return found
