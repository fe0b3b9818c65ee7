"""Whether a gallery is sound, and its repair.

Nothing is changed unless it is asked for. Tested in ``tests/search/upkeep/test_checking.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from msedge.errors import DataError
from msedge.search.index_lock import sole_indexer
from msedge.search.locations import whole
from msedge.search.open_store import is_lance, open_store
from msedge.search.upkeep.beside import approximate_problem, leftovers, thumbnails_problem
from msedge.search.upkeep.files_on_disk import files_problems
from msedge.search.upkeep.findings import Finding, Problem, noted
from msedge.search.upkeep.locks import INDEXING, is_held
from msedge.search.upkeep.sqlite_checks import connected, sqlite_problems
from msedge.search.upkeep.watching import UpkeepWatcher, Watched


def check_gallery(
    path: Path,
    *,
    repair: bool = False,
    photos: bool = False,
    watcher: UpkeepWatcher | None = None,
    stop: threading.Event | None = None,
) -> list[Finding]:
    """Look for what is wrong with a gallery.

    Args:
        path: of either kind.
        repair: whether to mend what can be mended. Nobody may be writing the gallery then. A
            damaged file is left as it is; what can be read of it goes into a new one.
        photos: whether to look for the files of all photos, too.
        watcher: told how far it is.
        stop: set it to make an end soon; what was mended stays so.

    Returns:
        What was found, what was mended included; none for a gallery that is sound.

    Raises:
        DataError: there is no gallery of that name, it may not be read, or is to be repaired while
            another process writes it.
        StoppedError: ``stop`` was set.
    """
    path, watched = whole(path), Watched(watcher, stop)
    if is_lance(path):
        from msedge.search.upkeep.lance_checks import lance_problems

        return _settled(lance_problems(path, watched, photos=photos), repair=repair)
    if not path.is_file():
        open_store(path)  # which says what it is
    with sole_indexer(path) if repair else _as_it_is(path):
        return _settled(_of_file(path, watched, mine=repair, photos=photos), repair=repair)


@contextmanager
def _as_it_is(path: Path) -> Iterator[None]:
    """Keep what a killed writer left where it is: whoever closes a file last would take it in."""
    log = path.with_name(path.name + "-wal")
    with ExitStack() as stack:
        if log.exists() and log.stat().st_size:
            with suppress(sqlite3.Error, DataError):
                stack.enter_context(closing(connected(path)))
        yield


def _settled(problems: Iterator[Problem], *, repair: bool) -> list[Finding]:
    return [problem.mended() if repair else problem.finding for problem in problems]


def _of_file(path: Path, watched: Watched, *, mine: bool, photos: bool) -> Iterator[Problem]:
    is_readable = True
    for problem in sqlite_problems(path, watched):
        is_readable &= problem.finding.name not in ("damage", "meta", "schema")
        yield problem
    if mine or not is_held(path.with_name(path.name + INDEXING)):
        yield from leftovers(path)
    else:
        what = "another process is writing the gallery; what a killed one left is not looked for"
        yield noted("busy", what, 1, "check again when that has ended")
    yield from thumbnails_problem(path)
    if is_readable:
        yield from approximate_problem(path)
        if photos:
            with closing(open_store(path)) as store:
                yield from files_problems(store, watched)
