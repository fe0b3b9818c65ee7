"""What can still be read of a damaged gallery file, in a new one beside it.

The damaged file is not changed. Rows are sought in its pages (:mod:`.sqlite_pages`) and kept where
everything in them makes sense. A photo that was removed may come back this way; the next
``msedge index`` sees that its file is not there. Tested in ``tests/search/upkeep/test_salvage.py``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.gallery_connections import put_in_place, remove_database
from msedge.search.gallery_file import GalleryFile
from msedge.search.gallery_reads import decoded
from msedge.search.gallery_rows import Model, new_photo_of_row
from msedge.search.store import Block
from msedge.search.upkeep.row_faults import faults
from msedge.search.upkeep.sqlite_pages import INDEX_LEAF, TABLE_LEAF, Pages

SALVAGED = "-salvaged"
"""What the name of the new file ends in."""

PART = "-salvaging"
"""What it ends in until it is whole."""

_ROWS = 4096
_COLUMNS = 9  # of a photo; later ones are the file's own bookkeeping
_TAKEN = 7

Row = tuple[Any, ...]


def is_damaged_gallery(path: Path) -> bool:
    """Whether a file that SQLite refuses has a gallery's model in one of its pages."""
    try:
        with Pages(path) as pages:
            return _model(pages) is not None
    except OSError:
        return False


def count_readable(path: Path) -> int:
    """How many photos :func:`salvage` would find."""
    with Pages(path) as pages:
        model = _model(pages)
        if model is None:
            return 0
        return len({row[0] for rows in _sound_rows(pages, model) for row in rows})


def salvage(path: Path) -> tuple[Path, int]:
    """Write what can be read of a damaged gallery into a new one.

    Args:
        path: the damaged file.

    Returns:
        The new file, beside it, and how many photos it holds.

    Raises:
        DataError: a file of that name is there, it cannot be written, or nothing says what model
            made the gallery.
    """
    target = path.with_name(path.name + SALVAGED)
    part = path.with_name(path.name + PART)
    if target.exists():
        raise DataError(f"{one_line(target)} is there already: move it away, and try again")
    try:
        remove_database(part)
        with Pages(path) as pages:
            model = _model(pages)
            if model is None:
                raise DataError(
                    f"{one_line(path)} does not say any more what made it: index the photos again"
                )
            with GalleryFile.create(part, model) as new:
                for rows in _sound_rows(pages, model):
                    _put(new, rows)
                count = new.count()
        put_in_place(part, target)
    except OSError as error:
        raise DataError(
            f"cannot write {one_line(target)} ({error.strerror}): copy {one_line(path)} to "
            "another place, and check it there"
        ) from error
    finally:
        remove_database(part)
    return target, count


def _model(pages: Pages) -> Model | None:
    meta: dict[str, Any] = {}
    for _, row in pages.rows(INDEX_LEAF):
        if len(row) == 2 and row[0] in ("model", "fingerprint", "dim"):
            meta[row[0]] = row[1]
    try:
        model = Model(str(meta["model"]), str(meta["fingerprint"]), int(meta["dim"]))
    except (KeyError, TypeError, ValueError):
        return None
    return model if model.dim > 0 else None


def _sound_rows(pages: Pages, model: Model) -> Iterator[list[Row]]:
    """Photos whose every field makes sense, some at a time; an id or a path may come twice."""
    rows = (
        (number, *row[1:_TAKEN], *_as_reals(row[_TAKEN : _TAKEN + 1]), row[_COLUMNS - 1])
        for number, row in pages.rows(TABLE_LEAF)
        if len(row) >= _COLUMNS and row[0] is None and number > 0
    )
    while some := list(islice(rows, _ROWS)):
        wrong = faults(some, model.dim)
        yield [row for row in some if row[0] not in wrong]


def _as_reals(values: Row) -> Iterator[Any]:
    """SQLite keeps a real number without a fraction as an integer."""
    return (float(value) if isinstance(value, int) else value for value in values)


def _put(gallery: GalleryFile, rows: list[Row]) -> None:
    """Add photos; of two of an id or path, the one whose file was changed last stays."""
    dim = gallery.model.dim
    with gallery.transaction() as connection:
        for number, path, *fields, vector in rows:
            if _newest(connection, number, path) >= fields[1]:
                continue
            connection.execute("DELETE FROM photos WHERE id = ? OR path = ?", (number, path))
            stored = decoded(vector, 1, dim)[0].astype("f2")
            photo = new_photo_of_row((path, *fields), stored)
            gallery.put_with_ids(Block([number], [photo]))


def _newest(connection: sqlite3.Connection, number: int, path: bytes) -> float:
    (newest,) = connection.execute(
        "SELECT max(mtime_ns) FROM photos WHERE id = ? OR path = ?", (number, path)
    ).fetchone()
    return float("-inf") if newest is None else int(newest)
