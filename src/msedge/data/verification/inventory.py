"""What a dataset in the training layout holds, listed however broken it is.

:func:`~msedge.data.layouts.read_dataset` gives a sound dataset or none; verification wants to see
the broken ones too. Tested in ``tests/data/verification/test_inventory.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msedge.data.images import is_image_name, one_line
from msedge.data.layouts import DOMAINS, Domain, Record, list_images
from msedge.data.protocols import normalise_class_name
from msedge.errors import DataError

Side = Literal["train", "val"]
SIDES: tuple[Side, ...] = ("train", "val")


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """The folder of one class in one domain on one side; `dangling` are links that lead nowhere."""

    path: Path
    side: Side
    domain: Domain
    images: tuple[Path, ...]
    dangling: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The class name as the folder spells it."""
        return self.path.name

    @property
    def key(self) -> str:
        """The class name in normal spelling."""
        return normalise_class_name(self.path.name)


@dataclass(frozen=True)
class Inventory:
    """All class folders of a dataset by side, domain and name, and what lies beside them.

    ``absent`` are folders of sides and domains that should be there; ``loose`` are images and
    broken links that lie among the class folders.
    """

    root: Path
    folders: tuple[ClassFolder, ...]
    absent: tuple[Path, ...]
    loose: tuple[Path, ...]

    def of(self, side: Side, domain: Domain | None = None) -> tuple[ClassFolder, ...]:
        """The class folders of one side, in one domain or in both."""
        return tuple(
            folder
            for folder in self.folders
            if folder.side == side and domain in (None, folder.domain)
        )

    def records(self, domain: Domain | None = None) -> tuple[Record, ...]:
        """The images in class folders, in one domain or in both."""
        return tuple(
            Record(path, folder.domain, folder.name)
            for folder in self.folders
            if domain in (None, folder.domain)
            for path in folder.images
        )

    def relative(self, path: Path) -> str:
        """A path within the dataset, safe to print on one line."""
        return one_line(path.relative_to(self.root).as_posix())


def take_inventory(root: Path) -> Inventory:
    """List the folders and images of a dataset. No image is opened.

    Raises:
        DataError: there is neither ``train`` nor ``val`` in `root`, or a folder cannot be listed.
    """
    if not any((root / side).is_dir() for side in SIDES):
        raise DataError(
            f"{one_line(root)} is not in the training layout: expected the folders train and val "
            "in it: write it with `msedge data prepare`"
        )
    folders: list[ClassFolder] = []
    absent: list[Path] = []
    loose: list[Path] = []
    try:
        for side in SIDES:
            for domain in DOMAINS:
                folder = root / side / domain
                if folder.is_dir():
                    folders += _class_folders(folder, side, domain, loose)
                else:
                    absent.append(folder)
    except OSError as error:
        raise DataError(f"cannot list {one_line(root)}: {one_line(error)}") from error
    return Inventory(root, tuple(folders), tuple(absent), tuple(loose))


def _class_folders(
    root: Path, side: Side, domain: Domain, loose: list[Path]
) -> Iterator[ClassFolder]:
    for path in sorted(root.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            images, dangling = list_images(path)
            yield ClassFolder(path, side, domain, tuple(images), tuple(dangling))
        elif is_image_name(path.name) or not path.exists():
            loose.append(path)
