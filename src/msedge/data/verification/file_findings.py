"""What is wrong with the files of a dataset: repeats, known misnamed ones, broken ones.

Tested in ``tests/data/verification/test_file_findings.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from msedge.data.duplicates import equal_files, original_named_by, original_of
from msedge.data.images import one_line
from msedge.data.layouts import find_unreadable
from msedge.data.verification.findings import Finding
from msedge.data.verification.inventory import Inventory


def find_misnamed(inventory: Inventory) -> list[Finding]:
    """Photos of Sketchy that their names betray: the misnamed one, and repeats of originals."""
    found: list[Finding] = []
    for folder in inventory.folders:
        if folder.domain != "photo":
            continue
        stems = {path.stem for path in folder.images}
        for path in folder.images:
            where = inventory.relative(path)
            if (original := original_named_by(folder.name, path.stem, stems)) is not None:
                found.append(Finding("duplicated", where, f"repeats the original photo {original}"))
            elif (original := original_of(folder.name, path.stem)) is not None:
                found.append(Finding("misnamed", where, f"is the original photo {original}"))
    return found


def find_repeated(
    inventory: Inventory, progress: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """Photos with the content of another, within a class, across classes and across the split.

    Args:
        inventory: of the dataset.
        progress: called with (photos done, photos in all) after each photo.
    """
    photos = [record.path for record in inventory.records("photo")]
    return [
        finding for group in equal_files(photos, progress) for finding in _repeats(inventory, group)
    ]


def _repeats(inventory: Inventory, group: list[Path]) -> Iterator[Finding]:
    first, *others = group
    side, _, label, _ = first.relative_to(inventory.root).parts
    for path in others:
        other_side, _, other_label, _ = path.relative_to(inventory.root).parts
        message = f"has the content of {inventory.relative(first)}"
        if other_side != side:
            yield Finding("leak", inventory.relative(path), f"{message}, across the split")
        elif other_label != label:
            yield Finding("duplicated", inventory.relative(path), f"{message}, of another class")
        else:
            yield Finding("duplicated", inventory.relative(path), message)


def find_broken(
    inventory: Inventory, progress: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """Images that cannot be decoded.

    Args:
        inventory: of the dataset.
        progress: called with (images done, images in all) after each image.
    """
    return [
        Finding(
            "unreadable",
            inventory.relative(record.path),
            reason.removeprefix(f"cannot read image {one_line(record.path)}: "),
        )
        for record, reason in find_unreadable(inventory.records(), progress)
    ]
