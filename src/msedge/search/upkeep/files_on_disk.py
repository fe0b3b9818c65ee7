"""What a gallery says of photos, compared with the files that are there.

Tested in ``tests/search/upkeep/test_checking.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msedge.search.locations import is_remote
from msedge.search.store import Store
from msedge.search.upkeep.findings import Problem, examples, found, noted
from msedge.search.upkeep.watching import Watched

_ROWS = 4096
_INDEX_AGAIN = "`msedge index` with their folder brings the gallery up to date"


def files_problems(store: Store, watched: Watched) -> Iterator[Problem]:
    """Photos whose file is missing or another than when it was indexed.

    Photos in an object store, or within a tar or Parquet file, are not looked at.

    Args:
        store: the gallery.
        watched: told how far it is.
    """
    missing, changed = _Some(), _Some()
    elsewhere = done = 0
    total = store.count()
    for block in store.blocks(_ROWS):
        for photo in block.photos:
            if is_remote(photo.path) or _is_within_a_file(photo.path):
                elsewhere += 1
                continue
            try:
                status = photo.path.stat()
            except OSError:
                missing.add(photo.path)
                continue
            if (status.st_size, status.st_mtime_ns) != (photo.size, photo.mtime_ns):
                changed.add(photo.path)
        done += len(block.ids)
        watched.progress("looking for files", done, total)
    if missing.count:
        what = f"{missing.count:,} photos whose file is not there ({missing})"
        yield found("missing", what, missing.count, _INDEX_AGAIN)
    if changed.count:
        what = f"{changed.count:,} photos whose file has changed ({changed})"
        yield found("changed", what, changed.count, _INDEX_AGAIN)
    if elsewhere:
        what = f"{elsewhere:,} photos in archives or an object store, which are not looked at"
        yield noted("elsewhere", what, elsewhere, "`msedge index` looks at them")


class _Some:
    """Counts many paths, remembers the first few."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[Path] = []

    def __str__(self) -> str:
        return examples(self._first)

    def add(self, path: Path) -> None:
        self.count += 1
        if len(self._first) <= 3:
            self._first.append(path)


def _is_within_a_file(path: Path) -> bool:
    return any(part.suffix in (".tar", ".parquet") and part.is_file() for part in path.parents)
