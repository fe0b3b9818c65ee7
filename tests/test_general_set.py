"""The set that `msedge-lite` is trained on leaves the one out that judges it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "examples/general_set.py"
SKETCHY, TUBERLIN = "sketchy-mini/256x256", "tuberlin-mini"


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Cats and cars of three sources, in their layouts; every Sketchy photo lies in two."""
    root = tmp_path_factory.mktemp("data")
    number = 0
    for sketchy, tuberlin, word in (("cat", "cat", "cat"), ("car_(sedan)", "car (sedan)", "car")):
        for photo in range(12):
            number += 1
            name = f"n0{number}_1"
            picture(root / SKETCHY / "photo/tx_000000000000" / sketchy / f"{name}.jpg", number)
            picture(
                root / TUBERLIN / "ImageResized_ready" / tuberlin / f"sketchy_{name}.jpg", number
            )
            picture(root / TUBERLIN / "ImageResized_ready" / tuberlin / f"web_{photo}.jpg", number)
            for of_it in (1, 2):
                sketch = f"{name}-{of_it}.png"
                picture(root / SKETCHY / "sketch/tx_000000000000" / sketchy / sketch, number)
        for sketch in range(12):
            path = root / TUBERLIN / "png_ready" / tuberlin / f"{100 * number + sketch}.png"
            picture(path, number)
        strokes = {"drawing": [[[0, 255], [0, 255]]]}
        path = root / "quickdraw-mini" / f"{word}.ndjson"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{json.dumps(strokes)}\n" * 8)
    picture(root / TUBERLIN / "sketches_only/sun/7.png", 7)
    return root


@pytest.fixture(scope="module")
def written(data: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set") / "general2"
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["cat", "car"])
class TestClass:
    def test_ten_of_its_24_photos_are_left_out(self, written, name):
        """An everyday class; a photo that two sources hold counts once."""
        assert len(names(written / "train/photo" / name)) == 14

    def test_sketches_go_with_their_photos(self, written, name):
        photos = {Path(p).stem for p in names(written / "train/photo" / name) if p.startswith("n")}
        sketches = [s for s in names(written / "train/sketch" / name) if s.startswith("n")]
        assert {sketch.rsplit("-", 1)[0] for sketch in sketches} == photos
        assert len(sketches) == 2 * len(photos)

    def test_first_ten_and_last_five_drawings_are_left_out(self, written, name):
        others = [s for s in names(written / "train/sketch" / name) if not s.startswith("n")]
        assert [s.removeprefix("quickdraw_") for s in others if s.startswith("quickdraw")] == [
            f"{name}_{line}.png" for line in (0, 1, 2)
        ]
        last_two = [s for s in others if s.startswith("tuberlin")]
        assert [int(Path(s).stem.split("_")[1]) % 100 for s in last_two] == [10, 11]


def test_classes_have_one_name(written):
    assert names(written / "train/photo") == ["car", "cat"]
    assert names(written / "train/sketch") == ["car", "cat"]  # all of the one sun is left out


def test_does_not_write_over_anything(data, written):
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--out", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "exists; remove it or choose another --out" in done.stderr


def test_some_of_each_class(data, written, tmp_path):
    """The same ones each time, and none of the validation set."""
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--sketch", "3", "--photo", "2"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "bank")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for domain, most in (("sketch", 3), ("photo", 2)):
        for folder in (written / "train" / domain).iterdir():
            some = names(tmp_path / "bank/train" / domain / folder.name)
            assert len(some) == min(most, len(names(folder)))
            assert {*some} <= {*names(folder)}
