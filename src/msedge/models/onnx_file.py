"""What an exported ONNX file says of itself, read without ONNX Runtime and without its weights.

An ONNX file is one protobuf message. Two things in it are wanted before the graph is run, or
without running it: the card among its metadata, and which files beside it hold its weights. Both
are found by walking over the message's fields, which skips everything else unread. Tested in
``tests/models/test_onnx_file.py``.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from msedge.errors import WeightsError
from msedge.models.card import Card, card_of

INPUT, OUTPUT = "images", "embeddings"
SUFFIX = ".onnx"

# Numbers of fields, from onnx.proto
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_INITIALISER = 5
_TENSOR_EXTERNAL = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VARINT, _LENGTH = 0, 2  # wire types
_FIXED = {1: 8, 5: 4}  # others, and the bytes that they take


def read_onnx_card(path: Path) -> Card:
    """The card in the metadata of an exported file.

    Raises:
        WeightsError: the file cannot be read as ONNX, or is not one of ours.
    """
    with _message(path) as message:
        metadata = _entries(message, _MODEL_METADATA)
    return card_of(metadata, path)


def external_files(path: Path) -> tuple[Path, ...]:
    """The files beside an ONNX file that hold its weights, by name; empty where it holds its own.

    Raises:
        WeightsError: the file cannot be read as ONNX, refers to a file outside its folder, or to
            one that is missing.
    """
    names = set()
    with _message(path) as message:
        for graph in message.fields(_MODEL_GRAPH):
            for tensor in graph.fields(_GRAPH_INITIALISER):
                if location := _entries(tensor, _TENSOR_EXTERNAL).get("location"):
                    names.add(location)
    for name in sorted(names):
        if PurePath(name).name != name:
            raise WeightsError(f"{path} refers to weights outside its folder ({name!r})")
        if not (path.parent / name).is_file():
            raise WeightsError(
                f"{path} refers to weights in {path.parent / name}, which is missing; put the two "
                "side by side"
            )
    return tuple(path.parent / name for name in sorted(names))


def fingerprint(path: Path) -> str:
    """SHA-256 over all that decides the vectors of a model: equal where no vector can differ.

    That is the file itself, the files that hold its weights, and what its card says of how photos
    and sketches are shown to it.

    Raises:
        WeightsError: a file cannot be read, or is not one of ours.
    """
    card, whole = read_onnx_card(path), hashlib.sha256()
    for file in (path, *external_files(path)):
        try:
            with file.open("rb") as opened:
                whole.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise WeightsError(f"{file} cannot be read ({error.strerror})") from error
    whole.update(f"edges {card.gallery_edges!r}, frames {card.frame_sketches}".encode())
    return whole.hexdigest()


@contextmanager
def _message(path: Path) -> Iterator[_Message]:
    """The file's message, not read yet; what goes wrong in reading it is said in one line."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            yield _Message(mapped, 0, len(mapped))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, IndexError) as error:  # also an empty file, which cannot be mapped
        raise WeightsError(
            f"{path} cannot be read as ONNX; it is damaged, or no ONNX file"
        ) from error


@dataclass(frozen=True, slots=True)
class _Message:
    """A part of the file that holds fields, one after the other."""

    file: mmap.mmap
    start: int
    end: int

    def fields(self, wanted: int) -> Iterator[_Message]:
        """The values of the fields of one number, of those that have a length."""
        at = self.start
        while at < self.end:
            key, at = self._varint(at)
            number, kind = key >> 3, key & 7
            if kind == _VARINT:
                _, at = self._varint(at)
            elif kind in _FIXED:
                at += _FIXED[kind]
            elif kind == _LENGTH:
                length, at = self._varint(at)
                if at + length > self.end:
                    raise ValueError("a field is cut short")
                if number == wanted:
                    yield _Message(self.file, at, at + length)
                at += length
            else:
                raise ValueError(f"no wire type {kind}")
        if at != self.end:
            raise ValueError("a field is cut short")

    def text(self, wanted: int) -> str:
        """The value of a field that is text; empty where there is none."""
        value = next(self.fields(wanted), None)
        return "" if value is None else self.file[value.start : value.end].decode()

    def _varint(self, at: int) -> tuple[int, int]:
        """A number of seven bits a byte, the lowest first, and where it ends."""
        value = 0
        for place in range(10):
            byte = self.file[at + place]
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value, at + place + 1
        raise ValueError("a number of more than ten bytes")


def _entries(message: _Message, wanted: int) -> dict[str, str]:
    """The fields of one number as what they are here, a key and a value each."""
    return {entry.text(_ENTRY_KEY): entry.text(_ENTRY_VALUE) for entry in message.fields(wanted)}
