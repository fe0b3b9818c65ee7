"""Preparing all three datasets from every layout; repeats kept or left out; splitting anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from msedge.data.layouts import find_unreadable, fingerprint, read_dataset
from msedge.data.prepare import (
    DEFAULT_PROTOCOLS,
    PreparedCounts,
    SplitCounts,
    prepare_dataset,
    read_marker,
)
from msedge.data.protocols import Protocol, load_protocol
from msedge.errors import DataError

CLASSES = ("camel", "cat", "cow", "hot-air_balloon")
COUNTS = PreparedCounts(train=SplitCounts(2, 6, 4), val=SplitCounts(2, 6, 4))


LAYOUTS = {
    "sketchy, official": ("sketchy", None),
    "sketchy, SAKE": (
        "sketchy",
        ("256x256/sketch/tx_000000000000_ready", "256x256/photo/tx_000000000000_ready"),
    ),
    "sketchy, SEM-PCYC": ("sketchy", ("sketch/tx_000000000000", "photo/tx_000000000000")),
    "tuberlin, official": ("tuberlin", None),
    "tuberlin, first published": ("tuberlin", ("png", "ImageResized")),
    "tuberlin, SEM-PCYC": ("tuberlin", ("sketches", "images")),
    "quickdraw, official": ("quickdraw", None),
    "quickdraw, ZSE-SBIR": ("quickdraw", ("sketches", "images")),
}


def tiny(dataset: str, seen: tuple[str, ...] = ()) -> Protocol:
    return Protocol(
        id="tiny-2",
        dataset=dataset,
        title="t",
        citation="c",
        unseen=("Hot-Air Balloon", "cow"),
        seen=seen,
    )


PROTOCOL = tiny("sketchy")


# every dataset and layout


@pytest.mark.parametrize("deeper", ["", "{}_Extended"])
@pytest.mark.parametrize(("dataset", "folders"), LAYOUTS.values(), ids=list(LAYOUTS))
def test_every_layout_becomes_the_same(
    tmp_path: Path, download, dataset: str, folders: tuple[str, str] | None, deeper: str
) -> None:
    root = tmp_path / "source" / deeper.format(dataset)
    download(root, dataset, CLASSES, folders=folders)
    counts = prepare_dataset(dataset, tmp_path / "source", tiny(dataset), tmp_path / "data")
    assert counts == COUNTS
    found = read_dataset(tmp_path / "data", dataset)
    assert found.train.classes == ("camel", "cat")
    assert found.val.classes == ("cow", "hot-air_balloon")
    assert find_unreadable(found.train.records + found.val.records) == []


@pytest.mark.parametrize("dataset", ["sketchy", "tuberlin", "quickdraw"])
def test_default_protocols_are_of_their_datasets(dataset: str) -> None:
    assert load_protocol(DEFAULT_PROTOCOLS[dataset]).dataset == dataset


def test_classes_outside_the_protocol_are_left_out(tmp_path: Path, download) -> None:
    download(tmp_path / "source", "quickdraw", CLASSES)
    protocol = tiny("quickdraw", seen=("Camel",))
    counts = prepare_dataset("quickdraw", tmp_path / "source", protocol, tmp_path)
    assert counts.train == SplitCounts(1, 3, 2)
    assert counts.dropped == ("cat: is not a class of tiny-2",)


@pytest.mark.parametrize("dataset", ["tuberlin", "quickdraw"])
def test_repeats_of_content_are_left_out_everywhere(tmp_path: Path, download, dataset: str) -> None:
    root = download(tmp_path / "source", dataset, CLASSES)
    photos = {"tuberlin": "ImageResized_ready", "quickdraw": "QuickDraw_images_final"}[dataset]
    first = next(path for path in sorted((root / photos / "cow").iterdir()))
    shutil.copy(first, root / photos / "cow" / "z.jpg")
    shutil.copy(first, root / photos / "cat" / "z.jpg")
    counts = prepare_dataset(dataset, root, tiny(dataset), tmp_path)
    assert counts.val == COUNTS.val
    assert counts.train == SplitCounts(2, 6, 5)
    assert counts.dropped == (f"cow/z.jpg: has the content of {first.name}",)
    kept = prepare_dataset(dataset, root, tiny(dataset), tmp_path, name="k", keep_duplicates=True)
    assert kept == PreparedCounts(SplitCounts(2, 6, 5), SplitCounts(2, 6, 5))


# repeats kept


def test_repeats_kept_as_the_lists_have_them(source: Path, tmp_path: Path, draw) -> None:
    """Originals and everything in the extension: 85,502 lines for 73,002 photos."""
    added = source / "EXTEND_image_sketchy"
    photos = source / "256x256/photo/tx_000000000000"
    for class_name in CLASSES:
        for path in sorted((photos / class_name).iterdir()):
            draw(added / class_name / path.name)  # encoded again
        draw(added / class_name / "ext_1.jpg")
    (added / "camel/n02437136_5405.jpg").rename(added / "camel/c.jpg")
    once = prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    twice = prepare_dataset(
        "sketchy", source, PROTOCOL, tmp_path, name="twice", keep_duplicates=True
    )
    assert (once.val.photos, twice.val.photos) == (6, 10)
    assert (len(once.dropped), twice.dropped) == (8, ())
    assert sorted(path.name for path in (tmp_path / "twice/val/photo/cow").iterdir()) == [
        "ext_1.jpg",
        "n02_0.jpg",
        "n02_0_extended.jpg",
        "n02_1.jpg",
        "n02_1_extended.jpg",
    ]
    link = tmp_path / "twice/val/photo/cow/n02_0_extended.jpg"
    assert link.resolve() == (added / "cow/n02_0.jpg").resolve()
    assert (tmp_path / "twice/val/photo/cow/n02_0.jpg").resolve() != link.resolve()
    assert (tmp_path / "twice/train/photo/camel/c.jpg").is_file()
    assert read_marker(tmp_path / "twice")["keep_duplicates"] is True
    with pytest.raises(DataError, match=r"prepared otherwise \(keep_duplicates True\)"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path, name="twice")


def test_names_that_are_taken_never_overwrite(source: Path, tmp_path: Path, draw) -> None:
    added = source / "EXTEND_image_sketchy/cow"
    for name in ("n02_0.jpg", "N02_0.jpg", "n02_0_extended.jpg"):
        draw(added / name)
    prepare_dataset("sketchy", source, PROTOCOL, tmp_path, keep_duplicates=True)
    folder = tmp_path / "sketchy/val/photo/cow"
    assert {path.name: path.resolve().name for path in folder.iterdir()} == {
        "n02_0.jpg": "n02_0.jpg",
        "n02_1.jpg": "n02_1.jpg",
        "N02_0_extended.jpg": "N02_0.jpg",
        "n02_0_extended2.jpg": "n02_0.jpg",
        "n02_0_extended_extended.jpg": "n02_0_extended.jpg",
    }


# split anew


def test_a_prepared_dataset_is_split_anew(source: Path, tmp_path: Path) -> None:
    first = prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data")
    other = Protocol(id="tiny-1", dataset="sketchy", title="", citation="", unseen=("camel",))
    for asked in (tmp_path / "data", tmp_path / "data/sketchy"):
        name = f"from {asked.name}"
        counts = prepare_dataset("sketchy", asked, other, tmp_path / "anew", name=name)
        assert counts == PreparedCounts(SplitCounts(3, 9, 6), SplitCounts(1, 3, 2))
    back = prepare_dataset(
        "sketchy", tmp_path / "anew/from data", PROTOCOL, tmp_path / "back", name="sketchy"
    )
    assert back == first
    there, again = (read_dataset(tmp_path / root, "sketchy") for root in ("data", "back"))
    assert fingerprint(there) == fingerprint(again)
    link = again.val.records[0].path
    assert link.readlink().is_relative_to(source.resolve())  # not to a link in between


def test_the_doubled_gallery_of_a_prepared_dataset_can_be_mended(
    source: Path, tmp_path: Path, draw
) -> None:
    draw(source / "EXTEND_image_sketchy/cow/n02_0.jpg")
    draw(source / "EXTEND_image_sketchy/cow/ext_1.jpg")
    once = prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    prepare_dataset("sketchy", source, PROTOCOL, tmp_path, name="twice", keep_duplicates=True)
    mended = prepare_dataset("sketchy", tmp_path / "twice", PROTOCOL, tmp_path, name="mended")
    assert (mended.train, mended.val) == (once.train, once.val)
    assert mended.dropped == ("cow/n02_0_extended.jpg: repeats the original photo n02_0",)


def test_a_class_on_both_sides_is_merged(tmp_path: Path, draw) -> None:
    """Of one name, the same picture is kept once and another one gets a name of its own."""
    root = tmp_path / "source"
    for name in CLASSES:
        for domain in ("sketch", "photo"):
            for side in ("train", "val"):
                draw(root / side / domain / name / "1.png", number=f"{domain} {name}")
                draw(root / side / domain / name / "2.png", number=f"{domain} {name} {side}")
    counts = prepare_dataset("tuberlin", root, tiny("tuberlin"), tmp_path)
    assert (counts.train, counts.val) == (SplitCounts(2, 6, 6), SplitCounts(2, 6, 6))
    assert len(counts.dropped) == 8
    assert "cow/1.png: is among the sketches of both sides" in counts.dropped
    assert "cow/1.png: has the content of 1.png" in counts.dropped
    folder = tmp_path / "tuberlin/val/photo/cow"
    assert sorted(path.name for path in folder.iterdir()) == ["1.png", "2.png", "2_val.png"]
    assert (folder / "2_val.png").resolve() == (root / "val/photo/cow/2.png").resolve()
