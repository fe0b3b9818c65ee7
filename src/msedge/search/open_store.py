"""Which kind of gallery a path names, and opening it.

Tested in ``tests/search/test_open_store.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msedge.data.images import one_line
from msedge.errors import ConfigError
from msedge.search.gallery_file import GalleryFile
from msedge.search.locations import is_remote, location

if TYPE_CHECKING:
    from msedge.search.lance.gallery import LanceGallery

LANCE_SUFFIX = ".lance"


def is_lance(path: Path) -> bool:
    """Whether a path names a Lance dataset rather than a file of SQLite.

    >>> is_lance(Path("photos.lance")), is_lance(Path("photos.msedge"))
    (True, False)
    """
    return path.suffix == LANCE_SUFFIX


def open_store(
    path: Path, *, writable: bool = False, exact: bool = False
) -> GalleryFile | LanceGallery:
    """Open a gallery of either kind.

    Args:
        path: a file that ``msedge index`` wrote, or a Lance dataset (``.lance``), which may lie in
            an object store (``s3://bucket/photos.lance``).
        writable: whether it will be changed.
        exact: whether it is searched exactly, whatever index it has.

    Raises:
        DataError: it is missing, not a gallery, of a newer release, or damaged.
        ConfigError: a file of SQLite is asked for in an object store.
    """
    if is_lance(path):
        from msedge.search.lance.gallery import LanceGallery

        return LanceGallery.open(path, writable=writable, exact=exact)
    if is_remote(path):
        raise ConfigError(
            f"{one_line(location(path))}: in an object store a gallery is a Lance dataset, whose "
            f"name ends in {LANCE_SUFFIX}: make one with `msedge gallery copy`"
        )
    return GalleryFile.open(path, writable=writable, exact=exact)
