"""The largest id that a gallery has ever given, which no other photo must get, also in a copy.

Tested in ``tests/search/upkeep/test_copying.py``.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, cast

from msedge.search.gallery_connections import open_to_read, told
from msedge.search.gallery_file import GalleryFile
from msedge.search.store import Store

if TYPE_CHECKING:
    from msedge.search.lance.gallery import LanceGallery


def last_id(store: Store) -> int:
    """The largest id ever given, 0 before the first."""
    if not isinstance(store, GalleryFile):
        return next_id_mark(cast("LanceGallery", store)) - 1
    with told(store.path), closing(open_to_read(store.path)[0]) as connection:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'photos'").fetchone()
        if row is not None and not isinstance(row[0], int):
            raise sqlite3.DatabaseError("its last id is no number")
        return 0 if row is None else int(row[0])


def next_id_mark(gallery: LanceGallery) -> int:
    """The id that a Lance gallery gives next, as it says itself; 1 where it says none."""
    from msedge.search.lance.gallery import NEXT_ID, id_of

    return id_of(gallery.now(afresh=True).dataset.config().get(NEXT_ID, "1"))


def never_give_again(store: GalleryFile | LanceGallery, last: int) -> None:
    """Let a gallery's next photo get a larger id than ``last``.

    Args:
        store: open for writing, with no larger id in it.
        last: 0 or more.
    """
    if not isinstance(store, GalleryFile):
        store.spare_ids(last)
        return
    with store.transaction() as connection:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'photos' AND seq < ?", (last,))
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'photos', ? "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'photos')",
            (last,),
        )
