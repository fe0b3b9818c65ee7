"""What one worker does: read a part's photos, embed them, and write them beside the gallery's.

Parts and results are plain values that Ray carries between processes by pickling them. They come
from our own processes of one release alone: who can speak to a Ray cluster can run code on it
anyway. Tested in ``tests/search/cluster/``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from msedge.errors import MSEdgeError
from msedge.search.encoder import Encoder, OnnxEncoder
from msedge.search.photo import Block, NewPhoto
from msedge.search.reading import Embedded, embedded
from msedge.search.sources.contents import Unreadable
from msedge.search.sources.objects import Item, why
from msedge.search.stores import store_class

_TRIES_TO_WRITE = 3
_SECONDS_BEFORE_NEXT_TRY = 1.0

NewEncoder = Callable[[str, str], Encoder]
"""Loads an encoder, by a model's name or file and a device; workers find it by its module."""


@dataclass(frozen=True, slots=True)
class Work:
    """What all parts of a run have in common.

    Attributes:
        gallery: where the workers write to.
        encoder: what loads the encoder, of a model for a device.
        model: the model.
        fingerprint: of the model that the gallery was made with.
        dim: width of its vectors.
        threads: photos at a time.
        device: ``cpu`` or ``cuda``.
        elsewhere: content hashes of photos that are no longer where they were.
    """

    gallery: Path
    encoder: NewEncoder
    model: str
    fingerprint: str
    dim: int
    threads: int = 1
    device: str = "cpu"
    elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """A photo to be read, and what it is in the gallery."""

    item: Item
    id: int  # that it has, or will have
    known_hash: str  # of the content that is held under its path; empty for a new one


@dataclass(frozen=True, slots=True)
class Part:
    """Photos that one worker reads, embeds and writes in one go."""

    number: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a part.

    Attributes:
        number: of the part.
        written: apart from the gallery's photos, for the store's ``commit``.
        ids: of the photos in that, each with whether its content is as the gallery knew it.
        held: photos whose content lay elsewhere before, by id, for the driver to decide on.
        unread: what could not be used: id, reason, whether it is damaged.
        worker: its machine's address, and its process.
        seconds: that it took.
        failed: why nothing of it could be done; None where it was.
        hopeless: whether that will be so wherever and however often it is tried.
    """

    number: int
    written: Sequence[str] = ()
    ids: Mapping[int, bool] = field(default_factory=dict)
    held: Sequence[tuple[int, NewPhoto]] = ()
    unread: Sequence[tuple[int, str, bool]] = ()
    worker: str = ""
    seconds: float = 0.0
    failed: str | None = None
    hopeless: bool = False


class PartWorker:
    """An actor of Ray. It loads the model with its first part."""

    def __init__(self, work: Work) -> None:
        """Take what all parts have in common."""
        self._work = work
        self._encoder: Encoder | None = None

    def ready(self) -> None:
        """Answer."""

    def do(self, part: Part) -> PartResult:
        """Read, embed and write a part's photos; says so where that cannot be done."""
        begun = time.monotonic()
        result = PartResult(part.number, worker=f"{_node()}:{os.getpid()}")
        items = [entry.item for entry in part.entries]
        of_photos = False  # whatever a decoder raises, photos of other parts are not lost
        try:
            encoder = self._loaded()
            of_photos = True
            batches = embedded(items, encoder, workers=self._work.threads)
            photos = [photo for batch in batches for _, photo in batch]
            of_photos = False
            result = self._written(part, photos, result)
        except Exception as error:
            if isinstance(error, MSEdgeError) and not of_photos:
                return replace(result, failed=str(error), hopeless=True)
            return replace(result, failed=why(error))
        return replace(result, seconds=time.monotonic() - begun)

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            work = self._work
            encoder = work.encoder(work.model, work.device)
            if (encoder.fingerprint, encoder.dim) != (work.fingerprint, work.dim):
                raise MSEdgeError(
                    f"a worker on {_node()} has another model of the name {work.model}: install "
                    "the same release of msedge, and the same model's file, on every node"
                )
            self._encoder = encoder
        return self._encoder

    def _written(self, part: Part, photos: Sequence[Embedded], result: PartResult) -> PartResult:
        rows: list[tuple[int, NewPhoto]] = []
        held: list[tuple[int, NewPhoto]] = []
        ids: dict[int, bool] = {}
        unread: list[tuple[int, str, bool]] = []
        for entry, photo in zip(part.entries, photos, strict=True):
            if isinstance(photo, Unreadable):
                unread.append((entry.id, photo.reason, photo.is_damaged))
            elif isinstance(photo, NewPhoto) and photo.content_hash in self._work.elsewhere:
                held.append((entry.id, photo))
            elif isinstance(photo, NewPhoto):
                rows.append((entry.id, photo))
                ids[entry.id] = photo.content_hash == entry.known_hash
        written = self._write_apart(block_of(rows)) if rows else ()
        return replace(result, written=written, ids=ids, held=held, unread=unread)

    def _write_apart(self, block: Block) -> Sequence[str]:
        gallery, dim = self._work.gallery, self._work.dim
        write = partial(store_class(gallery).write_apart, gallery, dim, block)
        for _ in range(_TRIES_TO_WRITE - 1):
            try:
                return write()
            except MSEdgeError:
                time.sleep(_SECONDS_BEFORE_NEXT_TRY)
        return write()


def block_of(rows: Sequence[tuple[int, NewPhoto]]) -> Block:
    """Photos and their ids, as a store takes them."""
    rows = sorted(rows, key=lambda row: row[0])
    return Block([id for id, _ in rows], [photo for _, photo in rows])


def onnx_encoder(model: str, device: str) -> Encoder:
    """The encoder of every run but those of tests; one thread a photo, several photos at a time."""
    return OnnxEncoder.load(model, threads=1, device=device)


def _node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
