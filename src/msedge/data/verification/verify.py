"""Does a dataset hold what its protocol says, whole and once?

Everything that differs is told at once: what is missing, surplus, misnamed, on the wrong side,
there twice, or unreadable. A small part of a dataset differs by its nature, and is told so. Tested
in ``tests/data/verification/test_verify.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msedge.data.duplicates import BY_CONTENT
from msedge.data.images import one_line
from msedge.data.layouts import find_dataset
from msedge.data.prepare import DEFAULT_PROTOCOLS, read_marker
from msedge.data.protocols import (
    Protocol,
    fewest_judged,
    list_protocols,
    load_protocol,
    normalise_class_name,
)
from msedge.data.verification.class_findings import find_in_classes
from msedge.data.verification.dataset_counts import (
    GALLERY,
    ClassCount,
    Total,
    count_classes,
    count_totals,
    find_in_counts,
)
from msedge.data.verification.file_findings import find_broken, find_misnamed, find_repeated
from msedge.data.verification.findings import Finding
from msedge.data.verification.inventory import take_inventory
from msedge.errors import ConfigError

_Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Verification:
    """What a dataset holds, against a protocol.

    ``opened`` says whether every image was decoded. ``notes`` are worth knowing and no defects.
    """

    name: str
    root: Path
    protocol: Protocol
    opened: bool
    totals: tuple[Total, ...]
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "name": self.name,
            "root": str(self.root),
            "protocol": self.protocol.id,
            "protocol_hash": self.protocol.hash,
            "protocol_file": self.protocol.file,
            "opened": self.opened,
            "agrees": self.agrees,
            "totals": [{**asdict(total), "agrees": total.agrees} for total in self.totals],
            "classes": [asdict(count) for count in self.classes],
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }


def verify_dataset(
    data_root: Path,
    name: str,
    protocol: Protocol,
    *,
    open_images: bool = True,
    progress: _Progress | None = None,
) -> Verification:
    """Compare a dataset in the training layout with a protocol.

    Photos of equal size are read, to compare their contents; with `open_images`, every image is
    decoded as well.

    Args:
        data_root: the folder that holds datasets.
        name: the dataset's folder in it.
        protocol: what it should hold.
        open_images: decode every image, which takes minutes for a large dataset.
        progress: called with (steps done, steps in all); a photo is a step, and so is an image
            that is decoded.

    Raises:
        DataError: there is no such dataset, or it is not in the training layout.
        ConfigError: `name` is not the name of one folder.
    """
    root = find_dataset(data_root, name)
    dataset = normalise_class_name(protocol.dataset)
    inventory = take_inventory(root)
    marker = read_marker(root)
    lone_classes = marker.get("lone_classes") == "take"
    counts = count_classes(inventory, protocol, _left_out(marker))
    totals = count_totals(counts, protocol, lone_classes=lone_classes)
    photos = len(inventory.records("photo"))
    steps = photos + (len(inventory.records()) if open_images else 0)
    by_name = find_misnamed(inventory) if dataset == "sketchy" else []
    told = {(found.kind, found.where) for found in by_name}
    by_content = find_repeated(inventory, _part(progress, 0, steps))
    findings = [
        *find_in_counts(totals, counts, protocol),
        *find_in_classes(inventory, protocol, lone_classes=lone_classes),
        *by_name,
        *(found for found in by_content if (found.kind, found.where) not in told),
    ]
    if open_images:
        findings += find_broken(inventory, _part(progress, photos, steps))
    return Verification(
        name=name,
        root=root,
        protocol=protocol,
        opened=open_images,
        totals=totals,
        classes=counts,
        findings=tuple(findings),
        notes=tuple(_notes(marker, protocol, totals, counts)),
    )


def protocol_of_dataset(data_root: Path, name: str) -> Protocol:
    """The protocol that a dataset was prepared by, or else the default one of its name.

    Raises:
        DataError: there is no such dataset.
        ConfigError: neither says which protocol it is, or `name` is not the name of one folder.
    """
    marker = read_marker(find_dataset(data_root, name))
    noted, file = marker.get("protocol"), marker.get("protocol_file")
    if isinstance(file, str):
        if not file.endswith(".toml") or not Path(file).is_file():
            raise ConfigError(
                f"{name} was prepared by {one_line(noted)}, whose file {one_line(file)} is gone: "
                "name it where it is now (--protocol)"
            )
        return load_protocol(file)
    if noted in list_protocols():
        return load_protocol(str(noted))
    if noted is not None:
        raise ConfigError(
            f"{name} was prepared by {one_line(noted)}, which is not a protocol of this package: "
            "name its file (--protocol)"
        )
    if name in DEFAULT_PROTOCOLS:
        return load_protocol(DEFAULT_PROTOCOLS[name])
    raise ConfigError(
        f"{name} does not say which protocol it follows: name one (--protocol), of "
        f"{', '.join(list_protocols())}, or a .toml file"
    )


def _part(progress: _Progress | None, before: int, steps: int) -> _Progress | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, steps)


def _left_out(marker: Mapping[str, Any]) -> Counter[str]:
    """How many photos preparing left out for their content, by class in normal spelling."""
    counts = marker.get("counts")
    lines = counts.get("dropped") if isinstance(counts, dict) else None
    by_class: Counter[str] = Counter()
    for line in lines if isinstance(lines, list) else ():
        if found := re.match(rf"([^/]+)/.*: {BY_CONTENT} ", str(line)):
            by_class[normalise_class_name(found[1])] += 1
    return by_class


def _notes(
    marker: Mapping[str, Any],
    protocol: Protocol,
    totals: Sequence[Total],
    counts: Sequence[ClassCount],
) -> Iterator[str]:
    noted = marker.get("protocol")
    if noted not in (None, protocol.id):
        yield f"it was prepared by {one_line(noted)}, and is compared with {protocol.id}"
    elif noted is not None and marker.get("protocol_hash") != protocol.hash:
        yield f"it was prepared by another version of {protocol.id}: their unseen classes differ"
    if marker.get("keep_duplicates") is True:
        yield "it was prepared with --keep-duplicates, as published lists have the gallery"
    if protocol.expected.queries is None and protocol.expected.gallery_lines is None:
        yield f"{protocol.id} gives no counts of images: only classes and files were checked"
    lone = [each for each in counts if each.side == "train" and not (each.sketches and each.photos)]
    if lone and marker.get("lone_classes") == "take":
        yield (
            f"seen classes with sketches alone or photos alone: {len(lone):,}, taken when it was "
            "prepared; training takes them with --lone-classes"
        )
    for total in totals:
        if total.what == GALLERY and total.left_out:
            yield (
                "photos of the unseen classes that were left out when it was prepared, since they "
                f"repeat others: {total.left_out:,}; {total.found + total.left_out:,} with them"
            )
    fewest = fewest_judged(normalise_class_name(protocol.dataset), protocol.id)
    few = [count for count in counts if count.side == "val" and count.photos < fewest]
    if few:
        names = ", ".join(f"{one_line(count.name)} {count.photos:,}" for count in few)
        yield (
            f"unseen classes under {fewest} photos: {len(few)} ({names}); the literature leaves "
            "them out where it evaluates (--min-val-photos)"
        )
