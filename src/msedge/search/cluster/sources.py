"""What lies in the sources that a person names: photos, and shards that hold photos.

Folders of this machine are walked as the single-machine index walks them. Tested in
``tests/search/cluster/test_sources.py``.
"""

# ruff: noqa: PTH100, PTH112

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.search.cluster.objects import (
    filesystem,
    found_at,
    local_or_remote,
    objects_below,
    why,
    with_sizes,
)
from msedge.search.cluster.shards import shard_kind
from msedge.search.folders import FoundFile, is_photo_name, walk_folders
from msedge.search.locations import is_remote, location, whole


@dataclass(slots=True)
class Sources:
    """What was found.

    Attributes:
        roots: what was named, as a gallery writes paths.
        files: photos.
        shards: tars and Parquet files.
        unread: what cannot be read below a root, with the reason.
    """

    roots: list[str] = field(default_factory=list)
    files: list[FoundFile] = field(default_factory=list)
    shards: list[FoundFile] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)


def find_sources(
    sources: Sequence[Path | str],
    *,
    exclude: Sequence[str] = (),
    hidden: bool = False,
    without: Path | None = None,
) -> Sources:
    """Find photos, and shards of photos, in all that was named and below.

    Args:
        sources: folders, photos, tars and Parquet files, of this machine or as URLs.
        exclude: patterns of names to leave out, as of `walk_folders`.
        hidden: whether names that begin with a dot count.
        without: a gallery, whose own files do not count.

    Raises:
        DataError: one cannot be read.
        ConfigError: none is named; a protocol is not known, or seen by one process alone.
    """
    if not sources:
        raise ConfigError("nothing to index: name at least one folder, tar, Parquet file or URL")
    paths = list(dict.fromkeys(local_or_remote(source) for source in sources))
    found = Sources()
    wanted = _Wanted(exclude, hidden, None if without is None else str(whole(without)))
    here = [Path(path) for path in paths if not is_remote(path)]
    for path in [path for path in here if shard_kind(path.name) and path.is_file()]:
        here.remove(path)
        found.roots.append(os.path.abspath(path))
        found.shards.append(found_at(found.roots[-1]))
    if here:
        own = None if without is None or is_remote(without) else without
        walk = walk_folders(here, exclude=exclude, hidden=hidden, without=own)
        found.roots += walk.roots
        found.files += walk.files
        found.unread |= walk.unread | walk.odd
        for shard in _local_shards(walk.roots, wanted):
            _add_shard(found, shard)
    for remote in paths:
        if is_remote(remote):
            _find_remote(found, remote, wanted)
    known = {file.path: file for file in found.shards}
    found.shards = [known[path] for path in sorted(known, key=os.fsencode)]
    return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    exclude: Sequence[str]
    hidden: bool
    own: str | None

    def __call__(self, path: str, relative: str) -> bool:
        """Whether a name counts; as `walk_folders` has it."""
        name = relative.rpartition("/")[2]
        if name.startswith(".") and not self.hidden:
            return False
        if self.own is not None and (
            path == self.own or path.startswith((self.own + "-", self.own + "."))
        ):
            return False
        patterns = [pattern.rstrip("/") for pattern in self.exclude]
        return not any(fnmatchcase(name, p) or fnmatchcase(relative, p) for p in patterns)

    def below(self, root: str, path: str) -> bool:
        """Whether each part of an object's name below a root counts."""
        parts = path.removeprefix(root).strip("/").split("/")
        return all(
            self("/".join([root, *parts[:length]]), "/".join(parts[:length]))
            for length in range(1, len(parts) + 1)
        )


def wanted_within(shard: str, exclude: Sequence[str], hidden: bool) -> Callable[[str], bool]:
    """Whether a photo's name within a shard counts."""
    wanted = _Wanted(exclude, hidden, None)
    return lambda name: wanted.below(shard, f"{shard}/{name}")


def _local_shards(roots: Sequence[str], wanted: _Wanted) -> Iterator[str]:
    """The shards in folders; what cannot be read was told by the walk for photos."""
    seen: set[tuple[int, int]] = set()
    folders = [(root, root) for root in roots if os.path.isdir(root)]
    while folders:
        folder, root = folders.pop(0)
        try:
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:  # a loop, or a folder given twice
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = list(entries)
        except OSError:
            continue
        for entry in names:
            if not wanted(entry.path, os.path.relpath(entry.path, root).replace(os.sep, "/")):
                continue
            try:
                if entry.is_dir():
                    folders.append((entry.path, root))
                elif shard_kind(entry.name) and entry.is_file():
                    yield entry.path
            except OSError:
                continue


def _add_shard(found: Sources, path: str) -> None:
    try:
        found.shards.append(found_at(path))
    except OSError as error:
        found.unread[path] = why(error)


def _find_remote(found: Sources, root: str, wanted: _Wanted) -> None:
    if location(root).startswith("memory://") and wanted.own is not None:
        raise ConfigError(
            f"{one_line(location(root))}: what lies in memory:// is seen by one process alone, and "
            "photos are read by others: write them to files or to an object store"
        )
    found.roots.append(root)
    below, odd = _asked(root)
    for url in odd:
        if is_photo_name(url) or shard_kind(url):
            found.unread[url] = "its name holds // or /./, which paths do not: give it another"
    chosen = {
        path: info
        for path, info in below.items()
        if (is_photo_name(path) or shard_kind(path)) and (path == root or wanted.below(root, path))
    }
    for path, file in with_sizes(chosen).items():
        if isinstance(file, Exception):
            found.unread[path] = why(file)
        else:
            (found.shards if shard_kind(path) else found.files).append(file)


def _asked(root: str) -> tuple[Mapping[str, Mapping[str, Any]], list[str]]:
    try:
        system, name = filesystem(root)
        info = system.info(name)
        named = is_photo_name(root) or shard_kind(root)
        if info.get("type") != "directory" and named:
            return {root: info}, []
        below, odd = objects_below(root)
    except ConfigError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise DataError(
            f"cannot read {one_line(location(root))} ({why(error)}): check its name, and your "
            "access to it; nothing was changed"
        ) from error
    return {path: info for path, info in below.items() if path != root}, odd
