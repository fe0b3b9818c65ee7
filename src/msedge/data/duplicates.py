"""Images that are there twice: by content, and by what is known of Sketchy Extended.

Lists in circulation hold each original photo of Sketchy twice, once from the database and once,
encoded anew, from the extension: a gallery made of them flatters P@200. Tested in
``tests/data/test_duplicates.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from msedge.data.archives import EXTENDED
from msedge.data.class_files import ImageFile
from msedge.data.images import one_line
from msedge.data.protocols import normalise_class_name

BY_CONTENT = "has the content of"
"""What the line of a photo says that was left out for its content alone."""

_MISNAMED = {("camel", "c"): "n02437136_5405"}  # in the extension: (class, stem) -> original
_ORIGINAL = re.compile(r"n\d+_\d+")  # the names of Sketchy's own photos: a synset and a number


def original_of(class_name: str, stem: str) -> str | None:
    """The original photo that a misnamed file of Sketchy Extended stands for, if it is one.

    >>> original_of("camel", "c"), original_of("cow", "c")
    ('n02437136_5405', None)
    """
    return _MISNAMED.get((normalise_class_name(class_name), stem))


def original_named_by(class_name: str, stem: str, originals: Container[str]) -> str | None:
    """The original photo of Sketchy that a file repeats under another name, if it does.

    Args:
        class_name: the file's class.
        stem: the file's name without its suffix.
        originals: the stems of the class's originals.

    >>> original_named_by("cow", "n1_2_extended", {"n1_2"})
    'n1_2'
    """
    renamed = stem.removesuffix(f"_{EXTENDED}")
    candidates = (None if renamed == stem else renamed, original_of(class_name, stem))
    return next((name for name in candidates if name is not None and name in originals), None)


def without_repeats(
    dataset: str, class_name: str, photos: Sequence[ImageFile]
) -> tuple[tuple[ImageFile, ...], tuple[str, ...]]:
    """Leave out the photos of one class that repeat another.

    Originals of Sketchy are all kept, since each has sketches of its own; a photo that repeats
    one, by name or by content, is left out. Among all other photos the first of each content
    stays.

    Args:
        dataset: id of the dataset.
        class_name: of all the photos.
        photos: originals before photos of the extension.

    Returns:
        The photos that stay, in order but for originals, which come first; and a line for each
        other.

    Raises:
        OSError: a photo cannot be read.
    """
    originals = {
        photo.path.stem: photo
        for photo in reversed(photos)
        if dataset == "sketchy" and _is_original(photo)
    }
    kept = [photo for photo in photos if originals.get(photo.path.stem) is photo]
    content = _Contents(photo.path for photo in photos)
    for photo in kept:
        content.first_with(photo.path)
    repeats: list[str] = []
    for photo in photos:
        line = f"{one_line(class_name)}/{one_line(photo.path.name)}: "
        if originals.get(photo.path.stem) is photo:
            continue
        original: str | None = photo.path.stem
        if original not in originals:
            original = original_named_by(class_name, photo.path.stem, originals)
        if original is not None:
            repeats.append(f"{line}repeats the original photo {original}")
        elif (first := content.first_with(photo.path)) != photo.path:
            repeats.append(f"{line}{BY_CONTENT} {one_line(first.name)}")
        else:
            kept.append(photo)
    return tuple(kept), tuple(repeats)


def merged(
    class_name: str, sketches: Sequence[ImageFile]
) -> tuple[tuple[ImageFile, ...], tuple[str, ...]]:
    """Leave out the sketches of one class that both sides of a training layout hold.

    Only a sketch of the same name and content as one of another origin is left out: people draw
    alike, and their drawings are not compared.

    Returns:
        The sketches that stay, in order; and a line for each other.

    Raises:
        OSError: a sketch cannot be read.
    """
    first: dict[str, Path] = {}
    kept: list[ImageFile] = []
    repeats: list[str] = []
    for sketch in sketches:
        other = first.setdefault(sketch.path.name, sketch.path)
        if other != sketch.path and same_content(other, sketch.path):
            where = f"{one_line(class_name)}/{one_line(sketch.path.name)}"
            repeats.append(f"{where}: is among the sketches of both sides")
        else:
            kept.append(sketch)
    return tuple(kept), tuple(repeats)


def equal_files(
    paths: Sequence[Path], progress: Callable[[int, int], None] | None = None
) -> list[list[Path]]:
    """Find files of the same content, by their size and then by SHA-256.

    Args:
        paths: the files. One that cannot be read is equal to none.
        progress: called with (files done, files in all) after each file.

    Returns:
        The groups of two files or more, in the order of their first ones.
    """
    content = _Contents(paths)
    groups: dict[Path, list[Path]] = {}
    for done, path in enumerate(paths, start=1):
        try:
            groups.setdefault(content.first_with(path), []).append(path)
        except OSError:
            groups.setdefault(path, [path])
        if progress is not None:
            progress(done, len(paths))
    return [group for group in groups.values() if len(group) > 1]


def same_content(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes.

    Raises:
        OSError: one of them cannot be read.
    """
    return one.stat().st_size == other.stat().st_size and _digest(one) == _digest(other)


class _Contents:
    """Which of some files first had a content. Only files of equal size are read."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._sizes = {path: _size(path) for path in paths}
        self._shared = Counter(self._sizes.values())
        self._first: dict[str, Path] = {}

    def first_with(self, path: Path) -> Path:
        size = self._sizes[path]
        if size == 0 or self._shared[size] == 1:  # empty files are broken, not equal
            return path
        return self._first.setdefault(_digest(path), path)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None  # reading it will say why, to those who need it


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_original(photo: ImageFile) -> bool:
    if photo.origin in ("", EXTENDED):
        return photo.origin == ""
    return _ORIGINAL.fullmatch(photo.path.stem) is not None  # a training layout holds both kinds
