"""What is wrong with the classes of a dataset, seen by their folders' names and counts.

Tested in ``tests/data/verification/test_class_findings.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msedge.data.class_names import most_alike
from msedge.data.images import one_line
from msedge.data.layouts import DOMAINS
from msedge.data.protocols import Protocol, normalise_class_name
from msedge.data.verification.findings import Finding
from msedge.data.verification.inventory import SIDES, ClassFolder, Inventory, Side


def find_in_classes(
    inventory: Inventory, protocol: Protocol, *, lone_classes: bool = False
) -> list[Finding]:
    """Compare the class folders of a dataset with a protocol and with each other.

    Where the protocol does not list its seen classes, any class may be trained on, except those
    that are unseen. With `lone_classes`, those to train on may have sketches alone or photos alone.
    """
    return [
        *_structure(inventory),
        *_sides(inventory, protocol),
        *_names(inventory, protocol),
        *(
            found
            for side in SIDES
            for found in _pairs(inventory, side, lone_classes=lone_classes and side == "train")
        ),
        *_contents(inventory),
    ]


def _structure(inventory: Inventory) -> Iterator[Finding]:
    for path in inventory.absent:
        yield Finding("missing", inventory.relative(path), "expected a folder, with one a class")
    for path in inventory.loose:
        lies = "lies outside the class folders" if path.exists() else "is a link that leads nowhere"
        yield Finding("surplus", inventory.relative(path), lies)


def _sides(inventory: Inventory, protocol: Protocol) -> Iterator[Finding]:
    """Classes on both sides of the split, or on the wrong one."""
    unseen, seen = _keys(protocol.unseen), _keys(protocol.seen)
    there = {side: {folder.key: folder for folder in inventory.of(side)} for side in SIDES}
    for key in sorted(there["train"].keys() & there["val"].keys()):
        name = one_line(there["val"][key].name)
        yield Finding("leak", name, "is in train and in val: what is unseen must not be trained on")
    for key in sorted(unseen & (there["train"].keys() - there["val"].keys())):
        name = one_line(there["train"][key].name)
        yield Finding("misplaced", f"train/{name}", f"is unseen in {protocol.id}: expected in val")
    for key in sorted(seen & (there["val"].keys() - there["train"].keys())):
        name = one_line(there["val"][key].name)
        yield Finding("misplaced", f"val/{name}", f"is seen in {protocol.id}: expected in train")


def _names(inventory: Inventory, protocol: Protocol) -> Iterator[Finding]:
    """Classes of the protocol that are not there, and others that are."""
    found = {
        domain: {folder.key for folder in inventory.folders if folder.domain == domain}
        for domain in DOMAINS
    }
    known = _keys((*protocol.unseen, *protocol.seen))
    strange = {  # of any spelling the last folder, which does for its side and name
        folder.key: folder
        for folder in inventory.folders
        if folder.key not in known and (protocol.seen or folder.side == "val")
    }
    for side, kind, names in (("val", "unseen", protocol.unseen), ("train", "seen", protocol.seen)):
        for name in names:
            key = normalise_class_name(name)
            lacking = [domain for domain in DOMAINS if key not in found[domain]]
            if not lacking:
                continue
            alike = most_alike(key, strange)
            if alike is not None:
                folder = strange.pop(alike)
                yield Finding(
                    "misnamed",
                    f"{folder.side}/{one_line(folder.name)}",
                    f"is no class of {protocol.id}; its {kind} class {name} is missing: rename "
                    "the folder if it is meant",
                )
            elif len(lacking) == len(DOMAINS):  # half a class is told with its other half
                yield Finding("missing", f"{side}/{name}", f"{kind} class of {protocol.id}")
    for folder in strange.values():
        what = "a class" if protocol.seen else "an unseen class"
        where = f"{folder.side}/{one_line(folder.name)}"
        yield Finding("surplus", where, f"is not {what} of {protocol.id}")


def _pairs(inventory: Inventory, side: Side, *, lone_classes: bool) -> Iterator[Finding]:
    """Classes of one side in one domain only, or spelled in two ways."""
    by_key: dict[str, list[ClassFolder]] = {}
    for folder in inventory.of(side):
        by_key.setdefault(folder.key, []).append(folder)
    for folders in by_key.values():
        if len({folder.name for folder in folders}) > 1:
            paths = " and ".join(inventory.relative(folder.path) for folder in folders)
            where = f"{side}/{one_line(folders[0].name)}"
            yield Finding("misnamed", where, f"{paths} are one class: give them one name")
        for domain in () if lone_classes else DOMAINS:
            path = inventory.root / side / domain
            if path in inventory.absent or any(folder.domain == domain for folder in folders):
                continue
            where = inventory.relative(path / folders[0].name)
            there = f"{inventory.relative(folders[0].path)} with {len(folders[0].images):,} images"
            yield Finding("missing", where, f"expected beside {there}")


def _contents(inventory: Inventory) -> Iterator[Finding]:
    """Folders without images, and links that lead nowhere."""
    for folder in inventory.folders:
        where = inventory.relative(folder.path)
        if folder.dangling:
            count, first = len(folder.dangling), one_line(folder.dangling[0].name)
            message = f"links that lead nowhere: {count:,}, first {first}: put the archive back"
            yield Finding("missing", where, message)
        elif not folder.images:
            yield Finding("missing", where, "the folder is empty: expected images")


def _keys(names: Iterable[str]) -> set[str]:
    return {normalise_class_name(name) for name in names}
