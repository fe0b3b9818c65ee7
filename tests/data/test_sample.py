"""The drawn sample set: what is on disk, that it is repeatable, and that it harms no one's data."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msedge.data import sample
from msedge.data.layouts import read_dataset
from msedge.data.sample import (
    IMAGE_SIZE,
    MARKER,
    SAMPLE_CLASSES,
    SAMPLE_UNSEEN,
    draw_photo,
    draw_sketch,
    write_sample,
)
from msedge.errors import DataError

DRAW = {"photo": draw_photo, "sketch": draw_sketch}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), photos=2, sketches=1)


def images_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != MARKER
    }


# --- smoke ---


@pytest.mark.parametrize("domain", ["photo", "sketch"])
@pytest.mark.parametrize("class_name", SAMPLE_CLASSES)
def test_every_class_can_be_drawn_for_many_seeds(class_name: str, domain: str) -> None:
    mode = {"photo": "RGB", "sketch": "L"}[domain]
    for seed in range(4):
        image = DRAW[domain](class_name, np.random.default_rng(seed), 48)
        assert (image.mode, image.size) == (mode, (48, 48))


def test_shapes_stay_finite_for_many_more_seeds() -> None:
    for class_name in SAMPLE_CLASSES:
        for seed in range(60):
            for part in sample.OBJECTS[class_name](np.random.default_rng(seed)):
                assert np.isfinite(part.points).all()
                assert len(part.points) >= (3 if part.closed else 2)


def test_the_training_layout_is_read_back(written: Path) -> None:
    dataset = read_dataset(written.parent, written.name)

    assert dataset.val.classes == SAMPLE_UNSEEN
    assert len(dataset.train.records) == 3 * (len(SAMPLE_CLASSES) - len(SAMPLE_UNSEEN))


# --- exceptions ---


@pytest.mark.parametrize("draw", DRAW.values())
def test_an_unknown_class_is_named(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(DataError, match="no class 'unicorn'"):
        draw("unicorn", np.random.default_rng(0))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b"])
def test_a_name_that_is_not_one_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="plain folder name"):
        write_sample(tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"photos": 0}, {"sketches": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        write_sample(tmp_path, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("marker", [None, "not json", "[]"])
def test_a_users_own_folder_is_left_alone(tmp_path: Path, marker: str | None) -> None:
    own = tmp_path / "sample" / "holiday.jpg"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    if marker is not None:
        (own.parent / MARKER).write_text(marker)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(DataError, match="choose another data root"):
        write_sample(tmp_path, photos=1, sketches=1)
    assert sorted(tmp_path.rglob("*")) == before
    assert own.read_bytes() == b"mine"


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("mine")
    with pytest.raises(DataError, match="left as it is"):
        write_sample(tmp_path, photos=1, sketches=1)
    assert (tmp_path / "sample").read_text() == "mine"


@pytest.mark.parametrize("other", [{"seed": 1}, {"photos": 3}, {"sketches": 2}])
def test_another_sample_set_is_left_alone(written: Path, other: dict[str, int]) -> None:
    before = images_of(written)
    with pytest.raises(
        DataError, match=f"{next(iter(other))} .*, not {next(iter(other.values()))}"
    ):
        write_sample(written.parent, **{"photos": 2, "sketches": 1, **other})  # type: ignore[arg-type]
    assert images_of(written) == before


def test_a_set_with_images_removed_is_not_taken_for_whole(tmp_path: Path, written: Path) -> None:
    root = shutil.copytree(written, tmp_path / "sample")
    next((root / "train").rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="lacks 1 of its images"):
        write_sample(tmp_path, photos=2, sketches=1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 5:
            raise error

    with pytest.raises(error):
        write_sample(tmp_path, photos=1, sketches=1, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_data_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match="cannot write the sample set"):
        write_sample(tmp_path / "data")


def test_data_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    def meddle(done: int, total: int) -> None:
        if done == total:
            (tmp_path / "sample").mkdir()
            (tmp_path / "sample" / "mine.txt").write_text("mine")

    with pytest.raises(DataError, match="left as it is"):
        write_sample(tmp_path, photos=1, sketches=1, progress=meddle)
    assert [path.name for path in tmp_path.rglob("*")] == ["sample", "mine.txt"]


# --- cardinality ---


def test_the_splits_share_no_class(written: Path) -> None:
    seen, unseen = (
        {path.name for path in (written / split).glob("*/*")} for split in ("train", "val")
    )
    assert len(SAMPLE_CLASSES) >= 24
    assert len(SAMPLE_UNSEEN) == 8
    assert seen | unseen == set(SAMPLE_CLASSES)
    assert not seen & unseen
    assert unseen == set(SAMPLE_UNSEEN)
    assert list(SAMPLE_CLASSES) == sorted(SAMPLE_CLASSES)


def test_layout_names_and_counts(written: Path) -> None:
    files = images_of(written)
    assert "train/photo/apple/apple_0001.jpg" in files
    assert "val/sketch/turtle/turtle_0000.png" in files
    counts = Counter(name.rsplit("/", 1)[0] for name in files)
    assert len(counts) == 2 * len(SAMPLE_CLASSES)
    assert all(n == (2 if "/photo/" in name else 1) for name, n in counts.items())


def test_images_have_the_stated_form(written: Path) -> None:
    for path in written.rglob("*_0000.*"):
        with Image.open(path) as image:
            image.load()
            form = (image.format, image.mode, image.size)
        size = (IMAGE_SIZE, IMAGE_SIZE)
        assert form == (("JPEG", "RGB", size) if path.suffix == ".jpg" else ("PNG", "L", size))


def test_the_marker_tells_what_was_asked(written: Path) -> None:
    marker = json.loads((written / MARKER).read_text())
    assert (marker["seed"], marker["photos"], marker["sketches"]) == (0, 2, 1)
    assert marker["classes"]["val"] == list(SAMPLE_UNSEEN)


def test_progress_counts_every_image_and_a_second_call_draws_none(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        calls.append((done, total))

    root = write_sample(tmp_path / "new" / "root", name="toy", photos=1, sketches=1, progress=note)
    total = 2 * len(SAMPLE_CLASSES)
    assert calls == [(n, total) for n in range(1, total + 1)]
    assert root == tmp_path / "new" / "root" / "toy"

    assert write_sample(root.parent, name="toy", photos=1, sketches=1, progress=note) == root
    assert len(calls) == total
    assert [path.name for path in root.parent.iterdir()] == ["toy"]


def test_other_users_may_read_the_set(tmp_path: Path, written: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    assert written.stat().st_mode == plain.stat().st_mode


# --- numbers ---


def test_the_same_seed_gives_the_same_bytes_whatever_the_counts(
    tmp_path: Path, written: Path
) -> None:
    again = images_of(write_sample(tmp_path, photos=1, sketches=1))
    first = images_of(written)
    assert all(first[name] == content for name, content in again.items())


def test_another_seed_and_another_index_give_other_images(tmp_path: Path, written: Path) -> None:
    other = images_of(write_sample(tmp_path, seed=1, photos=1, sketches=1))
    first = images_of(written)
    assert not any(first[name] == content for name, content in other.items())
    assert len(set(first.values())) == len(first)


def test_sketches_are_dark_strokes_on_white(written: Path) -> None:
    for path in written.rglob("*.png"):
        with Image.open(path) as image:
            grey = np.asarray(image)
        assert np.mean(grey > 250) > 0.6, path.name
        assert np.mean(grey < 110) > 0.004, path.name
        assert np.median(grey) == 255


def test_photos_fill_their_frame_with_many_colours(written: Path) -> None:
    for path in written.rglob("*.jpg"):
        with Image.open(path) as image:
            pixels = np.asarray(image)
        coarse = pixels.astype(np.int64) // 8 @ [1024, 32, 1]
        assert pixels.std() > 12, path.name
        assert len(np.unique(coarse)) > 100, path.name


def test_colour_does_not_tell_the_class() -> None:
    """The nearest neighbour by mean colour finds the class little better than chance (1/32)."""
    means = np.array(
        [
            np.asarray(draw_photo(name, np.random.default_rng([n, seed]), 40)).mean(axis=(0, 1))
            for n, name in enumerate(SAMPLE_CLASSES)
            for seed in range(5)
        ]
    )
    labels = np.repeat(np.arange(len(SAMPLE_CLASSES)), 5)
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(labels[distances.argmin(axis=1)] == labels) < 0.12
