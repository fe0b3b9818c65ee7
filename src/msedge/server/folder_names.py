"""Folders as the page spells them, and which folder a spelling means.

A folder in a request is looked up here among the gallery's own; nothing is ever opened by it. Names
that are not UTF-8 are spelt with escapes, since JSON cannot hold them. Tested in
``tests/server/test_folder_names.py``.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

from starlette.exceptions import HTTPException

from msedge.search.gallery import Gallery
from msedge.search.locations import location


def spelt(path: Path | str) -> str:
    r"""A path as text that UTF-8 can hold.

    >>> spelt("cats"), spelt(os.fsdecode(b"caf\xe9"))
    ('cats', 'caf\\xe9')
    """
    return os.fsencode(location(path)).decode("utf-8", "backslashreplace")


class FolderNames:
    """The folders of a gallery and all above them, by their spelling.

    They are read when first needed, and after the gallery has changed: counting the photos of each
    means to look at every photo.
    """

    def __init__(self, gallery: Gallery) -> None:
        """Take the gallery."""
        self._gallery = gallery
        self._lock = Lock()
        self._changes: int | None = None
        self._counted: list[tuple[str, int]] = []
        self._folders: dict[str, Path] = {}

    def counted(self) -> list[tuple[str, int]]:
        """Each folder that photos lie in, spelt, and how many lie directly in it."""
        with self._lock:
            self._read()
            return self._counted

    def find(self, spelling: str) -> Path:
        """The folder of that spelling.

        Raises:
            HTTPException: 422, no photo of the gallery lies in such a folder or below.
        """
        with self._lock:
            self._read()
            found = self._folders.get(spelling)
        if found is None:
            raise HTTPException(422, f"no photo of this gallery lies in the folder {spelling}")
        return found

    def _read(self) -> None:
        changes = self._gallery.changes
        if changes == self._changes:
            return
        found = self._gallery.folders()
        above = {parent for folder, _ in found for parent in folder.parents}
        self._folders = {spelt(folder): folder for folder in above.union(dict(found))}
        self._counted = [(spelt(folder), photos) for folder, photos in found]
        self._changes = changes
