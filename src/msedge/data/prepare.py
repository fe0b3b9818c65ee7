"""From a download to the training layout, by a protocol.

Whatever layout a dataset came in (``archives.py``), here it becomes
``<data_root>/<name>/{train,val}/{sketch,photo}/<class>``: links to the download by default, copies
on request, written aside and moved into place in one step. A class's folders are spelled as its
folder of sketches was. Repeats of a photo are left out, unless the galleries of published lists
are to be made again. Tested in ``tests/data/test_prepare.py``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from msedge.data.archives import Archive, check_dataset, find_archive
from msedge.data.aside import written_aside
from msedge.data.class_files import ClassFiles, ImageFile, LoneClasses, read_classes
from msedge.data.duplicates import merged, without_repeats
from msedge.data.images import one_line
from msedge.data.protocols import Protocol, normalise_class_name
from msedge.errors import ConfigError, DataError

MARKER = "prepared.json"
"""File that tells a folder written here from a folder of the user's own."""

DEFAULT_PROTOCOLS = {
    "sketchy": "sketchy-21",
    "tuberlin": "tuberlin-30-sake",
    "quickdraw": "quickdraw-30",
}
"""The protocol of each dataset that is taken where none is named."""

# What a marker says that was written before the key was.
_ABSENT = {"keep_duplicates": False, "lone_classes": "refuse"}


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """How many classes and images one side of a prepared dataset has."""

    classes: int
    sketches: int
    photos: int


@dataclass(frozen=True, slots=True)
class PreparedCounts:
    """What was written: counts of both sides, and a line for each thing left out."""

    train: SplitCounts
    val: SplitCounts
    dropped: tuple[str, ...] = ()


def prepare_dataset(
    dataset: str,
    source: Path,
    protocol: Protocol,
    data_root: Path,
    *,
    name: str | None = None,
    copy: bool = False,
    keep_duplicates: bool = False,
    lone_classes: LoneClasses = "refuse",
    progress: Callable[[int, int], None] | None = None,
) -> PreparedCounts:
    """Write a downloaded dataset into the training layout, split by a protocol.

    A photo that repeats another of its class is left out (:mod:`msedge.data.duplicates`), and so
    is a class that the protocol does not know, where it lists all of its classes. Asking again
    for what is already there changes nothing.

    Args:
        dataset: ``sketchy``, ``tuberlin`` or ``quickdraw``.
        source: the download, in a layout of :mod:`msedge.data.archives`. A dataset in the training
            layout is split anew, whatever its sides were.
        protocol: its unseen classes go to ``val``, the others to ``train``.
        data_root: the folder that holds datasets; created if missing.
        name: the dataset's folder in it; the dataset's id by default.
        copy: copy the files, instead of linking to them by absolute symbolic links.
        keep_duplicates: keep the repeats, as the galleries of lists in circulation have them. A
            file whose name is taken gets its origin behind it: ``n1_2_extended.jpg``.
        lone_classes: refuse classes that have sketches alone or photos alone, leave them out, or
            take the seen ones of them, which training must be told as well.
        progress: called with (files done, files in all) after each file.

    Returns:
        The counts of what was written, now or when the same was asked before.

    Raises:
        DataError: the download is incomplete, or the target exists and is something else.
        ConfigError: the dataset is not known, the protocol is of another dataset, or `name` is
            not the name of one folder.
    """
    name = dataset if name is None else name
    _check_request(dataset, protocol, name)
    target = data_root / name
    try:
        archive = find_archive(source, dataset)
        request = {
            "source": str(archive.root),
            "extension": None if archive.extension is None else str(archive.extension),
            "protocol": protocol.id,
            "protocol_hash": protocol.hash,
            "copy": copy,
            "keep_duplicates": keep_duplicates,
            "lone_classes": lone_classes,
        }
        if target.exists() or target.is_symlink():
            return _reuse(target, request)
        classes, left_out = read_classes(archive, protocol, lone_classes)
        classes, repeats = _without_repeats(dataset, classes, keep_duplicates)
        sides = _split(classes, protocol, archive)
        counts = PreparedCounts(_count(sides["train"]), _count(sides["val"]), (*repeats, *left_out))
        data_root.mkdir(parents=True, exist_ok=True)
        with written_aside(target) as aside:
            _write(aside, sides, copy, progress)
            marker = {**request, "protocol_file": protocol.file, "counts": asdict(counts)}
            (aside / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot prepare {one_line(target)}: {one_line(error)}") from error
    return counts


def read_marker(root: Path) -> dict[str, Any]:
    """What :func:`prepare_dataset` noted in a dataset; empty where it did not make it."""
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _check_request(dataset: str, protocol: Protocol, name: str) -> None:
    check_dataset(dataset)
    if normalise_class_name(protocol.dataset) != dataset:
        raise ConfigError(
            f"protocol {protocol.id} is for {protocol.dataset}: choose one for {dataset}"
        )
    if not name or name.startswith(".") or Path(name).name != name:
        raise ConfigError(f"dataset name {name!r}: expected the name of one folder, not hidden")


def _reuse(target: Path, request: Mapping[str, object]) -> PreparedCounts:
    advice = "remove it, or give another name (--name)"
    marker = {**_ABSENT, **read_marker(target)}
    try:
        counts = marker["counts"]
        stored = PreparedCounts(
            train=SplitCounts(**counts["train"]),
            val=SplitCounts(**counts["val"]),
            dropped=tuple(counts["dropped"]),
        )
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{one_line(target)} exists and was not written by `msedge data prepare`: {advice}"
        ) from error
    other = [key for key, value in request.items() if marker.get(key) != value]
    if other:
        was = ", ".join(f"{key} {one_line(marker.get(key))}" for key in other)
        raise DataError(f"{one_line(target)} was prepared otherwise ({was}): {advice}")
    return stored


def _without_repeats(
    dataset: str, classes: dict[str, ClassFiles], keep_duplicates: bool
) -> tuple[dict[str, ClassFiles], list[str]]:
    left: dict[str, ClassFiles] = {}
    repeats: list[str] = []
    for key, files in classes.items():
        sketches, lines = merged(files.name, files.sketch)
        repeats += lines
        photos = files.photo
        if not keep_duplicates:
            photos, lines = without_repeats(dataset, files.name, photos)
            repeats += lines
        left[key] = replace(files, sketch=sketches, photo=photos)
    return left, repeats


def _split(
    classes: dict[str, ClassFiles], protocol: Protocol, archive: Archive
) -> dict[str, list[ClassFiles]]:
    unseen = {normalise_class_name(name): name for name in protocol.unseen}
    missing = [name for key, name in unseen.items() if key not in classes]
    if missing:
        raise DataError(
            f"unseen classes of {protocol.id} are missing from {one_line(archive.root)}: "
            f"{', '.join(missing)}: unpack the whole archive, or choose another protocol"
        )
    sides: dict[str, list[ClassFiles]] = {"train": [], "val": []}
    for key, files in classes.items():
        sides["val" if key in unseen else "train"].append(files)
    if not sides["train"]:
        raise DataError(
            f"{one_line(archive.root)} holds unseen classes of {protocol.id} only: "
            "unpack the whole archive, its other classes are trained on"
        )
    return sides


def _count(classes: Sequence[ClassFiles]) -> SplitCounts:
    return SplitCounts(
        classes=len(classes),
        sketches=sum(len(files.sketch) for files in classes),
        photos=sum(len(files.photo) for files in classes),
    )


def _write(
    root: Path,
    sides: dict[str, list[ClassFiles]],
    copy: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    places = [
        (file, root / side / domain / one.name / name)
        for side, classes in sides.items()
        for one in classes
        for domain, files in (("sketch", one.sketch), ("photo", one.photo))
        for name, file in _named(files)
    ]
    for done, (file, place) in enumerate(places, start=1):
        place.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copy2(file, place)
        else:
            _link(file, place)
        if progress is not None:
            progress(done, len(places))


def _named(files: Iterable[ImageFile]) -> list[tuple[str, Path]]:
    """Give each file a name that no file before it has, whatever the case of its letters."""
    taken: set[str] = set()
    named: list[tuple[str, Path]] = []
    for file in files:
        name, number = file.path.name, 1
        while name.casefold() in taken:
            count = "" if number == 1 else str(number)
            name = f"{file.path.stem}_{file.origin or 'again'}{count}{file.path.suffix}"
            number += 1
        taken.add(name.casefold())
        named.append((name, file.path))
    return named


def _link(file: Path, link: Path) -> None:
    try:
        link.symlink_to(file.resolve())
    except OSError as error:
        raise DataError(
            f"cannot make a symbolic link in {one_line(link.parents[3])}: {one_line(error)}: "
            "copy the files instead (--copy)"
        ) from error
