"""The files of each class: spellings, sides, added photos, and what is left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from msedge.data.archives import find_archive
from msedge.data.class_files import ClassFiles, read_classes
from msedge.data.protocols import Protocol
from msedge.errors import DataError


def protocol(dataset: str, *unseen: str, seen: tuple[str, ...] = ()) -> Protocol:
    return Protocol(id="p", dataset=dataset, title="", citation="", unseen=unseen, seen=seen)


def read(
    root: Path, dataset: str, seen: tuple[str, ...] = ()
) -> tuple[dict[str, ClassFiles], tuple[str, ...]]:
    return read_classes(find_archive(root, dataset), protocol(dataset, "cow", seen=seen))


def names(classes: dict[str, ClassFiles]) -> dict[str, str]:
    return {key: files.name for key, files in classes.items()}


@pytest.mark.parametrize("dataset", ["sketchy", "tuberlin", "quickdraw"])
def test_files_in_order(tmp_path: Path, download, dataset: str) -> None:
    root = download(tmp_path, dataset, ["cow", "cat"])
    classes, left_out = read(root, dataset)
    assert list(classes) == ["cat", "cow"]
    assert [file.path.name for file in classes["cow"].sketch] == [
        "n00000000_0-0.png",
        "n00000000_0-1.png",
        "n00000000_0-2.png",
    ]
    assert [file.path.stem for file in classes["cat"].photo] == ["n00000001_0", "n00000001_1"]
    assert left_out == ()


def test_a_class_is_spelled_as_its_sketches(tmp_path: Path, download) -> None:
    root = download(tmp_path, "tuberlin", ["hot air balloon", "bear (animal)", "giraffe"])
    photos = root / "ImageResized_ready"
    (photos / "hot air balloon").rename(photos / "hot-air_balloon")
    (photos / "bear (animal)").rename(photos / "bearanimal")
    (photos / "giraffe").rename(photos / "griaffe")
    classes, left_out = read(root, "tuberlin")
    assert names(classes) == {
        "bear (animal)": "bear (animal)",
        "giraffe": "giraffe",
        "hot air balloon": "hot air balloon",
    }
    assert all(len(files.photo) == 2 for files in classes.values())
    assert left_out == ()


def test_both_sides_of_a_training_layout_are_one_class(tmp_path: Path, draw) -> None:
    for side, name in (("train", "hot-air_balloon"), ("val", "Hot Air Balloon")):
        for domain in ("sketch", "photo"):
            draw(tmp_path / side / domain / name / f"{side}.png")
    (tmp_path / "val" / "photo" / "Hot Air Balloon" / ".DS_Store").touch()
    classes, _ = read(tmp_path, "quickdraw")
    (files,) = classes.values()
    assert files.name == "hot-air_balloon"
    assert [(file.path.name, file.origin) for file in files.photo] == [
        ("train.png", "train"),
        ("val.png", "val"),
    ]


def test_classes_that_the_protocol_does_not_know_are_left_out(tmp_path: Path, download) -> None:
    """The raw sketches of QuickDraw are of 345 classes, with photos of 110."""
    root = download(tmp_path, "quickdraw", ["cow", "Hot Air Balloon", "yoga"])
    for photo in (root / "QuickDraw_images_final" / "yoga").iterdir():
        photo.unlink()
    seen = ("hot-air_balloon",)
    classes, left_out = read(root, "quickdraw", seen)
    assert names(classes) == {"cow": "cow", "hot air balloon": "Hot Air Balloon"}
    assert left_out == ("yoga: is not a class of p",)
    with pytest.raises(DataError, match=r"class yoga has no images in .*QuickDraw_images_final"):
        read(root, "quickdraw")


def test_added_photos_come_last_and_need_sketches(tmp_path: Path, download, draw) -> None:
    root = download(tmp_path, "sketchy", ["cow"])
    draw(root / "EXTEND_image_sketchy" / "cow" / "a.jpg")
    draw(root / "EXTEND_image_sketchy" / "yak" / "a.jpg")
    classes, left_out = read(root, "sketchy")
    assert [file.origin for file in classes["cow"].photo] == ["", "", "extended"]
    assert left_out == ("yak: the class has added photos only, no sketches",)


def test_links_that_lead_nowhere_are_told(tmp_path: Path, download) -> None:
    root = download(tmp_path, "tuberlin", ["cow"])
    (root / "ImageResized_ready" / "cow" / "lost.jpg").symlink_to(tmp_path / "gone.jpg")
    classes, left_out = read(root, "tuberlin")
    assert len(classes["cow"].photo) == 2
    assert left_out == ("cow/lost.jpg: the link leads nowhere",)


# exceptions


@pytest.mark.parametrize("emptied", ["sketch", "photo"])
def test_a_class_without_one_domain(tmp_path: Path, download, emptied: str, draw) -> None:
    root = download(tmp_path, "sketchy", ["cow", "cat"])
    for path in (root / "256x256" / emptied / "tx_000000000000" / "cat").iterdir():
        path.unlink()
    draw(root / "EXTEND_image_sketchy" / "cat" / "a.jpg")  # does not make up for the originals
    with pytest.raises(DataError, match=f"class cat has no images in .*{emptied}.*: unpack"):
        read(root, "sketchy")


@pytest.mark.parametrize("folder", ["png_ready", "ImageResized_ready"])
def test_a_misspelt_folder_is_named(tmp_path: Path, download, folder: str) -> None:
    root = download(tmp_path, "tuberlin", ["cow", "zebra", "lion"])
    (root / folder / "zebra").rename(root / folder / "zebrra")
    rename = rf"class zebra has no images in .*{folder}: .*, or rename .*{folder}/zebrra if"
    with pytest.raises(DataError, match=rename):
        read(root, "tuberlin", seen=("zebra", "lion"))
    (root / folder / "zebrra").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"class zebra [^(]*: unpack the archive again, or leave"):
        read(root, "tuberlin", seen=("zebra", "lion"))


def test_classes_of_one_domain(tmp_path: Path, download) -> None:
    root = download(tmp_path, "tuberlin", ["angel", "cat", "cow", "yoga"])
    shutil.rmtree(root / "ImageResized_ready" / "angel")
    shutil.rmtree(root / "png_ready" / "yoga")
    with pytest.raises(DataError, match=r"angel has .* \(1 more classes lack .*--lone-classes"):
        read(root, "tuberlin")
    archive, asked = find_archive(root, "tuberlin"), protocol("tuberlin", "cow")
    classes, left_out = read_classes(archive, asked, "leave-out")
    assert list(classes) == ["cat", "cow"]
    assert left_out == (
        f"angel: has no images in {root / 'ImageResized_ready'}",
        f"yoga: has no images in {root / 'png_ready'}",
    )
    classes, left_out = read_classes(archive, asked, "take")
    assert list(classes) == ["angel", "cat", "cow", "yoga"]
    assert (len(classes["angel"].photo), len(classes["yoga"].sketch), left_out) == (0, 0, ())
    with pytest.raises(DataError, match=r"class angel .*; unseen classes need sketches and photos"):
        read_classes(archive, protocol("tuberlin", "angel"), "take")


def test_one_class_in_two_spellings(tmp_path: Path, download) -> None:
    root = download(tmp_path, "quickdraw", ["sea turtle", "sea_turtle"])
    with pytest.raises(DataError, match="one class twice, sea turtle and sea_turtle: merge"):
        read(root, "quickdraw")
