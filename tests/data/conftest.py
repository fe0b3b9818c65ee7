"""Pictures, and the folders that downloads of the three datasets come in."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from decodes import Decodes
from msedge.data import pixel_cache
from msedge.data.layouts import Record

Draw = Callable[..., Path]
Download = Callable[..., Path]

FOLDERS = {
    "sketchy": ("256x256/sketch/tx_000000000000", "256x256/photo/tx_000000000000"),
    "tuberlin": ("png_ready", "ImageResized_ready"),
    "quickdraw": ("QuickDraw_sketches_final", "QuickDraw_images_final"),
}
PREPARED_CLASSES = ("camel", "cat", "cow", "hot-air_balloon")
SUFFIXES = {"sketchy": ".jpg", "tuberlin": ".JPEG", "quickdraw": ".jpg"}


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Write a picture of noise, another for each path or for each number that is given."""

    def write(path: Path, number: object = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = str(path) if number is None else f"number {number}"
        pixels = random.Random(seed).randbytes(8 * 8 * 3)
        Image.frombytes("RGB", (8, 8), pixels).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def download(draw: Draw) -> Download:
    """Write a download: `sketches` and `photos` for each class, in the official folders."""

    def write(
        root: Path,
        dataset: str,
        classes: Iterable[str],
        *,
        folders: tuple[str, str] | None = None,
        sketches: int = 3,
        photos: int = 2,
    ) -> Path:
        of_sketch, of_photo = folders or FOLDERS[dataset]
        for label, name in enumerate(classes):
            for index in range(sketches):
                draw(root / of_sketch / name / f"n{label:08}_0-{index}.png")
            for index in range(photos):
                draw(root / of_photo / name / f"n{label:08}_{index}{SUFFIXES[dataset]}")
        return root

    return write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Sketchy's archive with four classes, each of 2 photos and 3 sketches."""
    root = tmp_path / "archive"
    for number, name in enumerate(PREPARED_CLASSES):
        for index in range(2):
            stem = "n02437136_5405" if (name, index) == ("camel", 0) else f"n0{number}_{index}"
            _plain(
                root / f"256x256/photo/tx_000000000000/{name}/{stem}.jpg",
                (50 * number, 100 * index, 0),
            )
        for index in range(3):
            _plain(
                root / f"256x256/sketch/tx_000000000000/{name}/n0{number}_0-{index}.png",
                (50 * number, 80 * index, 255),
            )
    return root


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Decodes:
    """Counts what the pixel cache decodes."""
    counted, decode = Decodes(), pixel_cache.decode

    def counting(content: bytes, record: Record, **options: Any) -> Any:
        counted.names.append(record.path.stem)
        return decode(content, record, **options)

    monkeypatch.setattr(pixel_cache, "decode", counting)
    return counted


def _plain(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
