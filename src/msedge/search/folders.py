"""Which photos lie in some folders: the walk that indexing begins with.

Paths are text here, and the system is asked through ``os``: a folder may hold millions. Tested in
``tests/search/test_folders.py``.
"""

# ruff: noqa: PTH100, PTH112, PTH116, PTH114, PTH119, PTH122

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from msedge.data.images import PHOTO_SUFFIXES, one_line
from msedge.errors import DataError

_LAST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that is named like a photo.

    Attributes:
        path: absolute.
        size: bytes.
        mtime_ns: when it was last changed, in nanoseconds of Unix time; at most what galleries
            hold, which ends in the year 2262, as a file may claim any time.
    """

    path: str
    size: int
    mtime_ns: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "mtime_ns", max(-_LAST_NS, min(self.mtime_ns, _LAST_NS)))


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found.

    Attributes:
        roots: what was walked, absolute; folders, or single files.
        files: the photos, by path.
        unread: folders and links below a root that cannot be read, with the reason.
        odd: what is named like a photo and is no file (a pipe, a device), with the reason.
    """

    roots: tuple[str, ...]
    files: list[FoundFile]
    unread: dict[str, str]
    odd: dict[str, str] = field(default_factory=dict)

    def covers(self, path: str) -> bool:
        """Whether a photo of this path would have been found if it were there and wanted."""
        return _below(path, self.roots) and not _below(path, tuple(self.unread))

    def empty_roots(self) -> list[str]:
        """The folders given in which nothing was found."""
        return [
            root
            for root in self.roots
            if not any(_below(file.path, (root,)) for file in self.files)
        ]


@dataclass(slots=True)
class _Walker:
    """A walk on its way."""

    wanted: Callable[[str, str], bool]
    files: dict[str, FoundFile] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def walk(self, roots: Sequence[str]) -> None:
        """Real folders first, then those that links lead to: a photo is found where it lies."""
        folders = [(root, root) for root in roots]
        while folders:
            linked: list[tuple[str, str]] = []
            while folders:
                folder, root = folders.pop()
                self._enter(folder, root, folders, linked)
            folders = linked[::-1]

    def _enter(
        self,
        folder: str,
        root: str,
        folders: list[tuple[str, str]],
        linked: list[tuple[str, str]],
    ) -> None:
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in self.seen:  # a loop, or a folder given twice
                return
            self.seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if folder == root:
                raise DataError(_unreadable(folder, error)) from error
            self.unread[folder] = (error.strerror or str(error)).lower()
            return
        below: list[tuple[str, str]] = []
        for entry in found:
            if not self.wanted(entry.path, os.path.relpath(entry.path, root)):
                continue
            if _is_folder(entry):
                (linked if entry.is_symlink() else below).append((entry.path, root))
            elif is_photo_name(entry.name) or entry.is_symlink():
                self.add(entry.path)
        folders += below[::-1]

    def add(self, path: str) -> None:
        """Note a file, or why it is none."""
        try:
            status = os.stat(path)
        except OSError as error:
            # A link to nothing may lead to a disk that is not there now.
            if os.path.islink(path) or not isinstance(error, FileNotFoundError):
                self.unread[path] = (error.strerror or str(error)).lower()
            return
        if not is_photo_name(path):
            return
        if stat.S_ISREG(status.st_mode):
            self.files[path] = FoundFile(path, status.st_size, status.st_mtime_ns)
        else:  # opening a pipe would wait for ever
            self.odd[path] = "it is not a regular file"


def walk_folders(
    folders: Sequence[Path],
    *,
    exclude: Sequence[str] = (),
    hidden: bool = False,
    without: Path | None = None,
) -> Walk:
    """Find the photos in folders and below.

    Links to folders are followed, each folder is entered once, and a file that can be reached both
    ways is found by its path without links.

    Args:
        folders: where to look; a single photo may be named too.
        exclude: patterns (``*``, ``?``, ``[...]``) of files and folders to leave out, held against
            the name and against the path from the folder given, with ``/`` between names.
        hidden: whether names that begin with a dot count; the folders given always do.
        without: a gallery, whose own files do not count.

    Raises:
        DataError: a folder given is missing or cannot be read, or a file given is no photo.
    """
    patterns = [pattern.rstrip("/") for pattern in exclude]
    own = None if without is None else os.path.abspath(without)

    def wanted(path: str, relative: str) -> bool:
        name = os.path.basename(path)
        if name.startswith(".") and not hidden:
            return False
        if own is not None and (path == own or path.startswith((own + "-", own + "."))):
            return False
        posix = relative.replace(os.sep, "/")
        return not any(fnmatchcase(name, p) or fnmatchcase(posix, p) for p in patterns)

    walker = _Walker(wanted)
    roots = tuple(dict.fromkeys(map(_absolute, folders)))
    for root in roots:
        _check_root(root)
    walker.walk([root for root in roots if os.path.isdir(root)])
    for root in roots:
        if not os.path.isdir(root):
            walker.add(root)
    files = sorted(walker.files.values(), key=lambda file: os.fsencode(file.path))
    return Walk(roots, files, walker.unread, walker.odd)


def is_photo_name(name: str) -> bool:
    """Whether a file of this name counts as a photo.

    >>> is_photo_name("cat.HEIC"), is_photo_name("cat.txt")
    (True, False)
    """
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES


def _check_root(root: str) -> None:
    try:
        mode = os.stat(root).st_mode
    except OSError as error:
        raise DataError(_unreadable(root, error)) from error
    if not stat.S_ISDIR(mode) and not (stat.S_ISREG(mode) and is_photo_name(root)):
        names = " ".join(sorted(PHOTO_SUFFIXES))
        raise DataError(
            f"{one_line(root)} is not a folder, nor a photo by its name: expected one of {names}"
        )


def _unreadable(folder: str, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return (
        f"cannot read {one_line(folder)} ({reason}): check its name and whether its disk is there; "
        "nothing was changed"
    )


def _absolute(path: Path) -> str:
    # Links are kept, as the person who typed them knows the place by that name; but what lies
    # above a link is known to the file system alone.
    return os.path.realpath(path) if ".." in path.parts else os.path.abspath(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(place.rstrip(os.sep) + os.sep) for place in places)
