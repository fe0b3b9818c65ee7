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
    """The folders of a gallery and all above them, by their spelling."""

    def __init__(self, gallery: Gallery) -> None:
        """Take the gallery; its folders are read when first needed, and after it has changed."""
        self._gallery = gallery
        self._lock = Lock()
        self._version: int | None = None
        self._folders: dict[str, Path] = {}

    def find(self, spelling: str) -> Path:
        """The folder of that spelling.

        Raises:
            HTTPException: 422, no photo of the gallery lies in such a folder or below.
        """
        with self._lock:
            version = self._gallery.version
            if version != self._version:
                folders = [folder for folder, _ in self._gallery.folders()]
                above = {parent for folder in folders for parent in folder.parents}
                self._folders = {spelt(folder): folder for folder in above.union(folders)}
                self._version = version
            found = self._folders.get(spelling)
        if found is None:
            raise HTTPException(422, f"no photo of this gallery lies in the folder {spelling}")
        return found
