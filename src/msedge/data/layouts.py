"""Folders on disk become records: which image, of which domain, of which class.

The layout is ``<data_root>/<name>/{train,val}/{sketch,photo}/<class>/*.jpg`` (or .jpeg, .png,
.webp); ``train`` holds the seen classes, ``val`` the unseen ones. Reading looks at names only,
which takes seconds where opening takes minutes; :func:`find_unreadable` opens them. Everything
wrong with a dataset is reported at once, a line a problem. Tested in
``tests/data/test_layouts.py``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from msedge.data.images import is_image_name, one_line, open_image
from msedge.data.protocols import normalise_class_name
from msedge.errors import ConfigError, DataError

Domain = Literal["sketch", "photo"]
DOMAINS: tuple[Domain, ...] = ("sketch", "photo")

_NAMES_SHOWN = 5
_VERIFY_SIZE = 32
"""Decoding to few pixels still reads a file to its end, and spares most of the work."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image on disk."""

    path: Path
    domain: Domain
    class_name: str


@dataclass(frozen=True)
class Split:
    """One side of a dataset: its records by class and file name; its classes, sorted."""

    records: tuple[Record, ...]
    classes: tuple[str, ...]

    def of(self, domain: Domain) -> tuple[Record, ...]:
        """The records of one domain, in order."""
        return tuple(record for record in self.records if record.domain == domain)

    def counts(self, domain: Domain) -> dict[str, int]:
        """How many records of one domain each class has, in the order of :attr:`classes`."""
        totals = dict.fromkeys(self.classes, 0)
        for record in self.of(domain):
            totals[record.class_name] += 1
        return totals

    def restrict(self, class_names: Iterable[str]) -> Split:
        """The part of the split that belongs to some of its classes.

        Raises:
            DataError: a name is not among :attr:`classes`.
        """
        kept = set(class_names)
        if unknown := kept - set(self.classes):
            raise DataError(f"no such classes in this split: {_some(unknown)}: check their names")
        return Split(
            records=tuple(record for record in self.records if record.class_name in kept),
            classes=tuple(name for name in self.classes if name in kept),
        )


@dataclass(frozen=True)
class Dataset:
    """A dataset in the training layout: `train` holds the seen classes, `val` the unseen."""

    name: str
    root: Path
    train: Split
    val: Split


def read_dataset(
    data_root: Path, name: str, *, min_val_photos: int = 0, lone_classes: bool = False
) -> Dataset:
    """List a dataset in the training layout.

    Hidden files and files that are not images are passed over; symbolic links, of folders and of
    files, are followed. The order does not depend on the file system.

    Args:
        data_root: the folder that holds datasets.
        name: the dataset's folder in it.
        min_val_photos: of `val`, keep only the classes with at least so many photos (their
            sketches go too). TU-Berlin is evaluated with 400.
        lone_classes: whether `train` may have classes with sketches alone or photos alone.

    Raises:
        DataError: something is missing, empty or on both sides of the split. Where several
            things are, the message has one line for each.
        ConfigError: `name` is not the name of one folder.
    """
    root = find_dataset(data_root, name)
    problems: list[str] = []
    try:
        train = _read_split(root / "train", problems, lone_classes=lone_classes)
        val = _read_split(root / "val", problems)
    except OSError as error:
        raise DataError(f"cannot list {one_line(root)}: {one_line(error)}") from error
    problems += _leaks(root, train, val)
    if problems:
        raise DataError("\n".join(problems))
    if min_val_photos > 0:
        photos = val.counts("photo")
        val = val.restrict(label for label in val.classes if photos[label] >= min_val_photos)
        if not val.classes:
            raise DataError(
                f"{one_line(root / 'val')}: no class has {min_val_photos} photos, the most is "
                f"{max(photos.values())}: add photos or ask for fewer (min_val_photos)"
            )
    return Dataset(name=name, root=root, train=train, val=val)


def find_unreadable(
    records: Sequence[Record], progress: Callable[[int, int], None] | None = None
) -> list[tuple[Record, str]]:
    """Decode every file and return those that fail, in order, each with the reason.

    Args:
        records: what to open.
        progress: called with (files done, files in all) after each file.
    """
    failed: list[tuple[Record, str]] = []
    for done, record in enumerate(records, start=1):
        try:
            open_image(record.path, size=_VERIFY_SIZE)
        except DataError as error:
            failed.append((record, str(error)))
        if progress is not None:
            progress(done, len(records))
    return failed


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 (hex) of what a dataset holds: relative path, domain, class and size of each file.

    It does not depend on where the dataset lies, nor on whether its files are links or copies.

    Raises:
        DataError: a file has gone since the dataset was read.
    """
    digest = hashlib.sha256()
    for record in (*dataset.train.records, *dataset.val.records):
        try:
            size = record.path.stat().st_size
        except OSError as error:
            raise DataError(
                f"{one_line(record.path)} has gone since the dataset was read: read it again"
            ) from error
        relative = record.path.relative_to(dataset.root).as_posix()
        line = "\0".join([relative, record.domain, record.class_name, f"{size}\n"])
        digest.update(os.fsencode(line))
    return digest.hexdigest()


def find_dataset(data_root: Path, name: str) -> Path:
    """The folder of a dataset, whatever it holds.

    Raises:
        DataError: there is no such folder, and the message names those that there are; or the
            file system refuses to look.
        ConfigError: `name` is not the name of one folder.
    """
    if name in {"", ".", ".."} or Path(name).name != name:
        raise ConfigError(
            f"dataset name {name!r}: expected the name of one folder in the data root"
        )
    root = data_root / name
    try:
        if root.is_dir():
            return root
        there = _datasets_in(data_root)
    except OSError as error:
        raise DataError(f"cannot look into {one_line(data_root)}: {one_line(error)}") from error
    raise DataError(
        f"no dataset {name!r} in {one_line(data_root)} (there: {_some(there)}): "
        "write it with `msedge data prepare`, or name another"
    )


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder, and its links to images that lead nowhere; both by file name.

    Raises:
        OSError: the folder cannot be listed.
    """
    images: list[Path] = []
    dangling: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_image_name(entry.name):
                continue
            path = folder / entry.name
            if entry.is_file(follow_symlinks=False) or path.is_file():
                images.append(path)
            elif entry.is_symlink():
                dangling.append(path)
    images.sort(key=lambda path: path.name)
    dangling.sort(key=lambda path: path.name)
    return images, dangling


def _datasets_in(data_root: Path) -> list[str]:
    if not data_root.is_dir():
        raise DataError(
            f"data root {one_line(data_root)} is not a folder: create it with "
            "`msedge data prepare`, or name another"
        )
    return [
        folder.name
        for folder in data_root.iterdir()
        if not folder.name.startswith(".")
        and ((folder / "train").is_dir() or (folder / "val").is_dir())
    ]


@dataclass
class _Found:
    """What the folder of one split and domain holds; `classes` includes the empty ones."""

    classes: set[str] = field(default_factory=set)
    records: list[Record] = field(default_factory=list)


def _read_split(folder: Path, problems: list[str], *, lone_classes: bool = False) -> Split:
    if not folder.is_dir():
        problems.append(
            f"{one_line(folder)} is missing: expected the folders sketch and photo in it"
        )
        return Split((), ())
    found = {domain: _read_domain(folder / domain, domain, problems) for domain in DOMAINS}
    sketches, photos = found["sketch"].classes, found["photo"].classes
    if sketches and photos and not lone_classes:
        for ours, theirs, lone in (
            ("sketches", "photos", sketches - photos),
            ("photos", "sketches", photos - sketches),
        ):
            if lone:
                problems.append(
                    f"{one_line(folder)}: {ours} but no {theirs} of {_some(lone)}: "
                    f"add {theirs}, or remove the class"
                )
    records = [record for domain in DOMAINS for record in found[domain].records]
    records.sort(key=lambda record: (record.class_name, record.path.name, record.domain))
    return Split(tuple(records), tuple(sorted(sketches | photos)))


def _read_domain(folder: Path, domain: Domain, problems: list[str]) -> _Found:
    found = _Found()
    if not folder.is_dir():
        problems.append(f"{one_line(folder)} is missing: expected a folder a class in it")
        return found
    empty: list[str] = []
    dangling: list[Path] = []
    for class_folder in sorted(folder.iterdir(), key=lambda path: path.name):
        if class_folder.name.startswith("."):
            continue
        if not class_folder.is_dir():
            if class_folder.is_symlink() and not class_folder.exists():
                dangling.append(class_folder)
            continue
        found.classes.add(class_folder.name)
        images, lost = list_images(class_folder)
        found.records += [Record(path, domain, class_folder.name) for path in images]
        dangling += lost
        if not images and not lost:
            empty.append(class_folder.name)
    if not found.classes and not dangling:
        problems.append(
            f"{one_line(folder)} holds no classes: expected a folder of images for each"
        )
    if empty:
        problems.append(
            f"{one_line(folder)}: no images in {_some(empty)}: add some, or remove the class"
        )
    if dangling:
        problems.append(
            f"{one_line(folder)}: links that lead nowhere: {len(dangling)}, first "
            f"{one_line(dangling[0].relative_to(folder))}: "
            "put the archive back, or prepare the dataset again"
        )
    return found


def _leaks(root: Path, train: Split, val: Split) -> list[str]:
    seen = {normalise_class_name(name) for name in train.classes}
    both = [name for name in val.classes if normalise_class_name(name) in seen]
    if not both:
        return []
    return [
        f"{one_line(root)}: {len(both)} of the classes are in train and in val: {_some(both)}: "
        "unseen classes must not be trained on, remove them from one side"
    ]


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(one_line(name) for name in ordered[:_NAMES_SHOWN])
    more = len(ordered) - _NAMES_SHOWN
    return (f"{shown} and {more} more" if more > 0 else shown) or "none"
