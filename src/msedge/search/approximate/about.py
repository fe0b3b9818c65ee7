"""What an index says of itself, and the files that it is made of.

The files of an index carry a token in their names, and ``about.json`` names them. It is replaced in
one step when all of them are there: at any moment the folder holds one whole index, whatever was
killed. Tested in ``tests/search/approximate/test_about.py``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, get_args

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.quoting import plain
from msedge.search.approximate.plan import Kind
from msedge.storage import atomic_path

NAME = "about.json"
FORMAT = 1
"""Rises when an older release could not read what is written."""

_LONGEST = 1 << 16  # bytes of what it says
_WHOLE = 1 << 20  # bytes up to which a file is summed whole
_PAGE = 4096
_PAGES = 64

Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class About:
    """An index.

    Attributes:
        gallery: identity of the gallery; None where it has none.
        version: of the gallery, when its vectors were read.
        fingerprint: of the model that made them.
        dim: width of the vectors.
        count: of the vectors.
        kind: of the structure.
        parameters: what it was built and is searched with: ``lists``, ``width``, ``depth``.
        recall_wanted: share of the true first 20 photos that a search was to find.
        recall_measured: the share that it found; below what was wanted where that could not be had.
        sample: queries that this was measured with; 0 where nothing was to be measured.
        seconds: that building took.
        bytes: of the structure in memory; the float16 vectors stay on disk.
        faiss: release that built it.
    """

    gallery: str | None
    version: int
    fingerprint: str
    dim: int
    count: int
    kind: Kind
    parameters: Mapping[str, int]
    recall_wanted: float
    recall_measured: float
    sample: int
    seconds: float
    bytes: int
    faiss: str


def write_about(folder: Path, about: About, files: Files) -> None:
    """Make some files of a folder its index, in place of the one that was.

    Args:
        folder: where they lie.
        about: what they are.
        files: their names by what they hold.

    Raises:
        DataError: it cannot be written.
    """
    held = {
        what: {"name": name, "bytes": size(folder / name), "checksum": checksum(folder / name)}
        for what, name in files.items()
    }
    content = {"format": FORMAT, "about": asdict(about), "files": held}
    with atomic_path(folder / NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def read_about(folder: Path) -> tuple[About, dict[str, Path]]:
    """What there is in a folder, and its files by what they hold, which are whole.

    Raises:
        DataError: no index, a damaged one, or one of a newer format.
    """
    try:
        if not (folder / NAME).is_file():  # opening a pipe would wait for ever
            raise unusable(folder, f"{NAME} is missing")
        with (folder / NAME).open("rb") as file:
            text = file.read(_LONGEST + 1)
    except OSError as error:
        raise unusable(folder, f"{NAME} cannot be read") from error
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"more than {_LONGEST:,} bytes")
        content = json.loads(text)
        if int(content["format"]) > FORMAT:
            raise unusable(
                folder, f"it is of format {plain(content['format'], 20)}, newer than {FORMAT}"
            )
        about, files = _about_of(content["about"]), dict(content["files"])
        held = {what: folder / Path(entry["name"]).name for what, entry in files.items()}
        for what, path in held.items():
            _check(folder, path, files[what])
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file brings about
        raise unusable(folder, f"{NAME} is damaged") from error
    return about, held


def _about_of(said: Mapping[str, Any]) -> About:
    """What a file says, every value of it of its kind.

    Raises:
        ValueError: a value is of another kind, or out of its range.
        TypeError: there are other fields.
    """
    about = About(**said)
    wholes = (about.version, about.dim, about.count, about.sample, about.bytes)
    reals = (about.recall_wanted, about.recall_measured, about.seconds)
    texts = (about.gallery or "", about.fingerprint, about.kind, about.faiss)
    if not (
        all(type(number) is int and 0 <= number < 2**63 for number in wholes)
        and all(type(number) in (int, float) and isfinite(number) for number in reals)
        and all(type(text) is str for text in texts)
        and about.kind in get_args(Kind)
        and all(type(value) is int and value >= 0 for value in about.parameters.values())
    ):
        raise ValueError("a value is of another kind")
    return about


def unusable(folder: Path, reason: str) -> DataError:
    """The error of an index that cannot be searched."""
    return DataError(
        f"the approximate index {one_line(folder)} cannot be used ({reason}): delete the folder; "
        "it will be built again"
    )


def size(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


def checksum(path: Path) -> int:
    """CRC-32 of a file; of pages spread over it where it is large, so that opening stays quick."""
    total, length = 0, size(path)
    with path.open("rb") as file:
        if length <= _WHOLE:
            return zlib.crc32(file.read())
        for page in range(_PAGES + 1):
            total = zlib.crc32(_page(file, (length - _PAGE) * page // _PAGES), total)
    return total


def _page(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(_PAGE)


def _check(folder: Path, path: Path, entry: Mapping[str, Any]) -> None:
    try:
        if not path.is_file():
            raise unusable(folder, f"{plain(path.name)} is missing or cannot be read")
        length = size(path)
        if length != entry["bytes"]:
            raise unusable(
                folder, f"{plain(path.name)} has {length} bytes instead of {int(entry['bytes'])}"
            )
        if checksum(path) != entry["checksum"]:
            raise unusable(folder, f"{plain(path.name)} is not what was written")
    except OSError as error:
        raise unusable(folder, f"{plain(path.name)} is missing or cannot be read") from error
