"""How many classes, sketches and photos a dataset has, beside what its protocol says.

Tested in ``tests/data/verification/test_dataset_counts.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from msedge.data.images import one_line
from msedge.data.protocols import Protocol, normalise_class_name
from msedge.data.verification.findings import Finding
from msedge.data.verification.inventory import SIDES, ClassFolder, Inventory, Side

QUERIES = "sketches, unseen (queries)"
GALLERY = "photos, unseen (gallery)"


@dataclass(frozen=True, slots=True)
class Total:
    """A count of the dataset beside the protocol's.

    ``expected`` is ``None`` where the protocol does not give it. ``left_out`` are photos that are
    not there since preparing left them out for their content; counts of published lists, which
    go by names, include them.
    """

    what: str
    expected: int | None
    found: int
    left_out: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the count is the expected one, with or without what was left out."""
        return self.expected in (None, self.found, self.found + self.left_out)


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many images a class has on one side; ``expected_photos`` where the protocol says."""

    name: str
    side: Side
    sketches: int
    photos: int
    expected_photos: int | None = None
    left_out: int = 0


def count_classes(
    inventory: Inventory, protocol: Protocol, left_out: Mapping[str, int]
) -> tuple[ClassCount, ...]:
    """Count the images of each class, whatever the spellings of its folders.

    Args:
        inventory: of the dataset.
        protocol: may give the photos of single unseen classes.
        left_out: photos that preparing left out for their content, by the class's normal spelling.

    Returns:
        The classes of ``train`` and then of ``val``, each by normal spelling.
    """
    expected = {normalise_class_name(name): count for name, count in protocol.class_photos}
    counts: list[ClassCount] = []
    for side in SIDES:
        folders: dict[str, list[ClassFolder]] = {}
        for folder in inventory.of(side):
            folders.setdefault(folder.key, []).append(folder)
        for key, of_class in sorted(folders.items()):
            counts.append(
                ClassCount(
                    of_class[0].name,
                    side,
                    sketches=sum(len(one.images) for one in of_class if one.domain == "sketch"),
                    photos=sum(len(one.images) for one in of_class if one.domain == "photo"),
                    expected_photos=expected.get(key) if side == "val" else None,
                    left_out=left_out.get(key, 0),
                )
            )
    return tuple(counts)


def count_totals(
    counts: Sequence[ClassCount], protocol: Protocol, *, lone_classes: bool = False
) -> tuple[Total, ...]:
    """Sum the counts of classes, beside all that the protocol expects.

    Args:
        counts: of each class.
        protocol: what it should hold.
        lone_classes: whether classes with sketches alone or photos alone were taken besides, so
            that they are none of the seen classes that the protocol counts.
    """
    train = [count for count in counts if count.side == "train"]
    val = [count for count in counts if count.side == "val"]
    expected = protocol.expected
    seen = len(protocol.seen) or expected.seen_classes
    gallery = expected.gallery_unique
    totals = [
        Total("classes, seen", seen, sum(not lone_classes or _paired(count) for count in train)),
        Total("classes, unseen", len(protocol.unseen), len(val)),
        Total("sketches, seen", None, sum(count.sketches for count in train)),
        Total("photos, seen", None, sum(count.photos for count in train)),
        Total(QUERIES, expected.queries, sum(count.sketches for count in val)),
        Total(
            GALLERY,
            expected.gallery_lines if gallery is None else gallery,
            sum(count.photos for count in val),
            sum(count.left_out for count in val),
        ),
    ]
    by_size = sorted(val, key=lambda count: count.photos + count.left_out)
    if by_size and expected.fewest_photos is not None:
        least = by_size[0]
        what = f"photos, smallest unseen class ({one_line(least.name)})"
        totals.append(Total(what, expected.fewest_photos, least.photos, least.left_out))
    if by_size and expected.most_photos is not None:
        most = by_size[-1]
        what = f"photos, largest unseen class ({one_line(most.name)})"
        totals.append(Total(what, expected.most_photos, most.photos, most.left_out))
    return tuple(totals)


def _paired(count: ClassCount) -> bool:
    return count.sketches > 0 and count.photos > 0


def find_in_counts(
    totals: Sequence[Total], counts: Sequence[ClassCount], protocol: Protocol
) -> list[Finding]:
    """A finding for each count that is not the protocol's."""
    singles = [
        Total(
            f"photos, {one_line(count.name)}", count.expected_photos, count.photos, count.left_out
        )
        for count in counts
    ]
    return [finding for total in (*totals, *singles) for finding in _difference(total, protocol)]


def _difference(total: Total, protocol: Protocol) -> Iterator[Finding]:
    if total.expected is None or total.agrees:
        return
    lines = protocol.expected.gallery_lines
    message = f"expected {total.expected:,}, found {total.found:,}"
    if total.what == GALLERY and total.found == lines:
        doubled = (
            f"{message}, which are the lines of the lists in circulation: this is the doubled "
            "gallery, with photos that stand in it twice: prepare it without --keep-duplicates"
        )
        yield Finding("duplicated", total.what, doubled)
    elif total.found < total.expected:
        lacking = total.expected - total.found
        yield Finding("missing", total.what, f"{message}: {lacking:,} too few")
    else:
        more = total.found - total.expected
        yield Finding("surplus", total.what, f"{message}: {more:,} too many")
