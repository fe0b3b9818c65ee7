"""What has to be done so that a gallery holds what its sources hold.

Photos are compared by size and time; those of a shard by the shard's. Shards that are whole in the
gallery are not opened again: what each held when it was last listed is noted in the gallery
(:data:`SHARDS`), and a note that is missing or odd means listing them again. Tested in
``tests/search/sources/test_plan.py``.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.locations import is_remote, location
from msedge.search.photo import Place
from msedge.search.sources import Choice, Found, is_below
from msedge.search.sources.objects import Item, found_at, shard_of, why
from msedge.search.sources.shards import Listing, list_shard

SHARDS = "shards"
"""The name of the note, of which :func:`with_shards_listed` makes the next one."""

_PACKED_FROM = 4096  # characters
_MOST = 2**28  # characters of a note that is unpacked
_ZLIB = "zlib:"

_CLIMBS = "its name climbs out of the tar: give it one that lies within"

# By path: size, time, photos that counted and by which choice; then names that climb out, if any.
_Notes = dict[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Sources held against a gallery.

    What is to be read is new, or of another size or time than before, in the order in which ids
    are given: by path, and within a shard as it lies there.
    """

    to_read: list[Item]
    unchanged: int
    gone: dict[str, list[int]]  # ids of photos that are no longer there, by content hash and path


def plan(found: Found, places: Mapping[str, Place], *, everything: bool = False) -> Plan:
    """Compare what was found, with no shards left to list, with the photos known by path.

    Where everything is compared, photos outside the sources count as gone as well.
    """
    to_read = []
    for item in found.files:
        place = places.get(item.path)
        if place is None or (place.size, place.mtime_ns) != item.state:
            to_read.append(item)
    there = {item.path for item in found.files}
    gone: dict[str, list[int]] = defaultdict(list)
    for path, place in places.items():
        if path not in there and (everything or found.covers(path)):
            gone[place.content_hash].append(place.id)
    return Plan(to_read, len(found.files) - len(to_read), dict(gone))


def check_not_emptied(found: Found, places: Mapping[str, Place]) -> None:
    """Refuse a source without photos where the gallery has some: its disk may be missing.

    The folder that a disk is mounted on is there without the disk, too. A source of which something
    cannot be read is not empty, as far as anyone knows. No shards are left to list.

    Raises:
        DataError: there is such a source.
    """
    for root in found.empty_roots():
        count = sum(path.startswith(root.rstrip(os.sep) + os.sep) for path in places)
        if count and not any(is_below(path, (root,)) for path in found.unread):
            raise DataError(
                f"no photos in {one_line(location(root))}, and the gallery holds {count:,} from "
                "there: is its disk missing? If they are gone for good, give --allow-empty; "
                "nothing was changed"
            )


def with_shards_listed(
    found: Found,
    places: Mapping[str, Place],
    choice: Choice,
    noted: str,
    list_shards: Callable[[Sequence[Item]], Iterable[Listing]],
) -> tuple[Found, str]:
    """Put the photos within shards in the place of the shards.

    Args:
        found: what was found.
        places: the photos that are known, by path.
        choice: which photos count.
        noted: the note about shards that the gallery holds; the next one is given back.
        list_shards: lists those that may hold something new, in any order.
    """
    before = _read(noted)
    known: dict[str, list[str]] = {shard.path: [] for shard in found.shards}
    for path in places if known else ():
        at = path.find("/", 1)
        while at >= 0 and path[:at] not in known:
            at = path.find("/", at + 1)
        if at >= 0:
            known[path[:at]].append(path)
    files, unread, to_list = list(found.files), dict(found.unread), []
    odd = dict(found.odd)
    after: _Notes = {}
    for shard in found.shards:
        inside, note = known[shard.path], before.get(shard.path, ())
        if note[:4] == (*shard.state, len(inside), choice.asked()) and all(
            (places[path].size, places[path].mtime_ns) == shard.state for path in inside
        ):
            after[shard.path] = note
            odd |= {f"{shard.path}/{name}": _CLIMBS for name in _outside(note)}
            files += [Item(path, *shard.state, shard.path) for path in inside]
        else:
            to_list.append(shard)
    for listing in list_shards(to_list) if to_list else ():
        shard = listing.shard
        if listing.unread is not None:
            unread[shard.path] = listing.unread
            continue
        within = len(shard.path) + 1
        wanted = [each for each in listing.photos if choice.wants_all_of(each.path[within:])]
        outside = [name for name in listing.outside if choice.wants_all_of(_below_top(name))]
        odd |= {f"{shard.path}/{name}": _CLIMBS for name in outside}
        noted_outside = (outside,) if outside else ()
        after[shard.path] = (*shard.state, len(wanted), choice.asked(), *noted_outside)
        files += wanted
    files.sort(key=_order)
    found = replace(found, files=files, shards=(), unread=unread, odd=odd)
    kept = {path: note for path, note in before.items() if not found.covers(path)}
    return found, _written(kept | after)


def with_shards_moved(noted: str, moved: Callable[[str], str | None]) -> str:
    """The note about shards, where these have other paths now; None for one that is to go."""
    rows = ((moved(path), row) for path, row in _read(noted).items())
    return _written({path: row for path, row in rows if path is not None})


def with_photos_elsewhere(
    found: Found, places: Mapping[str, Place], column: str | None = None
) -> Found:
    """Add the gallery's photos outside the sources, as they lie there now; no shards are left.

    Raises:
        DataError: nobody knows whether one is there, since its folder or its shard is not.
    """
    there = {item.path for item in found.files}  # one in a folder that cannot be read, by its name
    inside: dict[str, list[str]] = defaultdict(list)
    files = list(found.files)
    for path in places:
        if path in there or found.covers(path):
            continue
        shard = shard_of(Path(path))
        if shard is not None:
            inside[shard[0]].append(path)
            continue
        try:
            files.append(found_at(path))
        except FileNotFoundError as error:
            if not is_remote(path) and not Path(path).parent.is_dir():
                raise _unknown(path, "its folder is not there") from error
        except Exception as error:  # each file system has errors of its own
            raise _unknown(path, f"it cannot be reached ({why(error)})") from error
    for name, paths in inside.items():
        try:
            listing = list_shard(found_at(name), column)
        except Exception as error:
            listing = Listing(Item(name, 0, 0), unread=why(error))
        if listing.unread is not None:
            raise _unknown(paths[0], f"its shard cannot be read ({listing.unread})")
        files += [each for each in listing.photos if each.path in places]
    files.sort(key=_order)
    return replace(found, files=files)


def _outside(note: Sequence[Any]) -> list[str]:
    """Names that climb out of a tar, of its note."""
    names = note[4] if len(note) > len(("size", "time", "photos", "choice")) else []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _below_top(name: str) -> str:
    """A name that climbs out of a tar from where it does not climb any more."""
    return "/".join(part for part in name.split("/") if part != "..")


def _order(item: Item) -> tuple[bytes, tuple[int, int]]:
    return os.fsencode(item.shard or item.path), item.spot


def _unknown(path: str, reason: str) -> DataError:
    return DataError(
        f"the gallery holds {one_line(location(path))}, and {reason}: bring its disk back, "
        "say where it is now with `msedge gallery reroot OLD NEW`, "
        "index into another file with --gallery, or take its photos out with `msedge gallery "
        "forget FOLDER`; nothing was changed"
    )


def _read(text: str) -> _Notes:
    try:
        if text.startswith(_ZLIB):
            packed = base64.b64decode(text.removeprefix(_ZLIB), validate=True)
            text = zlib.decompressobj().decompress(packed, _MOST).decode()
        return {path: tuple(row) for path, row in json.loads(text).items()}
    except Exception:  # none was written, or another program's: shards are listed again
        return {}


def _written(notes: _Notes) -> str:
    if not notes:
        return ""
    text = json.dumps(notes, sort_keys=True, separators=(",", ":"))
    if len(text) < _PACKED_FROM:
        return text
    return _ZLIB + base64.b64encode(zlib.compress(text.encode())).decode()
