"""What lies beside a gallery's file: what a killed process left, and caches.

Everything here may be removed without losing a photo, as long as nobody writes the gallery. Tested
in ``tests/search/upkeep/test_checking.py`` and ``test_approximating.py``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.approximate_view import folder_of, index_beside
from msedge.search.gallery_connections import remove_database
from msedge.search.gallery_file import GalleryFile
from msedge.search.indexing import REBUILDING
from msedge.search.upkeep.findings import Problem, examples, found, noted
from msedge.search.upkeep.locks import BUILDING, is_held
from msedge.search.upkeep.salvage import PART as SALVAGING

THUMBNAILS = ".thumbnails"
_HALF_MADE = ("-new", REBUILDING, SALVAGING)
_BUILD_ANEW = "`msedge gallery approximate` builds it anew"
_OF_SQLITE = ("", "-wal", "-shm", "-journal")


def leftovers(path: Path) -> Iterator[Problem]:
    """What a process that was killed left; only for a gallery that nobody writes just now."""
    for ending in _HALF_MADE:
        half = path.with_name(path.name + ending)
        files = [half.with_name(half.name + end) for end in _OF_SQLITE]
        files = [file for file in files if file.exists()]
        if files:
            names = examples(file.name for file in files)
            advice = "removes it"
            if ending == REBUILDING:
                advice += "; or go on with it by `msedge index --rebuild`"
            what = f"half a gallery that a killed process left ({names})"
            yield found("leftovers", what, len(files), advice, _removing_database(half))
    log = path.with_name(path.name + "-wal")
    if log.exists() and (size := log.stat().st_size):
        what = f"{size:,} bytes of commits that a killed process left in {one_line(log.name)}"
        yield found("log", what, size, "puts them into the gallery's file", _taking_in_log(path))


def thumbnails_problem(path: Path) -> Iterator[Problem]:
    """Whether the cache of thumbnails is whole."""
    cache = path.with_name(path.name + THUMBNAILS)
    if not cache.exists():
        return
    try:
        with closing(
            sqlite3.connect(f"{cache.as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute("SELECT content_hash, side, used, jpeg FROM thumbnails LIMIT 1")
    except sqlite3.Error as error:
        state = str(error)
    if state != "ok":
        what = f"the cache of thumbnails is damaged ({one_line(state)})"
        yield found("thumbnails", what, 1, "removes it", _removing_database(cache))


def approximate_problem(path: Path) -> Iterator[Problem]:
    """Whether the approximate index is whole, of this gallery, and how far it is behind."""
    folder = folder_of(path)
    if not folder.exists():
        return
    if is_held(folder / BUILDING):
        yield noted("approximate", "the approximate index is being built", 1, "check again then")
        return
    if folder.is_dir() and {each.name for each in folder.iterdir()} <= {BUILDING}:
        return  # what a build leaves that could not begin
    try:
        from msedge.search.approximate.index import ApproximateIndex

        about = ApproximateIndex.open(folder).about
    except ModuleNotFoundError:
        yield noted("approximate", "the approximate index cannot be read here", 1, "install faiss")
        return
    except DataError as error:
        yield found("approximate", str(error), 1, "removes it", _removing_index(folder))
        return
    with GalleryFile.open(path) as file:
        is_ours, changed = index_beside(file) is not None, file.changed(about.version)
    if not is_ours:
        what = "the approximate index is of another gallery"
        yield found("approximate", what, 1, "removes it", _removing_index(folder))
    elif changed is None:
        what = "the approximate index is too far behind, and is not used"
        yield noted("approximate", what, about.count, _BUILD_ANEW)
    elif changed:
        what = f"the approximate index is {changed:,} photos behind, which are searched exactly"
        yield noted("approximate", what, changed, _BUILD_ANEW)


def _removing_database(path: Path) -> Callable[[], str]:
    def mend() -> str:
        remove_database(path)
        path.with_name(path.name + "-journal").unlink(missing_ok=True)
        return "removed"

    return mend


def _removing_index(path: Path) -> Callable[[], str]:
    def mend() -> str:
        from msedge.search.approximate.build import remove_index, sole_builder

        try:
            with sole_builder(path):
                remove_index(path)
        except OSError as error:
            raise DataError(
                f"cannot remove {one_line(path)} ({error.strerror}): remove it by hand"
            ) from error
        return "removed"

    return mend


def _taking_in_log(path: Path) -> Callable[[], str]:
    def mend() -> str:
        with GalleryFile.open(path, writable=True) as file:
            file.count()
        return "done"

    return mend
