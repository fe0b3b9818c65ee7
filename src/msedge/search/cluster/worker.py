"""What one actor does: read a part's photos, embed them, and write them beside the gallery's.

The photos go through the network sixteen at a time in the order of the plan, as the single-machine
index puts them through. Tested in ``tests/search/cluster/test_worker.py``.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msedge.errors import MSEdgeError
from msedge.search.cluster.objects import why
from msedge.search.cluster.reading import Content, contents, read_content
from msedge.search.cluster.wire import Item, Part, PartResult, held_photo
from msedge.search.encoder import Encoder
from msedge.search.gallery_rows import NewPhoto, Vector
from msedge.search.photo_reading import ReadPhoto, Unreadable
from msedge.search.store import Block

BATCH = 16
"""Photos that are read and embedded together; a part holds a multiple of it."""

_BATCHES_AHEAD = 1
_TRIES_TO_WRITE = 3
_SECONDS_BEFORE_NEXT_TRY = 1.0

Read = tuple[Item, NewPhoto | Unreadable]


@dataclass(frozen=True, slots=True)
class Work:
    """What all parts of a run have in common.

    Attributes:
        gallery: where the workers write to.
        encoder: a function that loads the encoder, as ``module:name``.
        model: its argument.
        fingerprint: of the model that the gallery was made with.
        dim: width of its vectors.
        threads: photos at a time.
        device: ``cpu`` or ``cuda``.
        elsewhere: content hashes of photos that are no longer where they were.
    """

    gallery: Path
    encoder: str
    model: str
    fingerprint: str
    dim: int
    threads: int = 1
    device: str = "cpu"
    elsewhere: frozenset[str] = frozenset()


class PartWorker:
    """An actor of Ray Data. It loads the model with the first part."""

    def __init__(self, work: Work) -> None:
        """Take what all parts have in common."""
        self._work = work
        self._encoder: Encoder | None = None
        self._names: tuple[str, str] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the parts of a batch of rows; each gives a row."""
        return {
            "result": [self.do(Part.from_json(bytes(part))).as_json() for part in batch["part"]]
        }

    def do(self, part: Part) -> PartResult:
        """Read, embed and write a part's photos; says so where that cannot be done."""
        begun = time.monotonic()
        result = PartResult(part.number)
        result.worker, result.node = self._who()
        try:
            encoder = self._loaded()
        except MSEdgeError as error:
            result.failed, result.hopeless = str(error), True
            return result
        try:
            read = list(embedded(part.items, encoder, self._work.threads))
        except Exception as error:  # whatever a decoder raises, the other photos are not lost
            result.failed = why(error)
            return result
        try:
            self._write(read, result)
        except MSEdgeError as error:
            result.failed, result.hopeless = str(error), True
        result.seconds = time.monotonic() - begun
        return result

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            work = self._work
            encoder = load_encoder(work.encoder, work.model, work.device)
            if (encoder.fingerprint, encoder.dim) != (work.fingerprint, work.dim):
                raise MSEdgeError(
                    f"a worker on {self._who()[1]} has another model of the name {work.model}: "
                    "install the same release of msedge, and the same model's file, on every node"
                )
            self._encoder = encoder
        return self._encoder

    def _write(self, read: Sequence[Read], result: PartResult) -> None:
        from msedge.search.lance.fragments import write_fragment

        written: list[tuple[int, NewPhoto]] = []
        for item, photo in read:
            if isinstance(photo, Unreadable):
                result.unread.append((item.id, photo.reason, photo.is_damaged))
            elif photo.content_hash in self._work.elsewhere:
                result.held.append((item.id, held_photo(photo)))
            else:
                written.append((item.id, photo))
                if photo.content_hash == item.known_hash:
                    result.same.append(item.id)
        written.sort(key=lambda pair: pair[0])
        block = Block([id for id, _ in written], [photo for _, photo in written])
        result.written = block.ids
        if not written:
            return
        for tries_left in reversed(range(_TRIES_TO_WRITE)):
            try:
                result.fragments = write_fragment(self._work.gallery, self._work.dim, block)
                return
            except MSEdgeError:
                if not tries_left:
                    raise
                time.sleep(_SECONDS_BEFORE_NEXT_TRY)

    def _who(self) -> tuple[str, str]:
        if self._names is None:
            import ray

            node = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
            self._names = (f"{node}:{os.getpid()}", node)
        return self._names


def load_encoder(function: str, model: str, device: str) -> Encoder:
    """Call a function that is named ``module:name`` with a model's name and a device."""
    from importlib import import_module

    module, _, name = function.partition(":")
    return getattr(import_module(module), name)(model, device)  # type: ignore[no-any-return]


def onnx_encoder(model: str, device: str) -> Encoder:
    """The encoder of every run but those of tests; one thread a photo, several photos at a time."""
    from msedge.search.onnx_encoder import OnnxEncoder

    return OnnxEncoder.load(model, threads=1, device=device)


def embedded(items: Sequence[Item], encoder: Encoder, threads: int) -> Iterator[Read]:
    """Read and embed photos, some batches at a time; in their order."""
    ahead: deque[Future[list[Read]]] = deque()
    batch: list[tuple[Item, Content]] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="embed") as pool:
        for pair in contents(items):
            batch.append(pair)
            if len(batch) == BATCH:
                ahead.append(pool.submit(_embed, batch, encoder))
                batch = []
            if len(ahead) > threads + _BATCHES_AHEAD:
                yield from ahead.popleft().result()
        ahead.append(pool.submit(_embed, batch, encoder))
        while ahead:
            yield from ahead.popleft().result()


def _embed(batch: Sequence[tuple[Item, Content]], encoder: Encoder) -> list[Read]:
    read = [read_content(item, content, encoder.image_size) for item, content in batch]
    looks = [photo.look.pixels for photo in read if isinstance(photo, ReadPhoto) and photo.look]
    vectors: Iterator[Vector] = iter(())
    if looks:
        vectors = iter(encoder.photos(np.stack(looks)).astype(np.float16))
    return [
        (item, photo if isinstance(photo, Unreadable) else _new(photo, next(vectors)))
        for (item, _), photo in zip(batch, read, strict=True)
    ]


def _new(photo: ReadPhoto, vector: Vector) -> NewPhoto:
    file, look = photo.file, photo.look
    if look is None:
        raise ValueError("a photo that was not decoded has no vector of its own")
    taken = file.mtime_ns / 1e9 if look.taken is None else look.taken
    return NewPhoto(
        Path(file.path), file.size, file.mtime_ns, photo.content_hash, look.width, look.height,
        taken, vector,
    )  # fmt: skip
