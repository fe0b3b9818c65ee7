"""Each defect of classes, planted in a sound tree, is found, and nothing else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from msedge.data.protocols import Protocol
from msedge.data.verification.class_findings import find_in_classes
from msedge.data.verification.inventory import take_inventory

SEEN, UNSEEN = ("cat", "sea_turtle"), ("giraffe", "hot-air_balloon")


def protocol(seen: tuple[str, ...] = SEEN) -> Protocol:
    return Protocol(id="p", dataset="sketchy", title="", citation="", unseen=UNSEEN, seen=seen)


@pytest.fixture
def root(tmp_path: Path, draw) -> Path:
    """A sound dataset, of which one class is spelled otherwise than the protocol does."""
    names = {"train": ("cat", "sea turtle"), "val": UNSEEN}
    for side, classes in names.items():
        for domain in ("sketch", "photo"):
            for name in classes:
                draw(tmp_path / side / domain / name / "1.png")
    return tmp_path


def found(root: Path, seen: tuple[str, ...] = SEEN) -> list[str]:
    return [str(finding) for finding in find_in_classes(take_inventory(root), protocol(seen))]


def move(root: Path, old: str, new: str) -> None:
    for domain in ("sketch", "photo"):
        source, target = (root.joinpath(*path.split("/")) for path in (old, new))
        (source.parent / domain / source.name).rename(target.parent / domain / target.name)


@pytest.mark.parametrize("seen", [SEEN, ()])
def test_sound(root: Path, seen: tuple[str, ...]) -> None:
    assert found(root, seen) == []


@pytest.mark.parametrize("seen", [SEEN, ()])
def test_missing_unseen_class(root: Path, seen: tuple[str, ...]) -> None:
    for domain in ("sketch", "photo"):
        shutil.rmtree(root / "val" / domain / "giraffe")
    assert found(root, seen) == ["missing: val/giraffe: unseen class of p"]


def test_missing_seen_class(root: Path) -> None:
    for domain in ("sketch", "photo"):
        shutil.rmtree(root / "train" / domain / "sea turtle")
    assert found(root) == ["missing: train/sea_turtle: seen class of p"]
    assert found(root, ()) == []


def test_surplus_class(root: Path) -> None:
    for side in ("train", "val"):
        for domain in ("sketch", "photo"):
            shutil.copytree(root / "train" / domain / "cat", root / side / domain / f"yak {side}")
    assert found(root) == [
        "surplus: train/yak train: is not a class of p",
        "surplus: val/yak val: is not a class of p",
    ]
    assert found(root, ()) == ["surplus: val/yak val: is not an unseen class of p"]


@pytest.mark.parametrize("spelled", ["girafe", "griaffe", "Giraffes"])
def test_misspelt_class(root: Path, spelled: str) -> None:
    move(root, "val/giraffe", f"val/{spelled}")
    assert found(root) == [
        f"misnamed: val/{spelled}: is no class of p; its unseen class giraffe is missing: rename "
        "the folder if it is meant"
    ]


def test_class_misspelt_in_one_domain(root: Path) -> None:
    (root / "val/photo/giraffe").rename(root / "val/photo/girafe")
    assert found(root) == [
        "misnamed: val/girafe: is no class of p; its unseen class giraffe is missing: rename "
        "the folder if it is meant",
        "missing: val/photo/giraffe: expected beside val/sketch/giraffe with 1 images",
        "missing: val/sketch/girafe: expected beside val/photo/girafe with 1 images",
    ]


def test_other_words_are_not_misspellings(root: Path) -> None:
    move(root, "train/cat", "train/bat")
    assert found(root) == [
        "missing: train/cat: seen class of p",
        "surplus: train/bat: is not a class of p",
    ]


def test_misplaced_classes(root: Path) -> None:
    move(root, "val/giraffe", "train/giraffe")
    move(root, "train/cat", "val/cat")
    unseen_in_train = "misplaced: train/giraffe: is unseen in p: expected in val"
    assert found(root) == [unseen_in_train, "misplaced: val/cat: is seen in p: expected in train"]
    assert found(root, ()) == [unseen_in_train, "surplus: val/cat: is not an unseen class of p"]


def test_class_on_both_sides(root: Path, draw) -> None:
    for domain in ("sketch", "photo"):
        draw(root / "train" / domain / "Hot Air Balloon" / "2.png")
    leak = "leak: hot-air_balloon: is in train and in val: what is unseen must not be trained on"
    assert found(root) == [leak]


def test_spelled_in_two_ways(root: Path, draw) -> None:
    (root / "val/photo/hot-air_balloon").rename(root / "val/photo/hot air balloon")
    draw(root / "train/photo/sea_turtle/2.png")
    assert found(root) == [
        "misnamed: train/sea turtle: train/sketch/sea turtle and train/photo/sea turtle and "
        "train/photo/sea_turtle are one class: give them one name",
        "misnamed: val/hot-air_balloon: val/sketch/hot-air_balloon and val/photo/hot air balloon "
        "are one class: give them one name",
    ]


@pytest.mark.parametrize(("domain", "other"), [("sketch", "photo"), ("photo", "sketch")])
def test_one_domain_of_a_class(root: Path, domain: str, other: str) -> None:
    shutil.rmtree(root / "train" / domain / "cat")
    assert found(root) == [
        f"missing: train/{domain}/cat: expected beside train/{other}/cat with 1 images"
    ]


def test_empty_folder(root: Path) -> None:
    (root / "train/photo/cat/1.png").unlink()
    assert found(root) == ["missing: train/photo/cat: the folder is empty: expected images"]


def test_lost_links(root: Path) -> None:
    for name in ("3.png", "2.png"):
        (root / "train/photo/cat" / name).symlink_to(root / "gone" / name)
    assert found(root) == [
        "missing: train/photo/cat: links that lead nowhere: 2, first 2.png: put the archive back"
    ]


def test_what_lies_among_the_class_folders(root: Path, draw) -> None:
    draw(root / "val/photo/loose.jpg")
    (root / "val/photo/lost").symlink_to(root / "gone")
    assert found(root) == [
        "surplus: val/photo/loose.jpg: lies outside the class folders",
        "surplus: val/photo/lost: is a link that leads nowhere",
    ]


def test_a_missing_folder_is_told_once(root: Path) -> None:
    shutil.rmtree(root / "val" / "sketch")
    assert found(root) == ["missing: val/sketch: expected a folder, with one a class"]
    shutil.rmtree(root / "val")
    assert found(root) == [
        "missing: val/sketch: expected a folder, with one a class",
        "missing: val/photo: expected a folder, with one a class",
        "missing: val/giraffe: unseen class of p",
        "missing: val/hot-air_balloon: unseen class of p",
    ]
