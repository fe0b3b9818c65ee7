"""Datasets are made by the tests: folders of tiny images, and all that goes wrong with them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from msedge.data.layouts import (
    Dataset,
    Record,
    Split,
    find_dataset,
    find_unreadable,
    fingerprint,
    list_images,
    read_dataset,
)
from msedge.errors import ConfigError, DataError


def write_images(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (4, 4), (index, 0, 0)).save(folder / f"{index}{suffix}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`tiny`: cat and dog seen, cow unseen; 2 sketches a class, 3 photos (5 of the dog)."""
    for side, name in (("train", "dog"), ("train", "cat"), ("val", "cow")):
        write_images(tmp_path / "tiny" / side / "sketch" / name, 2)
        write_images(tmp_path / "tiny" / side / "photo" / name, 5 if name == "dog" else 3, ".jpg")
    return tmp_path


def problems(data_root: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_dataset(data_root, "tiny")
    return str(caught.value).splitlines()


# smoke


def test_reads_the_layout(root: Path) -> None:
    dataset = read_dataset(root, "tiny")
    assert (dataset.name, dataset.root) == ("tiny", root / "tiny")
    assert dataset.train.classes == ("cat", "dog")
    assert dataset.val.classes == ("cow",)
    first = root / "tiny" / "train" / "sketch" / "cat" / "0.png"
    assert dataset.train.of("sketch")[0] == Record(first, "sketch", "cat")


def test_order_is_by_class_then_file_name(root: Path) -> None:
    for split in (read_dataset(root, "tiny").train, read_dataset(root, "tiny").val):
        keys = [(record.class_name, record.path.name) for record in split.records]
        assert keys == sorted(keys)
        for domain in ("sketch", "photo"):
            keys = [(record.class_name, record.path.name) for record in split.of(domain)]
            assert keys == sorted(keys)


def test_passes_over_what_is_no_image(root: Path) -> None:
    before = read_dataset(root, "tiny")
    photos = root / "tiny" / "val" / "photo"
    (photos / "cow" / ".hidden.jpg").write_bytes(b"")
    (photos / "cow" / "notes.txt").write_text("moo")
    (photos / "cow" / "folder.jpg").mkdir()
    (photos / "loose.jpg").write_bytes(b"")
    (photos / ".cache").mkdir()
    (root / "tiny" / "prepared.json").write_text("{}")
    assert read_dataset(root, "tiny") == before


def test_suffixes_in_any_case(root: Path) -> None:
    folder = root / "tiny" / "val" / "photo" / "cow"
    for name in ("x.JPG", "x.Jpeg", "x.WEBP"):
        (folder / name).write_bytes(b"")
    assert read_dataset(root, "tiny").val.counts("photo") == {"cow": 6}


def test_follows_links_of_folders_and_of_files(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    away = tmp_path_factory.mktemp("away")
    before = read_dataset(root, "tiny")
    moved = root / "tiny" / "train" / "photo" / "cat"
    shutil.move(moved, away / "cat")
    moved.symlink_to(away / "cat")
    file = root / "tiny" / "val" / "sketch" / "cow" / "0.png"
    shutil.move(file, away / "0.png")
    file.symlink_to(away / "0.png")
    after = read_dataset(root, "tiny")
    assert after == before
    assert fingerprint(after) == fingerprint(before)


# exceptions


def test_data_root_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data root .*gone is not a folder.*msedge data prepare"):
        read_dataset(tmp_path / "gone", "tiny")


def test_dataset_missing_lists_what_is_there(root: Path) -> None:
    (root / "notes").mkdir()
    with pytest.raises(DataError, match=r"'huge'.*\(there: tiny\).*msedge data prepare"):
        read_dataset(root, "huge")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp"])
def test_name_is_one_folder(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="one folder"):
        read_dataset(root, name)


def test_split_missing(root: Path) -> None:
    shutil.rmtree(root / "tiny" / "val")
    (line,) = problems(root)
    assert line.startswith(f"{root / 'tiny' / 'val'} is missing")


def test_domain_missing(root: Path) -> None:
    shutil.rmtree(root / "tiny" / "val" / "photo")
    (line,) = problems(root)
    assert line.startswith(f"{root / 'tiny' / 'val' / 'photo'} is missing")


def test_no_classes(root: Path) -> None:
    shutil.rmtree(root / "tiny" / "val" / "photo" / "cow")
    (line,) = problems(root)
    assert "val/photo holds no classes" in line


def test_empty_class(root: Path) -> None:
    (root / "tiny" / "train" / "photo" / "cat" / "notes.txt").write_text("")
    for file in (root / "tiny" / "train" / "photo" / "cat").glob("*.jpg"):
        file.unlink()
    (line,) = problems(root)
    assert "train/photo: no images in cat" in line


@pytest.mark.parametrize(("ours", "theirs"), [("sketch", "photo"), ("photo", "sketch")])
def test_class_of_one_domain_only(root: Path, ours: str, theirs: str) -> None:
    shutil.rmtree(root / "tiny" / "train" / theirs / "dog")
    (line,) = problems(root)
    words = {"sketch": "sketches", "photo": "photos"}
    assert f"{words[ours]} but no {words[theirs]} of dog: add {words[theirs]}" in line


@pytest.mark.parametrize("missing", ["sketch", "photo"])
def test_class_of_one_domain_only_may_be_asked_for_in_training(root: Path, missing: str) -> None:
    shutil.rmtree(root / "tiny" / "train" / missing / "dog")
    found = read_dataset(root, "tiny", lone_classes=True).train
    assert "dog" in found.classes
    assert found.counts(missing)["dog"] == 0  # type: ignore[arg-type]
    write_images(root / "tiny" / "val" / "photo" / "owl", 2)
    with pytest.raises(DataError, match="photos but no sketches of owl"):
        read_dataset(root, "tiny", lone_classes=True)


def test_class_on_both_sides_however_spelled(root: Path) -> None:
    for index in range(7):
        for domain in ("sketch", "photo"):
            write_images(root / "tiny" / "train" / domain / f"big_cat_{index}", 1)
            write_images(root / "tiny" / "val" / domain / f"Big cat {index}", 1)
    (line,) = problems(root)
    assert "7 of the classes are in train and in val" in line
    assert "Big cat 0, Big cat 1, Big cat 2, Big cat 3, Big cat 4 and 2 more" in line


def test_links_that_lead_nowhere(root: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (root / "tiny" / "val" / "photo" / "cow" / name).symlink_to(root / "gone.jpg")
    (root / "tiny" / "val" / "photo" / "yak").symlink_to(root / "gone")
    (line,) = problems(root)
    assert "links that lead nowhere: 3, first cow/a.jpg" in line


def test_link_to_itself_is_reported(root: Path) -> None:
    loop = root / "tiny" / "val" / "photo" / "cow" / "loop.jpg"
    loop.symlink_to(loop)
    (line,) = problems(root)
    assert "links that lead nowhere: 1," in line


def test_all_problems_at_once(root: Path) -> None:
    shutil.rmtree(root / "tiny" / "train" / "photo" / "dog")
    (root / "tiny" / "train" / "photo" / "ape").mkdir()
    shutil.rmtree(root / "tiny" / "val" / "sketch")
    lines = problems(root)
    assert len(lines) == 4
    assert all(str(root / "tiny") in line and ": " in line for line in lines)


def test_folder_that_may_not_be_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cannot list .*tiny.*Permission denied"):
        read_dataset(root, "tiny")


def test_file_gone_before_the_fingerprint(root: Path) -> None:
    dataset = read_dataset(root, "tiny")
    dataset.val.records[0].path.unlink()
    with pytest.raises(DataError, match="has gone since"):
        fingerprint(dataset)


# cardinality


def test_domains_need_not_be_equally_many(root: Path) -> None:
    train = read_dataset(root, "tiny").train
    assert train.counts("sketch") == {"cat": 2, "dog": 2}
    assert train.counts("photo") == {"cat": 3, "dog": 5}
    assert len(train.of("sketch")) + len(train.of("photo")) == len(train.records) == 12


def test_min_val_photos_drops_classes_of_val_with_their_sketches(root: Path) -> None:
    for name, count in (("yak", 4), ("emu", 5)):
        write_images(root / "tiny" / "val" / "photo" / name, count)
        write_images(root / "tiny" / "val" / "sketch" / name, 3)
    dataset = read_dataset(root, "tiny", min_val_photos=4)
    assert dataset.val.counts("photo") == {"emu": 5, "yak": 4}
    assert dataset.val.counts("sketch") == {"emu": 3, "yak": 3}
    assert dataset.train.classes == ("cat", "dog")


def test_min_val_photos_that_nothing_meets(root: Path) -> None:
    with pytest.raises(DataError, match="no class has 400 photos, the most is 3"):
        read_dataset(root, "tiny", min_val_photos=400)


@given(st.sets(st.sampled_from("abcde")), st.lists(st.sampled_from("abcde")))
def test_restricting_partitions_a_split(kept: set[str], labels: list[str]) -> None:
    records = tuple(Record(Path(f"{i}.png"), "photo", label) for i, label in enumerate(labels))
    split = Split(records, tuple("abcde"))
    inside, outside = split.restrict(kept), split.restrict(set("abcde") - kept)
    assert sorted(inside.classes + outside.classes) == list("abcde")
    assert set(inside.records) | set(outside.records) == set(records)
    assert {record.class_name for record in inside.records} <= kept
    assert sum(inside.counts("photo").values()) == len(inside.records)
    assert inside.restrict(kept) == inside


def test_restricting_to_an_unknown_class(root: Path) -> None:
    with pytest.raises(DataError, match="no such classes in this split: yak"):
        read_dataset(root, "tiny").val.restrict(["cow", "yak"])


# numbers


def test_fingerprint_sees_every_change_and_no_move(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(root / "tiny", elsewhere / "other")
    original = fingerprint(read_dataset(root, "tiny"))
    assert fingerprint(read_dataset(elsewhere, "other")) == original
    seen = {original}
    cow = elsewhere / "other" / "val" / "photo" / "cow"
    changes = (
        lambda: (cow / "0.jpg").write_bytes((cow / "0.jpg").read_bytes() + b"!"),
        lambda: (cow / "0.jpg").rename(cow / "9.jpg"),
        lambda: (cow / "9.jpg").unlink(),
        lambda: cow.rename(cow.with_name("ox")),
    )
    for number, change in enumerate(changes, start=2):
        change()
        if number == 5:
            sketches = elsewhere / "other" / "val" / "sketch"
            (sketches / "cow").rename(sketches / "ox")
        seen.add(fingerprint(read_dataset(elsewhere, "other")))
        assert len(seen) == number
    assert all(len(value) == 64 for value in seen)


def test_find_unreadable_opens_every_file(root: Path) -> None:
    folder = root / "tiny" / "val" / "photo" / "cow"
    whole = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(whole[: len(whole) - 200])
    (folder / "2.jpg").write_text("not an image")
    records = read_dataset(root, "tiny").val.records
    calls: list[tuple[int, int]] = []
    failed = find_unreadable(records, lambda done, total: calls.append((done, total)))
    assert [record.path.name for record, _ in failed] == ["1.jpg", "2.jpg"]
    assert all(str(record.path) in reason for record, reason in failed)
    assert calls == [(done, len(records)) for done in range(1, len(records) + 1)]


def test_find_unreadable_of_a_sound_dataset(root: Path) -> None:
    dataset: Dataset = read_dataset(root, "tiny")
    assert find_unreadable(dataset.train.records) == []


# shared with those who read broken datasets


def test_images_of_a_folder_and_its_lost_links(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", ".hidden.png", "readme.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").symlink_to(tmp_path / "a.JPG")
    for name in ("z.png", "c.png", "lost.txt"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    (tmp_path / "folder.png").mkdir()
    images, dangling = list_images(tmp_path)
    assert [path.name for path in images] == ["a.JPG", "b.png", "d.png"]
    assert [path.name for path in dangling] == ["c.png", "z.png"]


def test_a_dataset_is_found_whatever_it_holds(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert find_dataset(tmp_path, "empty") == tmp_path / "empty"
    with pytest.raises(ConfigError, match="the name of one folder"):
        find_dataset(tmp_path, "../empty")
    with pytest.raises(DataError, match="no dataset 'gone'"):
        find_dataset(tmp_path, "gone")
    with pytest.raises(DataError, match=r"cannot look into .*File name too long"):
        find_dataset(tmp_path, "n" * 300)
