"""The files that hold features: which array in them is which. Nothing is ever unpickled.

An archive is never unpacked to the disk, and what says of itself that it unpacks to many times its
size is refused. :mod:`msedge.data.features` makes sense of what is read here. Tested in
``tests/data/test_feature_files.py``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from msedge.data.images import one_line
from msedge.data.layouts import DOMAINS
from msedge.data.vectors import load_vectors
from msedge.errors import DataError

VECTOR_NAMES = ("embeddings", "features", "vectors", "feats", "embedding", "feature", "x")
"""Arrays of an ``.npz`` that are taken for its vectors, the first that is there."""
LABEL_NAMES = ("labels", "label", "targets", "target", "y")
"""Likewise for labels: integers or class names, one a row."""
CLASS_NAMES = ("classes", "class_names")
"""Names: of the classes that integer labels count, or without labels one a row."""
PATH_NAMES = ("paths", "filenames", "names", "files")
"""Paths or names of the images, one a row."""
DOMAIN_NAMES = ("domains", "domain")
"""``sketch`` or ``photo``, or 0 or 1, one a row."""

_MOST_UNPACKED = 2**28  # bytes of an array, whatever it was packed into
_MOST_PACKED = 20  # times that a larger one may shrink: measured features shrink to a half
_SHOWN = 200  # characters of another's words
_WHOLE = re.compile(r"[+-]?\d{1,4000}", re.ASCII)  # Python refuses to read 4,301 digits


@dataclass(frozen=True)
class Stored:
    """What a file holds, one a row; None for what it does not say.

    Attributes:
        embeddings: ``(N, D)`` numbers as they are stored; a map of the file for ``.npy``.
        labels: all integers, or all class names.
        domains: ``(N,)`` int64, positions in :data:`~msedge.data.layouts.DOMAINS`.
        paths: of the images.
    """

    embeddings: NDArray[Any]
    labels: Sequence[int] | Sequence[str] | None = None
    domains: NDArray[np.int64] | None = None
    paths: tuple[str, ...] | None = None


def read_stored(path: Path) -> Stored:
    """Read an ``.npz``, an ``.npy`` or vectors of ours.

    Raises:
        DataError: the file is missing, damaged or of another kind, or its arrays are not what they
            have to be.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(
            f"cannot read features from {one_line(path)}: expected {', '.join(_READERS)}"
        )
    _expect_file(path, "features")
    stored = read(path)
    for what, rows in (
        ("labels", stored.labels), ("domains", stored.domains), ("paths", stored.paths)
    ):  # fmt: skip
        if rows is not None:
            expect_rows(path, what, len(rows), len(stored.embeddings))
    return stored


def read_labels(path: Path) -> Sequence[int] | Sequence[str]:
    """Read labels alone: an ``.npy`` of integers or names, or a ``.txt`` with one a line.

    Raises:
        DataError: the file is missing, damaged or of another kind, or holds something else.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".txt"):
        raise DataError(f"cannot read labels from {one_line(path)}: expected .npy or .txt")
    _expect_file(path, "labels")
    if suffix == ".npy":
        return _labels(path, _mapped(path))
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read labels from {one_line(path)} ({_cause(error)}): expected UTF-8 lines"
        ) from error
    return _named(path, [line.strip() for line in lines])


def expect_rows(path: Path, what: str, found: int, vectors: int) -> None:
    """Refuse labels and the like that are not one a vector.

    Raises:
        DataError: ``found`` is not ``vectors``.
    """
    if found != vectors:
        raise DataError(
            f"{one_line(path)} holds {found:,} {what} for {vectors:,} vectors; give one each"
        )


def _vectors_of_ours(path: Path) -> Stored:
    vectors = load_vectors(path)
    names = _names_of(path, vectors.labels, vectors.classes)
    return Stored(
        _checked(path, vectors.embeddings), names, _domains(path, vectors.domains), vectors.paths
    )


def _plain(path: Path) -> Stored:
    return Stored(_checked(path, _mapped(path)))


def _archive(path: Path) -> Stored:
    with path.open("rb") as file:
        try:
            with _quiet():
                opened = np.load(file, allow_pickle=False)
        except Exception as error:  # NumPy raises whatever a damaged file brings about
            raise DataError(
                f"{one_line(path)} is no .npz archive ({_cause(error)}); save it anew"
            ) from error
        if not isinstance(opened, NpzFile):
            raise DataError(f"{one_line(path)} is no .npz archive but a single array: name it .npy")
        with opened:
            return _Archive(path, opened).stored()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without NumPy's warnings of old or odd headers, which nobody can do anything about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_READERS: dict[str, Callable[[Path], Stored]] = {
    ".npz": _archive, ".npy": _plain, ".safetensors": _vectors_of_ours
}  # fmt: skip


class _Archive:
    """An open ``.npz``, whose arrays are read when they are asked for."""

    def __init__(self, path: Path, opened: NpzFile) -> None:
        self._path, self._opened = path, opened
        self._members = {name.lower(): name for name in reversed(opened.files)}

    def stored(self) -> Stored:
        vectors = _checked(self._path, self._vectors())  # an empty array has labels of any type
        labels, classes = self._first(LABEL_NAMES), self._first(CLASS_NAMES)
        domains, paths = self._first(DOMAIN_NAMES), self._first(PATH_NAMES)
        return Stored(
            vectors,
            self._labels(labels, classes),
            None if domains is None else _domains(self._path, domains),
            None if paths is None else _texts(self._path, "paths", paths),
        )

    def _vectors(self) -> NDArray[Any]:
        named = self._first(VECTOR_NAMES)
        if named is not None:
            return named
        arrays = {name: self._array(name) for name in self._opened.files}
        matrices = [a for a in arrays.values() if a.ndim == 2 and a.dtype.kind == "f"]
        if len(matrices) != 1:
            found = ", ".join(f"{one_line(n)} {a.dtype} {a.shape}" for n, a in arrays.items())
            raise DataError(
                f"cannot tell which array of {one_line(self._path)} holds the vectors: name it "
                f"{VECTOR_NAMES[0]} (found {found or 'nothing'})"
            )
        return matrices[0]

    def _labels(
        self, labels: NDArray[Any] | None, classes: NDArray[Any] | None
    ) -> Sequence[int] | Sequence[str] | None:
        if labels is None:
            return None if classes is None else _labels(self._path, classes)
        if classes is None or labels.dtype.kind not in "iu":
            return _labels(self._path, labels)
        return _names_of(self._path, labels, _texts(self._path, "classes", classes))

    def _first(self, names: Sequence[str]) -> NDArray[Any] | None:
        for name in names:
            if name in self._members:
                return self._array(self._members[name])
        return None

    def _array(self, name: str) -> NDArray[Any]:
        try:
            self._check_size(name)
            with _quiet():
                array = self._opened[name]
        except Exception as error:  # NumPy raises whatever a damaged file brings about
            raise _unreadable(self._path, one_line(name), error) from error
        if not isinstance(array, np.ndarray):
            raise DataError(
                f"{one_line(self._path)} holds {one_line(name)}, which is no array; use np.savez"
            )
        return array

    def _check_size(self, name: str) -> None:
        """Refuse what unpacks to far more than it takes on the disk."""
        archive = self._opened.zip
        if archive is None:  # it has been closed
            return
        whole = name if name in archive.namelist() else f"{name}.npy"  # as NumPy looks it up
        packed = archive.getinfo(whole)
        if packed.file_size > max(_MOST_UNPACKED, _MOST_PACKED * packed.compress_size):
            raise ValueError(
                f"{packed.compress_size:,} bytes claim to hold {packed.file_size:,}; if that is "
                "so, use np.savez, which does not pack"
            )


def _checked(path: Path, vectors: NDArray[Any]) -> NDArray[Any]:
    if vectors.dtype.kind not in "fiub":
        raise DataError(
            f"the vectors in {one_line(path)} must be real numbers, got {vectors.dtype}"
        )
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise DataError(
            f"the vectors in {one_line(path)} have shape {vectors.shape}; "
            "expected (N, D), a row an image, and at least one row"
        )
    return vectors


def _mapped(path: Path) -> NDArray[Any]:
    try:
        with _quiet():
            return open_memmap(path, mode="r")
    except Exception as error:  # NumPy raises whatever a damaged file brings about
        raise _unreadable(path, "its array", error) from error


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    if isinstance(error, ValueError) and "object" in str(error).lower():
        return DataError(
            f"{what} in {one_line(path)} holds Python objects, which are not loaded since they can "
            "run code; save numbers, or names as np.array(names, dtype=str)"
        )
    return DataError(f"cannot read {what} in {one_line(path)} ({_cause(error)}); save it anew")


def _labels(path: Path, array: NDArray[Any]) -> Sequence[int] | Sequence[str]:
    if array.ndim == 1 and array.dtype.kind in "iu":
        numbers: list[int] = array.tolist()
        return numbers
    return _named(path, _texts(path, "labels", array))


def _named(path: Path, names: Sequence[str]) -> Sequence[int] | Sequence[str]:
    """Labels that are written out: whole numbers if all of them are."""
    for row, name in enumerate(names):
        if not name.strip():
            raise DataError(f"row {row} of the labels in {one_line(path)} is empty; name its class")
    if names and all(map(_WHOLE.fullmatch, names)):
        return [int(name) for name in names]
    return names


def _names_of(path: Path, labels: NDArray[Any], classes: Sequence[str]) -> list[str]:
    """The class name of each label, a position in ``classes``."""
    if labels.ndim != 1:
        raise DataError(f"the labels in {one_line(path)} have shape {labels.shape}; expected (N,)")
    outside = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if outside.size:
        raise DataError(
            f"row {outside[0]} of {one_line(path)} has label {labels[outside[0]]}, but there are "
            f"{len(classes)} class names; labels count from 0"
        )
    return [classes[label] for label in labels]


def _texts(path: Path, what: str, array: NDArray[Any]) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind not in "US":
        also = "integers or " if what == "labels" else ""
        raise DataError(
            f"the {what} in {one_line(path)} must be {also}texts, one a row, "
            f"got {array.dtype} {array.shape}"
        )
    try:
        return tuple(t.decode() if isinstance(t, bytes) else t for t in array.tolist())
    except UnicodeDecodeError as error:
        raise DataError(
            f"the {what} in {one_line(path)} are not UTF-8; save them as str"
        ) from error


def _domains(path: Path, array: NDArray[Any]) -> NDArray[np.int64]:
    if array.dtype.kind in "US":
        given: Sequence[object] = [t.strip().lower() for t in _texts(path, "domains", array)]
    else:
        given = array.tolist() if array.ndim == 1 else [array.shape]
    known: dict[object, int] = {name: i for i, name in enumerate(DOMAINS)}
    known |= {i: i for i in range(len(DOMAINS))}
    for row, domain in enumerate(given):
        if domain not in known:
            raise DataError(
                f"row {row} of the domains in {one_line(path)} is {domain!r}; "
                "expected sketch (or 0) or photo (or 1)"
            )
    return np.array([known[domain] for domain in given], np.int64)


def _expect_file(path: Path, what: str) -> None:
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "no such file"
        if path.exists() and not path.is_dir():
            found = "it is a pipe or a device"
        raise DataError(f"cannot read {what} from {one_line(path)}: {found}; check the path")


def _cause(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return one_line(reason or str(error).strip() or type(error).__name__)[:_SHOWN]
