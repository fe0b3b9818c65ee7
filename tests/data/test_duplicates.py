"""Repeats by name and by content, against comparing all pairs of files."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.data.class_files import ImageFile
from msedge.data.duplicates import (
    equal_files,
    merged,
    original_named_by,
    original_of,
    same_content,
    without_repeats,
)


def file(path: Path, content: str = "", origin: str = "") -> ImageFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or str(path))
    return ImageFile(path, origin)


def names(files: tuple[ImageFile, ...]) -> list[str]:
    return [one.path.name for one in files]


# photos of one class


def test_sketchy_keeps_originals_and_leaves_out_what_repeats_them(tmp_path: Path) -> None:
    photos = [
        file(tmp_path / "n1_1.jpg", "one"),
        file(tmp_path / "n1_2.jpg", "one"),  # has sketches of its own
        file(tmp_path / "added/n1_1.jpg", "one, encoded anew", "extended"),
        file(tmp_path / "added/ext_1.jpg", "one", "extended"),
        file(tmp_path / "added/ext_2.jpg", "two", "extended"),
        file(tmp_path / "added/ext_3.jpg", "two", "extended"),
        file(tmp_path / "added/n9_9.jpg", "three", "extended"),  # no such original
    ]
    kept, repeats = without_repeats("sketchy", "cow", photos)
    assert names(kept) == ["n1_1.jpg", "n1_2.jpg", "ext_2.jpg", "n9_9.jpg"]
    assert repeats == (
        "cow/n1_1.jpg: repeats the original photo n1_1",
        "cow/ext_1.jpg: has the content of n1_1.jpg",
        "cow/ext_3.jpg: has the content of ext_2.jpg",
    )


def test_the_misnamed_file_of_the_extension(tmp_path: Path) -> None:
    photos = [
        file(tmp_path / "n02437136_5405.jpg"),
        file(tmp_path / "added/c.jpg", origin="extended"),
    ]
    assert names(without_repeats("sketchy", "camel", photos)[0]) == ["n02437136_5405.jpg"]
    assert len(without_repeats("sketchy", "cow", photos)[0]) == 2
    assert len(without_repeats("sketchy", "camel", photos[1:])[0]) == 1


def test_a_training_layout_of_sketchy_is_told_apart_by_names(tmp_path: Path) -> None:
    photos = [
        file(tmp_path / "train/n1_1.jpg", "one", "train"),
        file(tmp_path / "train/n1_1_extended.jpg", "one, encoded anew", "train"),
        file(tmp_path / "train/n1_2.jpg", "one", "train"),
        file(tmp_path / "val/ext_1.jpg", "one", "val"),
        file(tmp_path / "val/n1_1.jpg", "one", "val"),
    ]
    kept, repeats = without_repeats("sketchy", "cow", photos)
    assert [one.path for one in kept] == [photos[0].path, photos[2].path]
    assert repeats == (
        "cow/n1_1_extended.jpg: repeats the original photo n1_1",
        "cow/ext_1.jpg: has the content of n1_1.jpg",
        "cow/n1_1.jpg: repeats the original photo n1_1",
    )


@pytest.mark.parametrize("dataset", ["tuberlin", "quickdraw"])
def test_elsewhere_content_alone_decides(tmp_path: Path, dataset: str) -> None:
    photos = [
        file(tmp_path / "n1_1.jpg", "one"),
        file(tmp_path / "n1_2.jpg", "one"),
        file(tmp_path / "n1_1_extended.jpg", "two"),
        file(tmp_path / "val/n1_1.jpg", "one, and other", "val"),
    ]
    kept, repeats = without_repeats(dataset, "camel", photos)
    assert kept == (photos[0], photos[2], photos[3])
    assert repeats == ("camel/n1_2.jpg: has the content of n1_1.jpg",)


def test_empty_files_are_broken_and_not_equal(tmp_path: Path) -> None:
    photos = [ImageFile(tmp_path / "a.jpg"), ImageFile(tmp_path / "b.jpg")]
    for photo in photos:
        photo.path.touch()
    assert len(without_repeats("tuberlin", "cow", photos)[0]) == 2


@pytest.mark.parametrize(
    ("class_name", "stem", "original"),
    [
        ("cow", "n1_2_extended", "n1_2"),
        ("cow", "n1_3_extended", None),
        ("cow", "n1_2", None),
        ("cow", "_extended", None),
        ("Camel", "c", None),
    ],
)
def test_names_of_repeats(class_name: str, stem: str, original: str | None) -> None:
    assert original_named_by(class_name, stem, {"n1_2", "c"}) == original
    assert original_named_by("Camel", "c", {"n02437136_5405"}) == original_of("camel", "c")


# sketches of one class


def test_a_sketch_on_both_sides_is_one(tmp_path: Path) -> None:
    sketches = [
        file(tmp_path / "train/1.png", "a circle", "train"),
        file(tmp_path / "train/2.png", "a circle", "train"),  # two people, one circle
        file(tmp_path / "val/1.png", "a circle", "val"),
        file(tmp_path / "val/2.png", "a square", "val"),
    ]
    kept, repeats = merged("cow", sketches)
    assert kept == (sketches[0], sketches[1], sketches[3])
    assert repeats == ("cow/1.png: is among the sketches of both sides",)


# any files


def test_groups_of_equal_files(tmp_path: Path) -> None:
    paths = [
        file(tmp_path / name, content).path for name, content in zip("abcde", "xyxzy", strict=True)
    ]
    calls: list[tuple[int, int]] = []
    groups = equal_files(paths, lambda done, total: calls.append((done, total)))
    assert groups == [[paths[0], paths[2]], [paths[1], paths[4]]]
    assert calls == [(done, 5) for done in range(1, 6)]


def test_links_to_one_file_are_equal_and_lost_files_are_not(tmp_path: Path) -> None:
    path = file(tmp_path / "a").path
    link = tmp_path / "b"
    link.symlink_to(path)
    assert equal_files([path, link, tmp_path / "gone", tmp_path / "lost"]) == [[path, link]]


@settings(max_examples=40, deadline=None)
@given(contents=st.lists(st.binary(min_size=1, max_size=2), max_size=8))
def test_as_comparing_all_pairs(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    paths = [folder / str(index) for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    together = {pair for group in equal_files(paths) for pair in combinations(group, 2)}
    equal = {
        (one, other)
        for one, other in combinations(paths, 2)
        if one.read_bytes() == other.read_bytes()
    }
    assert together == equal
    assert all(same_content(*pair) == (pair in equal) for pair in combinations(paths, 2))
    shutil.rmtree(folder)
