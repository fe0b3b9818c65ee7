"""A small set of drawn objects and their sketches, made by code, for demos and tests.

Each class is one description of shape (``sample_objects``), from which instances are drawn in both
domains: as lit, coloured objects before a busy background (``sample_photo.py``) and as strokes of
an unsteady hand (``sample_sketch.py``). Colours are random per instance and a sketch shows another
instance than any photo, so only shape connects the two. Tested in ``tests/data/test_sample.py``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from msedge.data.aside import folder_aside
from msedge.data.sample_objects import OBJECTS
from msedge.data.sample_photo import render_photo
from msedge.data.sample_sketch import render_sketch
from msedge.errors import DataError

SAMPLE_CLASSES: tuple[str, ...] = tuple(sorted(OBJECTS))
"""All class names, sorted."""

SAMPLE_UNSEEN: tuple[str, ...] = (
    "bird",
    "butterfly",
    "cup",
    "fish",
    "guitar",
    "lamp",
    "mushroom",
    "turtle",
)
"""The classes kept from training: living and made, some distinct and some alike in outline."""

IMAGE_SIZE = 160
"""Side of every image in pixels."""

MARKER = "sample.json"
_DRAWING = 1
"""Raise it when the same seed draws other images."""
_JPEG_QUALITY = 88
_SPLITS = {
    "train": tuple(name for name in SAMPLE_CLASSES if name not in SAMPLE_UNSEEN),
    "val": SAMPLE_UNSEEN,
}


def draw_photo(class_name: str, rng: np.random.Generator, size: int = IMAGE_SIZE) -> Image.Image:
    """Draw one instance of a class as a photo.

    Args:
        class_name: one of :data:`SAMPLE_CLASSES`.
        rng: where its shape, colours, pose and surroundings come from.
        size: side in pixels.

    Returns:
        An RGB image.

    Raises:
        DataError: there is no such class.
    """
    return render_photo(_describe(class_name)(rng), rng, size)


def draw_sketch(class_name: str, rng: np.random.Generator, size: int = IMAGE_SIZE) -> Image.Image:
    """Draw one instance of a class as a sketch, dark strokes on white.

    Args:
        class_name: one of :data:`SAMPLE_CLASSES`.
        rng: where its shape, pose and strokes come from.
        size: side in pixels.

    Returns:
        A grey image (mode ``L``).

    Raises:
        DataError: there is no such class.
    """
    return render_sketch(_describe(class_name)(rng), rng, size)


def write_sample(
    data_root: Path,
    *,
    name: str = "sample",
    seed: int = 0,
    photos: int = 24,
    sketches: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the sample set in the training layout; return at once when it is there already.

    The same arguments give the same bytes with the same versions of NumPy and Pillow, and an
    image does not depend on how many others are written. The set is written beside its place and
    renamed when whole, so a kill never leaves half of one there.

    Args:
        data_root: the folder of all datasets; made when missing.
        name: the folder of this one in it.
        seed: another seed draws other images; not negative.
        photos: photos a class.
        sketches: sketches a class.
        progress: called with how many images are written, and of how many, after each.

    Returns:
        ``data_root / name``, with ``train`` (seen classes) and ``val`` (unseen classes) in it, and
        in those ``{sketch,photo}/<class>/<class>_0000.{png,jpg}``.

    Raises:
        DataError: an argument is out of range, the place is taken by anything but this very set,
            or the folder cannot be written to.
    """
    _check(name, seed=seed, photos=photos, sketches=sketches)
    target = data_root / name
    marker = {
        "format": "msedge-sample",
        "drawing": _DRAWING,
        "seed": seed,
        "photos": photos,
        "sketches": sketches,
        "image_size": IMAGE_SIZE,
        "classes": {split: list(classes) for split, classes in _SPLITS.items()},
    }
    total = (photos + sketches) * len(SAMPLE_CLASSES)
    if _is_there(target, marker):
        return target
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        with folder_aside(target) as whole:
            for done, _ in enumerate(_write_images(whole, seed, photos, sketches), start=1):
                if progress:
                    progress(done, total)
            (whole / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
            _take_place(whole, target, marker)
    except OSError as error:
        raise DataError(
            f"cannot write the sample set to {target} ({error.strerror or error}): "
            "choose a folder that can be written to and has room"
        ) from error
    return target


def _describe(class_name: str) -> Callable[[np.random.Generator], Any]:
    try:
        return OBJECTS[class_name]
    except KeyError:
        raise DataError(
            f"the sample set has no class {class_name!r}: choose one of {', '.join(SAMPLE_CLASSES)}"
        ) from None


def _check(name: str, **numbers: int) -> None:
    if name in {"", ".", ".."} or Path(name).name != name or "\\" in name:
        raise DataError(f"{name!r} cannot be the name of a dataset: give a plain folder name")
    for what, number in numbers.items():
        least = 0 if what == "seed" else 1
        if number < least:
            raise DataError(f"{what} is {number}; give {least} or more")


def _image_paths(root: Path, photos: int, sketches: int) -> Iterator[tuple[Path, str, str, int]]:
    """Yield the path, class, domain and index of every image of the set."""
    for split, classes in _SPLITS.items():
        for class_name in classes:
            for domain, count, suffix in (("sketch", sketches, "png"), ("photo", photos, "jpg")):
                folder = root / split / domain / class_name
                for index in range(count):
                    yield folder / f"{class_name}_{index:04d}.{suffix}", class_name, domain, index


def _write_images(root: Path, seed: int, photos: int, sketches: int) -> Iterator[Path]:
    for path, class_name, domain, index in _image_paths(root, photos, sketches):
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, zlib.crc32(f"{class_name}/{domain}".encode()), index])
        if domain == "sketch":
            draw_sketch(class_name, rng).save(path)
        else:
            draw_photo(class_name, rng).save(path, quality=_JPEG_QUALITY)
        yield path


def _is_there(target: Path, marker: dict[str, Any]) -> bool:
    """Return whether this very set is at ``target``.

    Raises:
        DataError: something else is, or only a part of the set.
    """
    if not target.exists() and not target.is_symlink():
        return False
    try:
        found = json.loads((target / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DataError(
            f"{target} exists and was not written as a sample set, so it is left as it is: "
            "choose another data root, or move it away"
        ) from None
    if found != marker:
        other = ", ".join(_differences(found, marker))
        raise DataError(
            f"{target} holds another sample set ({other}): "
            "choose another data root, or remove that folder and run this again"
        )
    paths = _image_paths(target, marker["photos"], marker["sketches"])
    if missing := sum(not path.is_file() for path, *_ in paths):
        raise DataError(
            f"{target} lacks {missing} of its images: remove that folder and run this again"
        )
    return True


def _differences(found: object, wanted: dict[str, Any]) -> list[str]:
    if not isinstance(found, dict):
        return ["its marker cannot be read"]
    values = [key for key in wanted if key != "classes" and found.get(key) != wanted[key]]
    return [f"{key} {found.get(key)}, not {wanted[key]}" for key in values] or ["other classes"]


def _take_place(whole: Path, target: Path, marker: dict[str, Any]) -> None:
    """Rename the finished set to its place, unless another process was faster."""
    if _is_there(target, marker):
        return
    try:
        whole.rename(target)
    except OSError:
        if not _is_there(target, marker):
            raise
