"""The files of each class of a downloaded dataset, whatever its layout and its spellings.

Tested in ``tests/data/test_class_files.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msedge.data.archives import EXTENDED, Archive, ClassRoot
from msedge.data.class_names import match_spellings, most_alike
from msedge.data.images import one_line
from msedge.data.layouts import list_images
from msedge.data.protocols import Protocol, normalise_class_name
from msedge.errors import DataError

LoneClasses = Literal["refuse", "leave-out", "take"]
"""What is done with classes that have sketches alone or photos alone."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image of a download; `origin` is that of its :class:`~msedge.data.archives.ClassRoot`."""

    path: Path
    origin: str = ""


@dataclass(frozen=True, slots=True)
class ClassFiles:
    """The images of one class; `name` is spelled as its folder of sketches is."""

    name: str
    sketch: tuple[ImageFile, ...]
    photo: tuple[ImageFile, ...]


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    origin: str


def read_classes(
    archive: Archive, protocol: Protocol, lone_classes: LoneClasses = "refuse"
) -> tuple[dict[str, ClassFiles], tuple[str, ...]]:
    """List the images of each class of a download.

    Folders that mean one class are put together, in whatever spelling and on whichever side of
    the training layout they are. Where the protocol lists its seen classes, classes that are
    neither seen nor unseen are left out.

    Args:
        archive: the download.
        protocol: which of its classes are unseen.
        lone_classes: whether classes that have sketches alone or photos alone are refused, left
            out, or taken, where they are seen ones.

    Returns:
        The classes by normal spelling, in its order; their files in the order of the archive's
        roots, then by name. And a line for each class and each link that is left out.

    Raises:
        DataError: a class has no images of one domain, and is not to be left out or taken; or it
            is twice in one folder.
        OSError: a folder cannot be listed.
    """
    sketches = _class_folders(archive.sketch, [], archive.dataset)
    photos = _class_folders(archive.photo, sketches, archive.dataset)
    known = {normalise_class_name(name) for name in (*protocol.seen, *protocol.unseen)}
    unseen = {normalise_class_name(name) for name in protocol.unseen}
    both = {**photos, **sketches}
    lone = {key: both[key][0] for key in sketches.keys() ^ photos.keys()}
    refused: dict[str, str] = {}
    classes: dict[str, ClassFiles] = {}
    left_out: list[str] = []
    for key in sorted({*sketches, *photos}):
        of_sketch, of_photo = sketches.get(key, []), photos.get(key, [])
        name = (of_sketch or of_photo)[0].path.name
        if not of_sketch and all(folder.origin == EXTENDED for folder in of_photo):
            left_out.append(f"{one_line(name)}: the class has added photos only, no sketches")
        elif protocol.seen and key not in known:
            left_out.append(f"{one_line(name)}: is not a class of {protocol.id}")
        else:
            files = ClassFiles(
                name,
                sketch=_images(of_sketch, name, left_out),
                photo=_images(of_photo, name, left_out),
            )
            lacking = _lacking(files, archive)
            if lacking is None or (lone_classes == "take" and key not in unseen and _any(files)):
                classes[key] = files
            elif lone_classes == "leave-out":
                left_out.append(f"{one_line(name)}: has no images in {lacking}")
            else:
                refused[key] = f"class {one_line(name)} has no images in {lacking}"
    if refused:
        raise DataError(_refusal(refused, lone, lone_classes))
    return classes, tuple(left_out)


def _class_folders(
    roots: Sequence[ClassRoot], classes: Iterable[str], dataset: str
) -> dict[str, list[_Folder]]:
    """Folders by the normal spelling of the class they mean, among `classes` where one fits."""
    folders: dict[str, list[_Folder]] = {}
    for root in roots:
        found = _by_spelling(root.path)
        meant = match_spellings(found, classes, dataset)
        for spelling, path in found.items():
            folders.setdefault(meant[spelling], []).append(_Folder(path, root.origin))
    return folders


def _by_spelling(root: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for folder in sorted(root.iterdir(), key=lambda path: path.name):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        first = folders.setdefault(normalise_class_name(folder.name), folder)
        if first is not folder:
            raise DataError(
                f"{one_line(root)} holds one class twice, {one_line(first.name)} and "
                f"{one_line(folder.name)}: merge the two folders"
            )
    return folders


def _images(
    folders: Sequence[_Folder], class_name: str, left_out: list[str]
) -> tuple[ImageFile, ...]:
    images: list[ImageFile] = []
    for folder in folders:
        paths, dangling = list_images(folder.path)
        images += [ImageFile(path, folder.origin) for path in paths]
        left_out += [
            f"{one_line(class_name)}/{one_line(path.name)}: the link leads nowhere"
            for path in dangling
        ]
    return tuple(images)


def _lacking(files: ClassFiles, archive: Archive) -> str | None:
    """Where images of one domain should have been, of a class that has none of it."""
    for images, roots in ((files.sketch, archive.sketch), (files.photo, archive.photo)):
        # Added photos do not make up for originals: without them the archive is half unpacked.
        if all(image.origin == EXTENDED for image in images):
            return " or ".join(one_line(root.path) for root in roots if root.origin != EXTENDED)
    return None


def _any(files: ClassFiles) -> bool:
    return bool(files.sketch or files.photo)


def _refusal(
    refused: Mapping[str, str], lone: Mapping[str, _Folder], lone_classes: LoneClasses
) -> str:
    """The first class that lacks a domain, how many more do, and what to do."""
    key, told = next(iter(refused.items()))
    others = len(refused) - 1
    more = f" ({others:,} more classes lack sketches or photos)" if others else ""
    advice = "unpack the archive again"
    alike = most_alike(key, lone.keys() - {key})
    if alike is not None:
        advice += f", or rename {one_line(lone[alike].path)} if that is the class"
    if lone_classes == "refuse":
        advice += ", or leave such classes out or take them (--lone-classes leave-out, or take)"
    else:
        advice += "; unseen classes need sketches and photos"
    return f"{told}{more}: {advice}"
