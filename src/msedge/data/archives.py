"""Which layout a downloaded dataset has, recognised by looking: the ones in circulation.

``{domain}`` stands for ``sketch`` and ``photo``; each of these folders holds one a class.

- Sketchy: ``256x256/{domain}/tx_000000000000`` (the official archive), the same without
  ``256x256`` (SEM-PCYC), and either with ``_ready`` behind (SAKE, ZSE-SBIR). The photos that
  Sketchy Extended adds are in ``EXTEND_image_sketchy``, ``EXTEND_image_sketchy_ready`` or
  ``extended_photo``, inside or beside.
- TU-Berlin: ``png_ready`` and ``ImageResized_ready`` (SAKE, ZSE-SBIR), ``png`` and
  ``ImageResized`` (as first published), or ``sketches`` and ``images`` (SEM-PCYC).
- QuickDraw Extended: ``QuickDraw_sketches_final`` and ``QuickDraw_images_final`` (as published),
  or ``sketches`` and ``images`` (ZSE-SBIR).
- Any of the three: the training layout, ``{train,val}/{domain}``.

All are found in the folder that is named, or in a folder of it that is called like the dataset
(``Sketchy``, ``TUBerlin``, ``TU-Berlin``). The lists of files beside some of them
(``zeroshot0/*.txt``) are not read: they name what the folders hold, and a protocol splits it.
Tested in ``tests/data/test_archives.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msedge.data.class_names import squeeze
from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError

EXTENDED = "extended"
"""Origin of the photos that Sketchy Extended adds to Sketchy's own."""

_PAIRS = {
    "sketchy": (
        ("sketch/tx_000000000000", "photo/tx_000000000000"),
        ("sketch/tx_000000000000_ready", "photo/tx_000000000000_ready"),
    ),
    "tuberlin": (
        ("png_ready", "ImageResized_ready"),
        ("png", "ImageResized"),
        ("sketches", "images"),
    ),
    "quickdraw": (
        ("QuickDraw_sketches_final", "QuickDraw_images_final"),
        ("sketches", "images"),
    ),
}
_INNER = {"sketchy": ("256x256", ".")}
_EXTENSIONS = ("EXTEND_image_sketchy", "EXTEND_image_sketchy_ready", "extended_photo")
_SIDES = ("train", "val")

DATASETS = tuple(_PAIRS)
"""Ids of the datasets whose layouts are known."""


@dataclass(frozen=True, slots=True)
class ClassRoot:
    """A folder that holds a folder of images for each class.

    ``origin`` tells the roots of one domain apart: :data:`EXTENDED`, ``train``, ``val``, or empty
    where there is but one.
    """

    path: Path
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """A dataset as it was downloaded; all paths are absolute, links in them resolved."""

    dataset: str
    root: Path
    sketch: tuple[ClassRoot, ...]
    photo: tuple[ClassRoot, ...]

    @property
    def extension(self) -> Path | None:
        """The folder of the photos that Sketchy Extended adds, where it is present."""
        return next((root.path for root in self.photo if root.origin == EXTENDED), None)


def find_archive(source: Path, dataset: str) -> Archive:
    """Recognise the layout of a download.

    Args:
        source: the folder that holds one of the layouts, or that holds a folder called like the
            dataset which does. Of several such, the one called just so is taken.
        dataset: one of :data:`DATASETS`.

    Raises:
        DataError: no layout of the dataset is there, or several folders have one.
        ConfigError: the dataset is not known.
    """
    check_dataset(dataset)
    try:
        if (archive := _look_in(source, dataset)) is not None:
            return archive
        named = _folders_named_like(source, dataset)
        inside = {folder: found for folder in named if (found := _look_in(folder, dataset))}
    except OSError as error:
        raise DataError(f"cannot list {one_line(source)}: {one_line(error)}") from error
    # Beside datasets that were split from it (sketchy-25), the dataset itself is meant.
    exact = [found for folder, found in inside.items() if squeeze(folder.name) == dataset]
    candidates = exact if len(exact) == 1 else list(inside.values())
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        roots = ", ".join(one_line(archive.root) for archive in candidates)
        raise DataError(f"{one_line(source)} holds {dataset} more than once ({roots}): name one")
    half = _half_of_a_layout([source, *named], dataset)
    raise DataError(
        f"no {dataset} dataset in {one_line(source)}{half}: looked for {_wanted(dataset)}, in it "
        f"and in its folders called like {dataset}: unpack the archive, and name the folder that "
        "holds these"
    )


def check_dataset(dataset: str) -> None:
    """Make sure that a dataset's layouts are known.

    Raises:
        ConfigError: they are not.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"cannot prepare {dataset!r}: expected {', '.join(DATASETS)}")


def _look_in(folder: Path, dataset: str) -> Archive | None:
    for root, sketch, photo in _places(folder, dataset):
        if (root / sketch).is_dir() and (root / photo).is_dir():
            root = root.resolve()
            return Archive(
                dataset,
                root,
                sketch=(ClassRoot(root / sketch),),
                photo=(ClassRoot(root / photo), *_extension_of(root, dataset)),
            )
    folders = [folder / side / domain for side in _SIDES for domain in ("sketch", "photo")]
    if not all(path.is_dir() for path in folders):
        return None
    root = folder.resolve()
    sketch_roots, photo_roots = (
        tuple(ClassRoot(root / side / domain, origin=side) for side in _SIDES)
        for domain in ("sketch", "photo")
    )
    return Archive(dataset, root, sketch=sketch_roots, photo=photo_roots)


def _places(folder: Path, dataset: str) -> Iterator[tuple[Path, str, str]]:
    for inner in _INNER.get(dataset, (".",)):
        for sketch, photo in _PAIRS[dataset]:
            yield folder / inner, sketch, photo


def _extension_of(root: Path, dataset: str) -> tuple[ClassRoot, ...]:
    if dataset == "sketchy":
        for folder in (root, root.parent):
            for name in _EXTENSIONS:
                if (folder / name).is_dir():
                    return (ClassRoot((folder / name).resolve(), origin=EXTENDED),)
    return ()


def _folders_named_like(source: Path, dataset: str) -> list[Path]:
    if not source.is_dir():
        return []
    return [
        folder
        for folder in sorted(source.iterdir(), key=lambda path: path.name)
        if not folder.name.startswith(".") and dataset in squeeze(folder.name) and folder.is_dir()
    ]


def _half_of_a_layout(folders: list[Path], dataset: str) -> str:
    """In brackets, the folder of one domain that lies there without the other's."""
    for folder in folders:
        for root, *pair in _places(folder, dataset):
            there = [path for path in pair if (root / path).is_dir()]
            if there:
                (lacking,) = set(pair) - set(there)
                return f" ({there[0]} is there, {lacking} beside it is not)"
    return ""


def _wanted(dataset: str) -> str:
    inner = _INNER.get(dataset, (".",))[0]
    prefix = "" if inner == "." else f"{inner}/"
    pairs = [f"{prefix}{sketch} with {prefix}{photo}" for sketch, photo in _PAIRS[dataset]]
    return ", ".join([*pairs, "{train,val}/{sketch,photo}"])
