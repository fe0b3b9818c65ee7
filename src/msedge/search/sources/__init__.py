"""Sources: what people name when they index, and the photos and shards that lie there.

A source is a folder, a photo, a tar or a Parquet file, of this machine or as a URL that fsspec
knows. :mod:`.plan` holds what was found against a gallery, :mod:`.contents` reads it. Tested in
``tests/search/sources/``.
"""

# ruff: noqa: PTH100, PTH112, PTH116, PTH114  (a folder may hold millions)

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from msedge.data.images import PHOTO_SUFFIXES, one_line
from msedge.errors import ConfigError, DataError
from msedge.search.locations import is_remote, whole
from msedge.search.sources.objects import (
    PARQUET,
    PHOTO,
    TAR,
    Item,
    kind_of,
    local_or_remote,
    objects_at,
    why,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which photos count.

    Patterns (``*``, ``?``, ``[...]``) are held against the name and against the path from the
    source given, with ``/`` between names. The sources given always count.
    """

    exclude: tuple[str, ...] = ()  # patterns of files and folders to leave out
    hidden: bool = False  # whether names that begin with a dot count
    column: str | None = None  # of the photos in Parquet files; None to find it
    allow_empty: bool = False  # whether a source without photos is believed against the gallery

    def asked(self) -> str:
        """What of it decides how many photos a shard holds, as text."""
        return json.dumps([sorted(self.exclude), self.hidden, self.column])

    def wants(self, relative: str) -> bool:
        """Whether a name counts, of which the path from the source is given."""
        name = relative.rpartition("/")[2]
        if name.startswith(".") and not self.hidden:
            return False
        patterns = [pattern.rstrip("/") for pattern in self.exclude]
        return not any(fnmatchcase(name, p) or fnmatchcase(relative, p) for p in patterns)

    def wants_all_of(self, relative: str) -> bool:
        """Whether each name on the path from the source counts."""
        parts = relative.split("/")
        return all(self.wants("/".join(parts[:end])) for end in range(1, len(parts) + 1))


@dataclass(frozen=True, slots=True)
class Found:
    """What was found; photos and shards by path."""

    roots: tuple[str, ...]  # what was named, as a gallery writes paths
    files: Sequence[Item] = ()
    shards: Sequence[Item] = ()
    unread: Mapping[str, str] = field(default_factory=dict)  # and why; photos of there may still be
    odd: Mapping[str, str] = field(default_factory=dict)  # named like a photo and no file, and why

    def covers(self, path: str) -> bool:
        """Whether a photo of this path would have been found if it were there and wanted."""
        return is_below(path, self.roots) and not is_below(path, tuple(self.unread))

    def empty_roots(self) -> list[str]:
        """The roots in which no photo was found."""
        paths = [file.path for file in self.files]
        return [root for root in self.roots if not any(is_below(path, (root,)) for path in paths)]


def find(
    sources: Sequence[Path | str], choice: Choice | None = None, *, without: Path | None = None
) -> Found:
    """Find photos, and shards of photos, in all that was named and below; no shard is opened.

    Links to folders are followed, each folder is entered once, and a file that can be reached both
    ways is found by its path without links. A gallery's own files do not count.

    Raises:
        DataError: one is missing, cannot be read, or is a file of another kind.
        ConfigError: none is named, or a protocol is not known.
    """
    roots = check_sources(sources)
    walker = _Walker(choice or Choice(), "" if without is None else str(whole(without)))
    folders = [root for root in roots if not is_remote(root) and os.path.isdir(root)]
    walker.walk(folders)
    for root in roots:
        if is_remote(root):
            walker.ask(root)
        elif root not in folders:
            walker.add(root)
    found = sorted(walker.items.values(), key=lambda item: os.fsencode(item.path))
    files = [item for item in found if kind_of(item.path) == PHOTO]
    shards = [item for item in found if kind_of(item.path) != PHOTO]
    return Found(roots, files, shards, walker.unread, walker.odd)


def check_sources(sources: Sequence[Path | str]) -> tuple[str, ...]:
    """Refuse what cannot be looked for; gives sources as a gallery writes paths, each once.

    Raises:
        DataError: one of this machine is missing, or is a file of another kind.
        ConfigError: none is named.
    """
    if not sources:
        raise ConfigError("nothing to index: name at least one folder, tar, Parquet file or URL")
    roots = dict.fromkeys(map(rooted, sources))
    for root in roots:
        if is_remote(root):
            continue
        try:
            mode = os.stat(root).st_mode
        except OSError as error:
            raise _unreadable(root, error) from error
        if not stat.S_ISDIR(mode) and not (stat.S_ISREG(mode) and kind_of(root)):
            raise DataError(
                f"{one_line(root)} is not a folder, nor a file of photos by its name: expected one "
                f"of {' '.join(sorted([*PHOTO_SUFFIXES, TAR, PARQUET]))}"
            )
    return tuple(roots)


def rooted(source: Path | str) -> str:
    """A source as a gallery writes paths, whether it is there or not."""
    source = local_or_remote(source)
    if is_remote(source):
        return source
    # Links are kept, as the person who typed them knows the place by that name; but what lies
    # above a link is known to the file system alone.
    return os.path.realpath(source) if ".." in Path(source).parts else os.path.abspath(source)


def is_below(path: str, places: Sequence[str]) -> bool:
    """Whether a path is one of some places, or lies within one."""
    return any(path == place or path.startswith(place.rstrip(os.sep) + os.sep) for place in places)


@dataclass(slots=True)
class _Walker:
    """What was found so far."""

    choice: Choice
    own: str
    items: dict[str, Item] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def walk(self, roots: Sequence[str]) -> None:
        """Real folders first, then those that links lead to: a photo is found where it lies."""
        folders = deque((root, root) for root in roots)
        while folders:
            folder, root = folders.pop()
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in self.seen:  # a loop, or a folder given twice
                    continue
                self.seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                if folder == root:
                    raise _unreadable(folder, error) from error
                self.unread[folder] = why(error)
                continue
            below = []
            for entry in found:
                relative = os.path.relpath(entry.path, root).replace(os.sep, "/")
                if self.is_own(entry.path) or not self.choice.wants(relative):
                    continue
                if not _is_folder(entry):
                    if kind_of(entry.name) or entry.is_symlink():
                        self.add(entry.path)
                elif entry.is_symlink():
                    folders.appendleft((entry.path, root))
                else:
                    below.append((entry.path, root))
            folders += reversed(below)

    def is_own(self, path: str) -> bool:
        """Whether a path is the gallery's, or of what lies in it or beside it."""
        own = self.own
        return bool(own) and (path == own or path.startswith((own + "-", own + ".", own + "/")))

    def add(self, path: str) -> None:
        """Note a file, or why it is none."""
        try:
            status = os.stat(path)
        except OSError as error:
            # A link to nothing may lead to a disk that is not there now.
            if os.path.islink(path) or not isinstance(error, FileNotFoundError):
                self.unread[path] = why(error)
            return
        if stat.S_ISREG(status.st_mode) and kind_of(path):
            self.items[path] = Item(path, status.st_size, status.st_mtime_ns)
        elif kind_of(path):  # opening a pipe would wait for ever
            self.odd[path] = "it is not a regular file"

    def ask(self, root: str) -> None:
        """Note what an object store or a server holds below a root."""

        def counts(path: str) -> bool:
            relative = path.removeprefix(root).strip("/")
            return not self.is_own(path) and self.choice.wants_all_of(relative)

        items, unread = objects_at(root, counts)
        self.items |= {item.path: item for item in items}
        self.unread |= unread


def _unreadable(folder: str, error: OSError) -> DataError:
    return DataError(
        f"cannot read {one_line(folder)} ({why(error)}): check its name and whether its disk "
        "is there; nothing was changed"
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
