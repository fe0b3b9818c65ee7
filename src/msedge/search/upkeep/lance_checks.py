"""What can be wrong with a gallery's Lance dataset, and its mending.

Tested in ``tests/search/upkeep/test_lance.py``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from lance import LanceDataset, LanceOperation

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.gallery_rows import NewPhoto
from msedge.search.lance.datasets import told
from msedge.search.lance.gallery import LanceGallery
from msedge.search.locations import is_remote
from msedge.search.store import Block
from msedge.search.upkeep.copying import PART
from msedge.search.upkeep.files_on_disk import files_problems
from msedge.search.upkeep.findings import Problem, examples, found, noted
from msedge.search.upkeep.lance_rows import Rows, look_at_rows, rows_at
from msedge.search.upkeep.lance_state import unindexed
from msedge.search.upkeep.last_id import never_give_again, next_id_mark
from msedge.search.upkeep.row_faults import FIELD, PATH, VECTOR
from msedge.search.upkeep.watching import Watched

_EMBEDS_AGAIN = "the next `msedge index` reads these photos again"
_COMPACTS = "`msedge gallery compact` makes few large ones of them"
_MANY = 100  # fragments or versions, from which opening and searching take longer
_FAULTS = {
    VECTOR: "vectors that are not finite or not of length 1",
    PATH: "paths that are not absolute",
    FIELD: "ids, sizes or dates that cannot be",
}


def lance_problems(path: Path, watched: Watched, *, photos: bool) -> Iterator[Problem]:
    """What is wrong with a dataset; nothing is changed before a problem is mended.

    Args:
        path: the gallery, whole.
        watched: told how far it is.
        photos: whether the photos' files are looked for, too.

    Raises:
        DataError: there is no dataset, or it is another program's or a later release's.
    """
    try:
        gallery = LanceGallery.open(path, writable=True)
    except DataError as error:
        # Where Lance itself did not fail, what is there is something else.
        if is_remote(path) or not isinstance(error.__cause__, OSError | ValueError):
            raise
        yield found("damage", str(error), 1, "put a copy in its place, or index the photos again")
        return
    with gallery:
        watched.step("checking photos")
        rows = look_at_rows(gallery.now(afresh=True), watched)
        yield from _problems_of_rows(gallery, rows)
        yield from _notes(gallery)
        yield from _leftovers(path)
        if photos and not rows.unreadable:
            yield from files_problems(gallery, watched)


def _problems_of_rows(gallery: LanceGallery, rows: Rows) -> Iterator[Problem]:
    if rows.unreadable:
        why = next(iter(rows.unreadable.values()))
        what = (
            f"{len(rows.unreadable):,} fragments with {rows.lost:,} photos cannot be read ({why})"
        )
        # An object store that does not answer looks the same, and would cost all photos.
        if is_remote(gallery.path):
            yield found("damage", what, rows.lost, "try again; else put a copy in its place")
        else:
            advice = f"takes them out; {_EMBEDS_AGAIN}"
            mend = _taking_out(gallery, list(rows.unreadable))
            yield found("damage", what, rows.lost, advice, mend)
    for kind, ids in rows.bad.items():
        what = f"{len(ids):,} photos with {_FAULTS[kind]} ({examples(rows.names[kind])})"
        yield found(kind, what, len(ids), f"removes them; {_EMBEDS_AGAIN}", _removing(gallery, ids))
    if rows.repeated:
        count = len(rows.repeated)
        what = f"{count:,} rows that share an id or a path with another"
        advice = "keeps the newest of each"
        yield found("repeated", what, count, advice, _keeping_newest(gallery, rows.repeated))
    if next_id_mark(gallery) <= rows.largest_id:
        what = f"ids up to {rows.largest_id:,} are taken and may be given again"
        yield found("ids", what, 1, "keeps them from that", _raising_mark(gallery, rows.largest_id))


def _notes(gallery: LanceGallery) -> Iterator[Problem]:
    moment = gallery.now(afresh=True)
    with told(gallery.path):
        fragments, versions = len(moment.dataset.get_fragments()), len(moment.dataset.versions())
    if fragments > _MANY:
        yield noted("fragments", f"{fragments:,} fragments", fragments, _COMPACTS)
    if versions > _MANY:
        what = f"{versions:,} versions"
        yield noted("versions", what, versions, "`msedge gallery compact` removes old ones")
    if waiting := unindexed(moment):
        what = f"the index does not know {waiting:,} photos yet, which are searched beside it"
        yield noted("unindexed", what, waiting, "`msedge gallery compact` takes them in")


def _leftovers(path: Path) -> Iterator[Problem]:
    if is_remote(path):
        return
    half = path.with_name(path.name + PART)
    if half.exists():

        def mend() -> str:
            shutil.rmtree(half)
            return "removed"

        what = f"half a copy that a killed process left ({one_line(half.name)})"
        yield found("leftovers", what, 1, "removes it", mend)


def _taking_out(gallery: LanceGallery, fragments: list[int]) -> Callable[[], str]:
    def mend() -> str:
        dataset = gallery.now(afresh=True).dataset
        operation = LanceOperation.Update(
            removed_fragment_ids=fragments, updated_fragments=[], new_fragments=[]
        )
        with told(gallery.path):
            LanceDataset.commit(dataset, operation, read_version=dataset.version)
        return f"taken out; {_EMBEDS_AGAIN}"

    return mend


def _removing(gallery: LanceGallery, ids: list[int]) -> Callable[[], str]:
    def mend() -> str:
        with LanceGallery.open(gallery.path, writable=True) as now:
            now.commit([], removing=ids)
        return f"removed; {_EMBEDS_AGAIN}"

    return mend


def _keeping_newest(gallery: LanceGallery, addresses: list[int]) -> Callable[[], str]:
    moment = gallery.now()  # whose addresses these are

    def mend() -> str:
        kept: dict[int, NewPhoto] = {}
        paths: set[bytes] = set()
        with told(gallery.path):
            for (number,), (photo,) in rows_at(moment, addresses):
                if number not in kept and os.fsencode(photo.path) not in paths:
                    kept[number] = photo
                    paths.add(os.fsencode(photo.path))
        ids = sorted(kept)
        with LanceGallery.open(gallery.path, writable=True) as now:
            now.put(Block(ids, [kept[number] for number in ids]))  # replaces all the others
        return f"kept {len(ids):,}"

    return mend


def _raising_mark(gallery: LanceGallery, largest: int) -> Callable[[], str]:
    def mend() -> str:
        with LanceGallery.open(gallery.path, writable=True) as now:
            never_give_again(now, largest)
        return "done"

    return mend
