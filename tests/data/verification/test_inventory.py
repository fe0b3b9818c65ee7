"""A broken dataset is listed as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from msedge.data.verification.inventory import take_inventory
from msedge.errors import DataError


@pytest.fixture
def root(tmp_path: Path, draw) -> Path:
    """A dataset with an empty class, a lost link, a loose image, and no sketches in val."""
    for place in ("train/sketch/cow/b.png", "train/sketch/cow/a.png", "val/photo/Ape/a.jpg"):
        draw(tmp_path / place)
    draw(tmp_path / "train/photo/loose.jpg")
    (tmp_path / "train/photo/cow").mkdir()
    (tmp_path / "train/photo/.hidden").mkdir()
    (tmp_path / "train/photo/readme.txt").touch()
    (tmp_path / "val/photo/Ape/lost.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "val/photo/lost class").symlink_to(tmp_path / "gone")
    return tmp_path


def test_everything_is_listed(root: Path) -> None:
    inventory = take_inventory(root)
    listed = [
        (inventory.relative(one.path), [path.name for path in one.images], len(one.dangling))
        for one in inventory.folders
    ]
    assert listed == [
        ("train/sketch/cow", ["a.png", "b.png"], 0),
        ("train/photo/cow", [], 0),
        ("val/photo/Ape", ["a.jpg"], 1),
    ]
    assert [inventory.relative(path) for path in inventory.absent] == ["val/sketch"]
    assert [inventory.relative(path) for path in inventory.loose] == [
        "train/photo/loose.jpg",
        "val/photo/lost class",
    ]


def test_parts_of_it(root: Path) -> None:
    inventory = take_inventory(root)
    assert [one.domain for one in inventory.of("train")] == ["sketch", "photo"]
    assert inventory.of("val", "sketch") == ()
    (ape,) = inventory.of("val", "photo")
    assert (ape.name, ape.key, ape.side, ape.domain) == ("Ape", "ape", "val", "photo")
    assert len(inventory.records()) == 3
    (record,) = inventory.records("photo")
    assert (record.class_name, record.domain) == ("Ape", "photo")


def test_one_side_is_enough_and_none_is_not(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    assert len(take_inventory(tmp_path).absent) == 4
    (tmp_path / "val").rmdir()
    with pytest.raises(DataError, match=r"is not in the training layout: .*msedge data prepare"):
        take_inventory(tmp_path)


def test_names_are_shown_on_one_line(tmp_path: Path, draw) -> None:
    draw(tmp_path / "val/photo/two\nlines/a.jpg")
    inventory = take_inventory(tmp_path)
    assert inventory.relative(inventory.folders[0].path) == r"val/photo/two\nlines"
