"""What one worker does: read a part's photos, embed them, and write them beside the gallery's.

Ray carries parts and results between processes by pickling. They come from our own processes of one
release alone: who can speak to a Ray cluster can run code on it anyway. Tested in
``tests/search/cluster/``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    """What all parts of a run have in common."""

    gallery: Path
    encoder: NewEncoder
    model: str  # for the encoder
    fingerprint: str  # of the model that the gallery was made with
    dim: int  # width of its vectors
    threads: int = 1  # photos at a time
    device: str = "cpu"  # or cuda
    elsewhere: frozenset[str] = frozenset()  # content hashes of photos gone from there
    hubs: str = ""  # fingerprint of the drawings of the model's bank; empty where it has none


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


@dataclass(slots=True)
class PartResult:
    """What became of a part."""

    number: int
    worker: str = ""  # its machine's address, and its process
    seconds: float = 0.0
    written: list[str] = field(default_factory=list)  # beside the gallery, for its `commit`
    ids: dict[int, bool] = field(default_factory=dict)  # in that; is the content as it was known
    held: list[tuple[int, NewPhoto]] = field(default_factory=list)  # lay elsewhere: not written
    unread: list[tuple[int, str, bool]] = field(default_factory=list)  # reason; is it damaged
    failed: str | None = None  # why nothing of it could be done
    hopeless: bool = False  # that will be so wherever and however often it is tried


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
        begun, result = time.monotonic(), PartResult(part.number, f"{_node()}:{os.getpid()}")
        items = [entry.item for entry in part.entries]
        of_photos = False  # whatever a decoder raises, photos of other parts are not lost
        try:
            encoder = self._loaded()
            of_photos = True
            batches = embedded(items, encoder, workers=self._work.threads)
            photos = [photo for batch in batches for _, photo in batch]
            of_photos = False
            self._write(part, photos, result)
        except Exception as error:
            result.hopeless = isinstance(error, MSEdgeError) and not of_photos
            result.failed = str(error) if result.hopeless else why(error)
        result.seconds = time.monotonic() - begun
        return result

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            work = self._work
            encoder = work.encoder(work.model, work.device)
            hubs = encoder.bank.fingerprint_of_drawings if encoder.bank else ""
            has = (encoder.fingerprint, encoder.dim, hubs)
            if has != (work.fingerprint, work.dim, work.hubs):
                raise MSEdgeError(
                    f"a worker on {_node()} has another model of the name {work.model}: install "
                    "the same release of msedge, and the same model's files, on every node"
                )
            self._encoder = encoder
        return self._encoder

    def _write(self, part: Part, photos: Sequence[Embedded], result: PartResult) -> None:
        rows: dict[int, NewPhoto] = {}
        for entry, photo in zip(part.entries, photos, strict=True):
            if isinstance(photo, Unreadable):
                result.unread.append((entry.id, photo.reason, photo.is_damaged))
            elif isinstance(photo, NewPhoto) and photo.content_hash in self._work.elsewhere:
                result.held.append((entry.id, photo))
            elif isinstance(photo, NewPhoto):
                rows[entry.id] = photo
                result.ids[entry.id] = photo.content_hash == entry.known_hash
        if not rows:
            return
        work, store = self._work, store_class(self._work.gallery)
        block = Block(ids := sorted(rows), [rows[id] for id in ids])
        for tries_left in reversed(range(_TRIES_TO_WRITE)):
            try:
                result.written += store.write_apart(work.gallery, work.dim, block)
                return
            except MSEdgeError:
                if not tries_left:
                    raise
                time.sleep(_SECONDS_BEFORE_NEXT_TRY)


def onnx_encoder(model: str, device: str) -> Encoder:
    """The encoder of every run but those of tests; one thread a photo, several photos at a time."""
    return OnnxEncoder.load(model, threads=1, device=device)


def _node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
