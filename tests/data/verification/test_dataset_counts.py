"""Counts beside those of a protocol, with what was left out and the doubled gallery."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.data.protocols import Expected, Protocol
from msedge.data.verification.dataset_counts import (
    GALLERY,
    QUERIES,
    ClassCount,
    Total,
    count_classes,
    count_totals,
    find_in_counts,
)
from msedge.data.verification.inventory import take_inventory

PROTOCOL = Protocol(
    id="p",
    dataset="sketchy",
    title="",
    citation="",
    unseen=("cow", "hot-air_balloon"),
    seen=("cat",),
    expected=Expected(queries=5, gallery_unique=7, gallery_lines=9),
    class_photos=(("cow", 3),),
)
COUNTS = (
    ClassCount("cat", "train", sketches=4, photos=5),
    ClassCount("cow", "val", sketches=2, photos=3, expected_photos=3),
    ClassCount("hot air balloon", "val", sketches=3, photos=4),
)


def lines(counts: tuple[ClassCount, ...], protocol: Protocol = PROTOCOL) -> list[str]:
    totals = count_totals(counts, protocol)
    return [str(finding) for finding in find_in_counts(totals, counts, protocol)]


def with_photos(cow: int, balloon: int, left_out: int = 0) -> tuple[ClassCount, ...]:
    train, first, second = COUNTS
    return (train, replace(first, photos=cow), replace(second, photos=balloon, left_out=left_out))


def test_classes_are_counted_in_any_spelling(tmp_path: Path, draw) -> None:
    for place in (
        "train/sketch/cat/1.png",
        "train/photo/cat/1.png",
        "val/sketch/Hot Air Balloon/1.png",
        "val/photo/hot-air_balloon/1.png",
        "val/photo/hot-air_balloon/2.png",
        "val/sketch/COW/1.png",
    ):
        draw(tmp_path / place)
    counts = count_classes(take_inventory(tmp_path), PROTOCOL, {"hot air balloon": 6})
    assert counts == (
        ClassCount("cat", "train", 1, 1),
        ClassCount("COW", "val", 1, 0, expected_photos=3),
        ClassCount("Hot Air Balloon", "val", 1, 2, left_out=6),
    )


def test_totals_of_a_whole_dataset() -> None:
    assert count_totals(COUNTS, PROTOCOL) == (
        Total("classes, seen", 1, 1),
        Total("classes, unseen", 2, 2),
        Total("sketches, seen", None, 4),
        Total("photos, seen", None, 5),
        Total(QUERIES, 5, 5),
        Total(GALLERY, 7, 7),
    )
    assert lines(COUNTS) == []


def test_what_is_missing_and_what_is_too_many() -> None:
    assert lines(COUNTS[:2]) == [
        "missing: classes, unseen: expected 2, found 1: 1 too few",
        "missing: sketches, unseen (queries): expected 5, found 2: 3 too few",
        "missing: photos, unseen (gallery): expected 7, found 3: 4 too few",
    ]
    assert lines(with_photos(1004, 4)) == [
        "surplus: photos, unseen (gallery): expected 7, found 1,008: 1,001 too many",
        "surplus: photos, cow: expected 3, found 1,004: 1,001 too many",
    ]


def test_the_doubled_gallery_is_called_so() -> None:
    (line,) = lines(with_photos(3, 6))
    assert line.startswith("duplicated: photos, unseen (gallery): expected 7, found 9, which are")
    assert "this is the doubled gallery" in line


def test_lines_are_expected_where_photos_are_not_counted() -> None:
    expected = replace(PROTOCOL.expected, gallery_unique=None)
    protocol = replace(PROTOCOL, expected=expected)
    assert lines(with_photos(3, 6), protocol) == []
    assert lines(COUNTS, protocol) == [
        "missing: photos, unseen (gallery): expected 9, found 7: 2 too few"
    ]


def test_photos_left_out_for_their_content_are_not_missed() -> None:
    assert lines(with_photos(3, 2, left_out=2)) == []
    assert lines(with_photos(3, 4, left_out=2)) == []
    assert lines(with_photos(3, 1, left_out=2)) == [
        "missing: photos, unseen (gallery): expected 7, found 4: 3 too few"
    ]


def test_smallest_and_largest_class() -> None:
    protocol = replace(PROTOCOL, expected=Expected(fewest_photos=3, most_photos=4))
    assert lines(COUNTS, protocol) == []
    assert lines(with_photos(3, 2, left_out=2), protocol) == []
    off = tuple(replace(count, expected_photos=None) for count in with_photos(2, 5))
    assert lines(off, protocol) == [
        "missing: photos, smallest unseen class (cow): expected 3, found 2: 1 too few",
        "surplus: photos, largest unseen class (hot air balloon): expected 4, found 5: 1 too many",
    ]
    assert [total.what for total in count_totals((), protocol)][-1] == GALLERY


def test_seen_classes_that_are_only_counted() -> None:
    protocol = replace(PROTOCOL, seen=(), expected=Expected(seen_classes=2))
    assert lines(COUNTS, protocol) == ["missing: classes, seen: expected 2, found 1: 1 too few"]
    assert lines(COUNTS, replace(protocol, expected=Expected())) == []


@pytest.mark.parametrize("expected", [None, 3, 5])
def test_what_agrees(expected: int | None) -> None:
    assert Total("photos", expected, 3, left_out=2).agrees
    assert not Total("photos", 4, 3, left_out=2).agrees


@given(
    photos=st.lists(st.integers(0, 5), max_size=4),
    expected=st.integers(0, 12),
    lines_of_lists=st.none() | st.integers(0, 12),
)
def test_a_total_differs_exactly_when_it_is_a_finding(
    photos: list[int], expected: int, lines_of_lists: int | None
) -> None:
    counts = tuple(ClassCount(str(label), "val", 1, count) for label, count in enumerate(photos))
    protocol = Protocol(
        id="p",
        dataset="sketchy",
        title="",
        citation="",
        unseen=("cow",) * len(photos),
        expected=Expected(gallery_unique=expected, gallery_lines=lines_of_lists),
    )
    totals = count_totals(counts, protocol)
    differing = [total.what for total in totals if not total.agrees]
    assert [one.where for one in find_in_counts(totals, counts, protocol)] == differing
    assert differing == ([] if sum(photos) == expected else [GALLERY])
