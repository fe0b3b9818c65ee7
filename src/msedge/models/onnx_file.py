"""What an exported ONNX file says of itself, read without ONNX Runtime and without its weights.

An ONNX file is one protobuf message. Two things in it are wanted before the graph is run, or
without running it: the card among its metadata, and which files beside it hold its weights. Both
are found by walking over the message's fields, which skips everything else unread. A graph from a
stranger may be run when :func:`check_graph` has found nothing in it that no export of ours holds.
Tested in ``tests/models/test_onnx_file.py`` and ``tests/artefacts/test_onnx_files.py``.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path, PurePath

from msedge.errors import WeightsError
from msedge.models.card import Card, card_of
from msedge.quoting import named, plain

INPUT, OUTPUT, PLACES = "images", "embeddings", "places"
SUFFIX = ".onnx"
FREE, GRID = ("height", "width"), ("rows", "columns")
"""What the sides of a graph's input, and of its grid of places, are called where they are free."""

_STRIDE = 32
MOST_PIXELS = 2048
"""On a side of a network's input: more than any is trained with, and a card can ask for any."""

# Numbers of fields, from onnx.proto
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 14, 20, 25
_GRAPH_NODE, _GRAPH_INITIALISER, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NODE = 7
_NODE_OPERATION, _NODE_ATTRIBUTE = 4, 5
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
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


def other_shapes(card: Card) -> tuple[tuple[int, int], ...]:
    """Heights and widths, beside the square, that a file is tried with; none where it is fixed."""
    if not card.photo_sizes:
        return ()
    side = -(-card.image_size // _STRIDE) * _STRIDE
    return (side, side + 2 * _STRIDE), (side + 3 * _STRIDE, side)


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
        if PurePath(name).name != name or "\0" in name:
            raise WeightsError(
                f"{named(path)} refers to weights outside its folder ({plain(name)!r})"
            )
        if not (path.parent / name).is_file():
            raise WeightsError(
                f"{named(path)} refers to weights in {named(path.parent / name)}, which is "
                "missing; put the two side by side"
            )
    return tuple(path.parent / name for name in sorted(names))


def check_graph(path: Path) -> None:
    """Refuse a graph that could run for ever, or read files that :func:`external_files` misses.

    What ``msedge export`` writes has no loops, no branches, no functions and no weights but its
    initialisers, each with one place.

    Raises:
        WeightsError: the file cannot be read as ONNX, or holds such a thing.
    """
    with _message(path) as message:
        for held in _oddities(message):
            raise WeightsError(
                f"{named(path)} is not run: it holds {held}, which no export of MSEdge does; make "
                "one with msedge export"
            )


def _oddities(message: _Message) -> Iterator[str]:
    for number, what in ((_MODEL_FUNCTIONS, "functions"), (_MODEL_TRAINING, "a training graph")):
        if any(message.fields(number)):
            yield what
    for graph in message.fields(_MODEL_GRAPH):
        if any(graph.fields(_GRAPH_SPARSE)):
            yield "sparse weights"
        for node in graph.fields(_GRAPH_NODE):
            for attribute in node.fields(_NODE_ATTRIBUTE):
                if any(any(attribute.fields(number)) for number in _ATTRIBUTE_GRAPHS):
                    yield f"a graph within a graph ({plain(node.text(_NODE_OPERATION))})"
                if any(any(attribute.fields(number)) for number in _ATTRIBUTE_SPARSE):
                    yield "sparse weights"
                for number in _ATTRIBUTE_TENSORS:
                    for tensor in attribute.fields(number):
                        if any(tensor.fields(_TENSOR_EXTERNAL)):
                            yield "a constant in another file"


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
            raise WeightsError(f"{named(file)} cannot be read ({error.strerror})") from error
    whole.update(f"edges {card.gallery_edges!r}, frames {card.frame_sketches}".encode())
    if card.photo_sizes:  # what earlier releases knew nothing of leaves their fingerprints alone
        whole.update(f"photos {card.photo_sizes}".encode())
    return whole.hexdigest()


@contextmanager
def _message(path: Path) -> Iterator[_Message]:
    """The file's message, not read yet; what goes wrong in reading it is said in one line."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            yield _Message(mapped, 0, len(mapped))
    except OSError as error:
        raise WeightsError(f"{named(path)} cannot be read ({error.strerror})") from error
    except (ValueError, IndexError) as error:  # also an empty file, which cannot be mapped
        raise WeightsError(
            f"{named(path)} cannot be read as ONNX; it is damaged, or no ONNX file"
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
        """The value of a field that is text; empty where there is none.

        Raises:
            ValueError: it is there twice, of which readers take one or the other.
        """
        values = list(self.fields(wanted))
        if len(values) > 1:
            raise ValueError(f"two values of field {wanted}")
        return "".join(self.file[value.start : value.end].decode() for value in values)

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
    entries: dict[str, str] = {}
    for entry in message.fields(wanted):
        key = entry.text(_ENTRY_KEY)
        if key in entries:
            raise ValueError(f"two entries {key!r}")
        entries[key] = entry.text(_ENTRY_VALUE)
    return entries
