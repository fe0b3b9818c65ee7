"""Folders that moved, or that are gone for good: their photos follow them, or are taken out.

A gallery knows photos by their paths. Where a folder has another name now, its photos get paths
under that one and keep all else; none of them is read. Tested in ``tests/search/test_folders.py``.
"""

# ruff: noqa: PTH116, PTH119, PTH120, PTH112  (a gallery may hold millions: paths are text)

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.search.locations import is_remote, location, whole
from msedge.search.photo import Place
from msedge.search.sources import Found, is_below, rooted
from msedge.search.sources.objects import found_at, shard_of
from msedge.search.sources.plan import SHARDS, with_shards_moved
from msedge.search.stores import open_store, written_by_one
from msedge.search.stores.reports import Told
from msedge.search.stores.store import Store

_NEAREST = 3  # folders that a message names
_LOOKED_AT = 200  # photos, to see whether a folder is the one that moved
_TWINS = 16  # photos of one name and content that are held against a new one


@dataclass(frozen=True)
class Rerooted(Told):
    """What it came to that a folder moved, in photos."""

    photos: int  # that have the new folder's paths now
    known: int  # of these, known at their new path before: those entries are gone
    other: int  # of these, known there with other content
    is_there: bool  # whether any of those that were looked for is in the new folder


@dataclass(frozen=True)
class Forgotten(Told):
    """How many photos were taken out of a gallery."""

    photos: int


@dataclass(frozen=True, slots=True)
class MovedFolder:
    """A folder that is not there any more, and where photos of it were found."""

    old: str  # as a gallery writes paths
    new: str
    photos: int  # that were found

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return asdict(self) | {"old": location(self.old), "new": location(self.new)}


def reroot(gallery: Path, old: Path | str, new: Path | str) -> Rerooted:
    """Give all photos of a folder, and of those below, the same paths under another folder.

    Ids, vectors and dates stay. A photo that was known at such a path already is there once, under
    the id that it had in the old folder; with other content it is read again by the next indexing.
    Either folder may lie in the other; of a new folder within the old one, photos stay that lie
    there as they did. It is one commit.

    Args:
        gallery: of either kind; others may search it meanwhile.
        old: need not be there; a tar or a Parquet file as well, or a URL.
        new: has to be there, unless it is remote.

    Raises:
        DataError: the gallery holds no photos of the old folder, or there is no new one; another
            process indexes into it; it cannot be read or written. Nothing was changed then.
        ConfigError: both are the same folder.
    """
    before, after = rooted(old), rooted(new)
    if before == after:
        raise ConfigError(f"{_named(before)} is the old and the new folder: give both names")
    moved = _mover(before, after)
    with _photos_of(gallery, before) as (store, places, inside):
        _check_there(after)
        if is_below(after, (before,)):
            inside = [p for p in inside if not (is_below(p, (after,)) and _lies(p, places[p]))]
        # Where one folder lies in the other, a place is left before another photo comes there.
        inside.sort(key=len, reverse=len(after) > len(before))
        moving, moves, known, other = set(inside), [], 0, 0
        for path in inside:
            place, target = places[path], moved(path)
            at_target = None if target in moving else places.get(target)
            known += at_target is not None
            if at_target is None or at_target.content_hash != place.content_hash:
                other += at_target is not None
                at_target = place
            moves.append((place.id, Path(target), at_target.size, at_target.mtime_ns))
        _note_shards(store, lambda path: moved(path) if is_below(path, (before,)) else path)
        if moves:
            store.change(move=moves)
    return Rerooted(len(moves), known, other, _has_some(moves, after))


def forget(gallery: Path, folder: Path | str) -> Forgotten:
    """Take all photos of a folder, and of those below, out of a gallery, in one commit.

    The folder need not be there; it may be a tar, a Parquet file, a URL, or one photo. No file is
    touched.

    Raises:
        ConfigError: it is the root of all files.
        DataError: the gallery holds no photos of it; another process indexes into the gallery; it
            cannot be read or written. Nothing was changed then.
    """
    root = rooted(folder)
    if not os.path.basename(root):
        raise ConfigError(f"{_named(root)} is every photo: name a folder below it, or a photo")
    with _photos_of(gallery, root, alone=True) as (store, places, inside):
        _note_shards(store, lambda path: None if is_below(path, (root,)) else path)
        store.change(remove=[places[path].id for path in inside])
    return Forgotten(len(inside))


def moved_folders(
    copies: Sequence[tuple[str, str]], places: Mapping[str, Place], found: Found
) -> list[MovedFolder]:
    """Folders that are gone, by photos of the same name and content that were found elsewhere.

    Args:
        copies: paths and content hashes of photos that are new.
        places: the photos that are known by path.
        found: what the new ones are of; a folder within it has not moved.

    Returns:
        The highest such folders of this machine, those first of which most photos were found.
    """
    wanted = {(content_hash, os.path.basename(path)) for path, content_hash in copies}
    twins: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, place in places.items() if wanted else ():
        key = place.content_hash, os.path.basename(path)
        if key in wanted and not is_remote(path) and not found.covers(path):
            twins[key].append(path)
    gone: dict[str, bool] = {}

    def is_gone(folder: str) -> bool:
        if folder not in gone:
            gone[folder] = _is_gone(folder)
        return gone[folder]

    counts: Counter[tuple[str, str]] = Counter()
    for path, content_hash in copies:
        some = twins.get((content_hash, os.path.basename(path)), [])[:_TWINS]
        pairs = [pair for each in some if (pair := _moved(each, path, found.roots, is_gone))]
        if pairs:
            counts[min(pairs, key=lambda pair: (len(pair[1]), pair))] += 1
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [MovedFolder(*pair, count) for pair, count in most]


def _moved(
    old: str, new: str, roots: Sequence[str], is_gone: Callable[[str], bool]
) -> tuple[str, str] | None:
    """The highest folder above a photo that is gone, and its place among the roots now."""
    pair = None
    while old != new and os.path.basename(old) == os.path.basename(new):
        old, new = os.path.dirname(old), os.path.dirname(new)
        if not is_below(new, roots) or not is_gone(old):
            break
        pair = old, new
    return pair


def _is_gone(folder: str) -> bool:
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # nobody knows
        return False
    return False


@contextmanager
def _photos_of(
    gallery: Path, folder: str, *, alone: bool = False
) -> Iterator[tuple[Store, Mapping[str, Place], list[str]]]:
    """A gallery that nobody else indexes into, its photos, and the paths of those in a folder.

    Alone says that the folder may be a photo.
    """
    gallery = whole(gallery)
    with open_store(gallery, writable=True) as store, written_by_one(gallery):
        places, above = store.places(), folder.rstrip(os.sep) + os.sep
        inside = [path for path in places if path.startswith(above)]
        inside += [folder] * (alone and folder in places)
        if not inside:
            nearest = _nearest(places, folder)
            holds = f"the nearest that it holds: {', '.join(nearest)}" if nearest else "it is empty"
            raise DataError(
                f"gallery {_named(str(gallery))} holds no photos in {_named(folder)} or below; "
                f"{holds}; nothing was changed"
            )
        yield store, places, inside


def _note_shards(store: Store, moved: Callable[[str], str | None]) -> None:
    """Note of shards what is so after a change: before it, since a note too few costs little."""
    noted = store.note(SHARDS)
    if (note := with_shards_moved(noted, moved)) != noted:
        store.write_note(SHARDS, note)


def _mover(before: str, after: str) -> Callable[[str], str]:
    start, top = len(before.rstrip(os.sep)), after.rstrip(os.sep)
    return lambda path: top + path[start:]


def _check_there(folder: str) -> None:
    if is_remote(folder) or os.path.isdir(folder) or shard_of(Path(folder, "_")):
        return
    raise DataError(
        f"{_named(folder)} is no folder, tar or Parquet file that is there: check its name, or "
        "connect its disk first; nothing was changed"
    )


def _has_some(moves: Sequence[tuple[int, Path, int, int]], after: str) -> bool:
    """Whether any of some photos that were looked for is in the new folder."""
    step = max(1, len(moves) // _LOOKED_AT)
    targets = [str(path) for _, path, *_ in moves[::step]]
    return not targets or is_remote(after) or any(map(_is_there, targets))


def _is_there(path: str) -> bool:
    shard = shard_of(Path(path))
    return os.path.lexists(shard[0] if shard else path)


def _lies(path: str, place: Place) -> bool:
    """Whether a photo lies where the gallery says, as it says."""
    shard = shard_of(Path(path))
    try:
        item = found_at(shard[0] if shard else path)
    except Exception:  # each file system has errors of its own
        return False
    return item.state == (place.size, place.mtime_ns)


def _nearest(places: Mapping[str, Place], folder: str) -> list[str]:
    """The folders of a gallery that a name may have meant, each with its number of photos."""
    counts: Counter[str] = Counter()
    for direct, count in Counter(map(os.path.dirname, places)).items():
        for each in _upward(direct):
            counts[each] += count
    within: dict[str, list[str]] = defaultdict(list)
    for each in counts:
        if each:
            within[next(above for above in _upward(each) if above != each)].append(each)
    below = folder
    for above in _upward(folder):
        if above in counts:
            break
        below = above
    else:
        return []
    names = {os.path.basename(each) or each: each for each in within[above]}
    close = get_close_matches(os.path.basename(below), names, _NEAREST, cutoff=0.0)
    found = []
    for each in [names[name] for name in close] or [above]:
        while len(only := within[each]) == 1 and counts[only[0]] == counts[each]:
            each = only[0]
        found.append(f"{_named(each)} ({counts[each]:,})")
    return found


def _upward(folder: str) -> Iterator[str]:
    """A folder, those that it lies in, and at last what all lie in, which has no name."""
    while folder:
        yield folder
        above = os.path.dirname(folder)
        folder = "" if above == folder else above
    yield ""


def _named(path: str) -> str:
    return one_line(location(path))
