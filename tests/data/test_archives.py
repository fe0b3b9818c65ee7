"""Each layout in circulation is recognised, and what is none says what was looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from msedge.data.archives import DATASETS, EXTENDED, ClassRoot, find_archive
from msedge.errors import ConfigError, DataError

PLAIN, READY = "tx_000000000000", "tx_000000000000_ready"
LAYOUTS = [
    ("sketchy", f"256x256/sketch/{PLAIN}", f"256x256/photo/{PLAIN}"),
    ("sketchy", f"256x256/sketch/{READY}", f"256x256/photo/{READY}"),
    ("sketchy", f"sketch/{PLAIN}", f"photo/{PLAIN}"),
    ("tuberlin", "png_ready", "ImageResized_ready"),
    ("tuberlin", "png", "ImageResized"),
    ("tuberlin", "sketches", "images"),
    ("quickdraw", "QuickDraw_sketches_final", "QuickDraw_images_final"),
    ("quickdraw", "sketches", "images"),
]
FOLDERS = {
    "sketchy": ["Sketchy", "sketchy-mini"],
    "tuberlin": ["TUBerlin", "TU-Berlin"],
    "quickdraw": ["QuickDraw", "QuickDraw_Extended"],
}
SIDES = ["train/sketch", "train/photo", "val/sketch", "val/photo"]


def make(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


@pytest.mark.parametrize(("dataset", "sketch", "photo"), LAYOUTS)
def test_layouts_in_circulation(tmp_path: Path, dataset: str, sketch: str, photo: str) -> None:
    archive = find_archive(make(tmp_path, sketch, photo), dataset)
    assert archive.sketch == (ClassRoot(tmp_path.resolve() / sketch),)
    assert archive.photo == (ClassRoot(tmp_path.resolve() / photo),)
    assert archive.extension is None


@pytest.mark.parametrize(("dataset", "sketch", "photo"), LAYOUTS)
def test_one_folder_deeper(tmp_path: Path, dataset: str, sketch: str, photo: str) -> None:
    for name in FOLDERS[dataset]:
        root = make(tmp_path / "of" / name / "here", f"{name}/{sketch}", f"{name}/{photo}")
        make(root, "zeroshot0", f"other/{sketch}", f"other/{photo}", f".{name}/{sketch}")
        (root / f"{name}.zip").touch()
        archive = find_archive(root, dataset)
        assert archive.sketch[0].path == (root / name / sketch).resolve()


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_training_layout(tmp_path: Path, dataset: str) -> None:
    root = make(tmp_path / dataset, *SIDES)
    for source in (root, tmp_path):
        archive = find_archive(source, dataset)
        assert archive.root == root.resolve()
        assert [one.origin for one in archive.sketch] == ["train", "val"]
        assert archive.photo[1] == ClassRoot(root.resolve() / "val" / "photo", "val")


def test_inside_the_inner_folder(tmp_path: Path) -> None:
    make(tmp_path, f"256x256/sketch/{PLAIN}", f"256x256/photo/{PLAIN}")
    assert find_archive(tmp_path / "256x256", "sketchy") == find_archive(tmp_path, "sketchy")


@pytest.mark.parametrize("where", ["", "256x256"])
@pytest.mark.parametrize(
    "name", ["EXTEND_image_sketchy", "EXTEND_image_sketchy_ready", "extended_photo"]
)
def test_the_extension(tmp_path: Path, where: str, name: str) -> None:
    make(
        tmp_path, f"256x256/sketch/{PLAIN}", f"256x256/photo/{PLAIN}", f"{where}/{name}".strip("/")
    )
    archive = find_archive(tmp_path, "sketchy")
    assert archive.extension == (tmp_path / where / name).resolve()
    assert [root.origin for root in archive.photo] == ["", EXTENDED]


def test_only_sketchy_is_extended(tmp_path: Path) -> None:
    archive = find_archive(make(tmp_path, "sketches", "images", "extended_photo"), "tuberlin")
    assert archive.extension is None


# exceptions


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("source", ["gone", "empty", "file"])
def test_nothing_there_says_what_was_looked_for(tmp_path: Path, dataset: str, source: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=f"no {dataset} dataset in .*{source}: looked for"
    ) as caught:
        find_archive(tmp_path / source, dataset)
    looked_for = [folder for one, *pair in LAYOUTS if one == dataset for folder in pair]
    named = [folder for folder in looked_for if folder in str(caught.value)]
    assert set(looked_for) - set(named) <= {f"sketch/{PLAIN}", f"photo/{PLAIN}"}
    assert "{train,val}/{sketch,photo}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("dataset", "sketch", "photo"), LAYOUTS)
def test_half_a_layout_names_the_other_half(
    tmp_path: Path, dataset: str, sketch: str, photo: str
) -> None:
    sketch, photo = sketch.removeprefix("256x256/"), photo.removeprefix("256x256/")
    with pytest.raises(DataError, match=rf"\({sketch} is there, {photo} beside it is not\)"):
        find_archive(make(tmp_path / "one", sketch), dataset)
    with pytest.raises(DataError, match=rf"\({photo} is there, {sketch} beside it is not\)"):
        find_archive(make(tmp_path / "two", f"{FOLDERS[dataset][0]}/{photo}"), dataset)


def test_half_a_training_layout_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sketchy dataset"):
        find_archive(make(tmp_path, *SIDES[:3]), "sketchy")


def test_two_that_fit_have_to_be_told_apart(tmp_path: Path) -> None:
    for name in ("sketchy-21", "sketchy-25"):
        make(tmp_path / name, *SIDES)
    with pytest.raises(DataError, match=r"more than once \(.*/sketchy-21, .*/sketchy-25\): name"):
        find_archive(tmp_path, "sketchy")
    make(tmp_path / "Sketchy", *SIDES)
    assert find_archive(tmp_path, "sketchy").root == (tmp_path / "Sketchy").resolve()


def test_unknown_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'coco': expected sketchy, tuberlin, quickdraw"):
        find_archive(tmp_path, "coco")


def test_the_layout_of_another_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sketchy dataset"):
        find_archive(make(tmp_path, "png_ready", "ImageResized_ready"), "sketchy")
