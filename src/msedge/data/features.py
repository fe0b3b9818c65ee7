"""Anyone's features: vectors of images, the class of each, and where known its path.

:func:`load_features` reads a file of any kind that :mod:`msedge.data.feature_files` knows;
:func:`share_classes` makes the labels of several files speak of the same classes. Tested in
``tests/data/test_features.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from msedge.data.feature_files import expect_rows, read_labels, read_stored
from msedge.data.images import one_line
from msedge.data.layouts import DOMAINS, Domain
from msedge.data.protocols import normalise_class_name
from msedge.errors import DataError

Classes: TypeAlias = tuple[int | str, ...]
"""All of them names, or all integers."""

UNKNOWN = -1
"""The source of a sketch that does not name one; see :func:`source_photos`."""

_BLOCK = 4096
"""Vectors looked at at a time, so that a file larger than memory can be checked."""


@dataclass(frozen=True)
class Features:
    """Vectors of images.

    Attributes:
        file: where they come from.
        embeddings: ``(N, D)`` numbers of any length and type, as they are stored.
        labels: ``(N,)`` int64, positions in ``classes``.
        classes: names, or the integers that the file labels its classes with.
        rows: ``(N,)`` int64, where in the file each vector stands, from 0.
        domain: what all of them are; None where the file does not say.
        both: whether the file holds the other domain too.
        paths: one a row; None where the file names none.
    """

    file: Path
    embeddings: NDArray[Any]
    labels: NDArray[np.int64]
    classes: Classes
    rows: NDArray[np.int64]
    domain: Domain | None = None
    both: bool = False
    paths: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def check(self, *, refuse_zeros: bool) -> None:
        """Refuse vectors that cannot be compared with others.

        Args:
            refuse_zeros: whether a vector needs a direction, as for cosine similarity.

        Raises:
            DataError: a vector holds NaN or infinity, or is all zeros; the message names the first
                such row of the file.
        """
        for start in range(0, len(self), _BLOCK):
            block = self.embeddings[start : start + _BLOCK]
            unusable = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if unusable.size:
                row = self.rows[start + unusable[0]]
                raise DataError(
                    f"row {row} of {one_line(self.file)} holds NaN or infinity; encode its image "
                    "anew or leave it out"
                )
            zero = np.flatnonzero(~block.any(axis=1))
            if refuse_zeros and zero.size:
                row = self.rows[start + zero[0]]
                raise DataError(
                    f"row {row} of {one_line(self.file)} is all zeros and has no direction; encode "
                    "its image anew or leave it out"
                )

    def take(self, rows: NDArray[np.int64]) -> Features:
        """Some of the rows, in the order given."""
        return replace(
            self,
            embeddings=self.embeddings[rows],
            labels=self.labels[rows],
            rows=self.rows[rows],
            paths=None if self.paths is None else tuple(self.paths[row] for row in rows),
        )


def load_features(
    path: Path, *, labels: Path | None = None, domain: Domain | None = None
) -> Features:
    """Read vectors and their classes.

    Args:
        path: an ``.npz``, an ``.npy``, or vectors of ours (``.safetensors``).
        labels: an ``.npy`` or ``.txt`` with a label for each row of the file, in place of its own;
            a file of vectors alone needs one.
        domain: which rows to take from a file of sketches and photos. A file of one domain, or of
            none that it names, is taken whole: :attr:`Features.domain` says what it is.

    Raises:
        DataError: a file is missing, damaged or of another kind, or its arrays do not fit together.
    """
    stored = read_stored(path)
    values = stored.labels
    if labels is not None:
        values = read_labels(labels)
        expect_rows(labels, "labels", len(values), len(stored.embeddings))
    if values is None:
        raise DataError(
            f"{one_line(path)} holds no labels; give them as an .npy or .txt, one a row (--labels)"
        )
    classes: Classes = tuple(sorted(set(values)))
    place = {value: position for position, value in enumerate(classes)}
    whole = Features(
        path,
        stored.embeddings,
        np.fromiter((place[value] for value in values), np.int64, len(values)),
        classes,
        np.arange(len(values)),
        paths=stored.paths,
    )
    return whole if stored.domains is None else _of(whole, stored.domains, domain)


def share_classes(sets: Sequence[Features]) -> list[Features]:
    """Make labels of several files speak of the same classes.

    Names are compared in normal spelling, so that ``hot-air_balloon`` meets ``hot air balloon``,
    and shown as the first file spells them. Classes are sorted: the same ones have the same ids,
    in whatever order they come.

    Returns:
        The same sets; all have the same ``classes``.

    Raises:
        DataError: one file names its classes and another numbers them.
    """
    spelled: dict[int | str, int | str] = {}
    for each in sets:
        for class_ in each.classes:
            spelled.setdefault(_spelling(class_), class_)
    kinds = {isinstance(class_, str): each.file for each in sets for class_ in each.classes}
    if len(kinds) == 2:
        raise DataError(
            f"{one_line(kinds[True])} labels its classes with names but {one_line(kinds[False])} "
            "with integers; give both the same labels"
        )
    order = sorted(spelled)  # all texts or all integers
    place = {key: position for position, key in enumerate(order)}
    classes = tuple(spelled[key] for key in order)
    shared = []
    for each in sets:
        to_shared = np.array([place[_spelling(class_)] for class_ in each.classes], np.int64)
        shared.append(replace(each, labels=to_shared[each.labels], classes=classes))
    return shared


def source_photos(
    sketches: Features, photos: Features
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which photo each sketch was drawn from, told by their names, as in the Sketchy database.

    The sketch ``n02691156_10151-1.png`` was drawn from ``n02691156_10151.jpg`` of the same class:
    its name up to the last hyphen.

    Args:
        sketches: with paths.
        photos: with paths, and the same ``classes``.

    Returns:
        Ids of the sketches' photos ``(Q,)``, :data:`UNKNOWN` where a name has no hyphen, and ids
        of the photos ``(M,)``. Photos of one class and name share an id.

    Raises:
        DataError: a file names no paths.
    """
    ids: dict[tuple[int, str], int] = {}
    drawn = [
        UNKNOWN
        if not (origin := stem.rpartition("-")[0])
        else ids.setdefault((label, origin), len(ids))
        for label, stem in _named(sketches)
    ]
    shown = [ids.setdefault(photo, len(ids)) for photo in _named(photos)]
    return np.array(drawn, np.int64), np.array(shown, np.int64)


def stem_of(path: str) -> str:
    r"""A file's name without folders and suffix, from whatever system the path comes.

    >>> stem_of("val/sketch/cow/n1_2-3.png"), stem_of("cow\\n1_2.jpg")
    ('n1_2-3', 'n1_2')
    """
    return PureWindowsPath(path).stem


def _of(whole: Features, domains: NDArray[np.int64], domain: Domain | None) -> Features:
    there = np.unique(domains)
    if len(there) == 1:
        return replace(whole, domain=DOMAINS[there[0]])
    if domain is None:
        return replace(whole, both=True)
    rows = np.flatnonzero(domains == DOMAINS.index(domain))
    return replace(whole.take(rows), domain=domain, both=True)


def _named(features: Features) -> list[tuple[int, str]]:
    if features.paths is None:
        raise DataError(
            f"{one_line(features.file)} holds no paths, which name the photo that a sketch was "
            "drawn from; add them to an .npz as `paths`"
        )
    return list(zip(features.labels.tolist(), map(stem_of, features.paths), strict=True))


def _spelling(class_: int | str) -> int | str:
    return normalise_class_name(class_) if isinstance(class_, str) else class_
