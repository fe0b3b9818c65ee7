"""Each defect of files, planted in a sound tree, is found, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from msedge.data.verification.file_findings import find_broken, find_misnamed, find_repeated
from msedge.data.verification.findings import Finding
from msedge.data.verification.inventory import Inventory, take_inventory


@pytest.fixture
def root(tmp_path: Path, draw) -> Path:
    """A sound dataset."""
    for side, names in (("train", ("camel", "cat")), ("val", ("cow",))):
        for domain in ("sketch", "photo"):
            for name in names:
                for index in range(2):
                    draw(tmp_path / side / domain / name / f"n1_{index}.jpg")
    return tmp_path


def found(find: Callable[[Inventory], list[Finding]], root: Path) -> list[str]:
    return [str(finding) for finding in find(take_inventory(root))]


@pytest.mark.parametrize("find", [find_misnamed, find_repeated, find_broken])
def test_sound(root: Path, find: Callable[[Inventory], list[Finding]]) -> None:
    assert found(find, root) == []


def test_the_misnamed_file(root: Path, draw) -> None:
    draw(root / "train/photo/camel/c.jpg")
    draw(root / "train/photo/cat/c.jpg")
    draw(root / "train/sketch/camel/c.jpg")
    assert found(find_misnamed, root) == [
        "misnamed: train/photo/camel/c.jpg: is the original photo n02437136_5405"
    ]
    draw(root / "train/photo/camel/n02437136_5405.jpg")
    assert found(find_misnamed, root) == [
        "duplicated: train/photo/camel/c.jpg: repeats the original photo n02437136_5405"
    ]


def test_repeats_kept_by_preparing(root: Path, draw) -> None:
    draw(root / "val/photo/cow/n1_0_extended.jpg")
    draw(root / "val/photo/cow/n1_7_extended.jpg")
    assert found(find_misnamed, root) == [
        "duplicated: val/photo/cow/n1_0_extended.jpg: repeats the original photo n1_0"
    ]


def test_photos_of_one_content(root: Path) -> None:
    shutil.copy(root / "train/photo/cat/n1_0.jpg", root / "train/photo/cat/n2_0.jpg")
    shutil.copy(root / "train/photo/camel/n1_0.jpg", root / "train/photo/cat/n3_0.jpg")
    (root / "val/photo/cow/n4_0.jpg").symlink_to(root / "train/photo/cat/n1_1.jpg")
    shutil.copy(root / "val/sketch/cow/n1_0.jpg", root / "val/sketch/cow/n5_0.jpg")  # no photo
    assert found(find_repeated, root) == [
        "duplicated: train/photo/cat/n3_0.jpg: has the content of train/photo/camel/n1_0.jpg, of "
        "another class",
        "duplicated: train/photo/cat/n2_0.jpg: has the content of train/photo/cat/n1_0.jpg",
        "leak: val/photo/cow/n4_0.jpg: has the content of train/photo/cat/n1_1.jpg, across the "
        "split",
    ]


def test_unreadable_images(root: Path) -> None:
    (root / "val/photo/cow/n1_0.jpg").write_bytes(b"no image")
    whole = (root / "train/sketch/cat/n1_0.jpg").read_bytes()
    (root / "train/sketch/cat/n1_0.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "val/photo/cow/n1_1.jpg").write_bytes(b"")
    first, second, third = found(find_broken, root)
    assert first.startswith("unreadable: train/sketch/cat/n1_0.jpg: ")
    assert str(root) not in first
    reason = "its content is not a JPEG, PNG, WebP, GIF, BMP, TIFF or HEIC image"
    assert second == f"unreadable: val/photo/cow/n1_0.jpg: {reason}"
    assert third == f"unreadable: val/photo/cow/n1_1.jpg: {reason}"
