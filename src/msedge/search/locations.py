"""Where photos and galleries lie: files, and objects in a store that has no files.

A path stands for both, since the rest of the package knows paths: ``s3://bucket/cat.jpg`` is kept
as ``Path("s3:/bucket/cat.jpg")``, which no file can be (it is not absolute), and written out again
with both slashes. A photo within a tar or Parquet file is named as if that were a folder:
``/data/shard.tar/cat.jpg``, ``s3://bucket/part.parquet/17``. Tested in
``tests/search/test_locations.py``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_REMOTE = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)


def location(path: Path | str) -> str:
    """A path as people and fsspec write it.

    >>> location(Path("s3://bucket/cats/1.jpg")), location(Path("/photos/1.jpg"))
    ('s3://bucket/cats/1.jpg', '/photos/1.jpg')
    """
    remote = _REMOTE.fullmatch(str(path))
    return f"{remote[1]}://{remote[2]}" if remote else str(path)


def uri(path: Path) -> str:
    """What a program opens: ``file:///...`` for a file, else the location itself.

    >>> uri(Path("/photos/1 2.jpg")), uri(Path("s3://bucket/1.jpg"))
    ('file:///photos/1%202.jpg', 's3://bucket/1.jpg')
    """
    return location(path) if is_remote(path) else path.as_uri()


def is_remote(path: Path | str) -> bool:
    """Whether a path is of an object store or server rather than of a file system.

    >>> is_remote(Path("s3://bucket/cats")), is_remote(Path("cats"))
    (True, False)
    """
    return _REMOTE.fullmatch(str(path)) is not None


def whole(path: Path) -> Path:
    """A path that does not depend on the working directory."""
    return path if is_remote(path) else Path(os.path.abspath(path))  # noqa: PTH100
