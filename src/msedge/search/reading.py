"""Photos become vectors: read, hashed, decoded and embedded, on as many threads as are given.

Pillow, hashing and ONNX Runtime all let other threads of Python run, so that threads do as well as
processes. One machine and each worker of a cluster read by this, so that both have the same
vectors. Tested in ``tests/search/test_reading.py``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from msedge.data.image_file import MAX_BYTES, read_image_file
from msedge.data.images import as_pixels, cause_of, one_line, read_picture
from msedge.errors import DataError
from msedge.models.bank import hubness
from msedge.search.encoder import Encoder, photo_side
from msedge.search.photo import NAMES, Facts, NewPhoto, facts_of, hash_of
from msedge.search.ranking import Pixels
from msedge.search.sources.contents import Content, Unreadable, contents
from msedge.search.sources.objects import Item

BATCH = 16
"""Photos that are read and embedded together, in the order of the plan."""

_BATCHES_AHEAD = 2  # read before they are asked for, besides those that threads work on


@dataclass(frozen=True, slots=True)
class Decoded:
    """A photo that was read and decoded."""

    facts: Facts  # of the file as it was when the reading began
    pixels: Pixels  # (3, H, W), as the encoder reads them


@dataclass(frozen=True, slots=True)
class Known:
    """A photo whose content has a vector elsewhere, or will have: it was not decoded."""

    item: Item  # with size and time as they were when the reading began
    content_hash: str


Embedded = NewPhoto | Known | Unreadable
"""What became of a photo."""


def embedded(
    items: Sequence[Item],
    encoder: Encoder,
    *,
    workers: int,
    batch_size: int = BATCH,
    known: set[str] | None = None,
) -> Generator[list[tuple[Item, Embedded]]]:
    """Read and embed photos, some ahead of the reader.

    Args:
        items: which ones.
        encoder: what makes the vectors; its ``photos`` is called from several threads.
        workers: threads.
        batch_size: photos a batch.
        known: content hashes that have a vector; each other content is embedded once, and added.
            None to embed every photo.

    Yields:
        Batches, in the order of the items.
    """
    claiming = threading.Lock()

    def is_known(content_hash: str) -> bool:
        """Whether a content has a vector, or will have: if not, the caller is to embed it."""
        if known is None:
            return False
        with claiming:
            was_known = content_hash in known
            known.add(content_hash)
            return was_known

    ahead: deque[Future[list[tuple[Item, Embedded]]]] = deque()
    with closing(contents(items)) as fetched:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="embed")
        try:
            while batch := list(islice(fetched, batch_size)):
                ahead.append(pool.submit(_embed, batch, encoder, is_known))
                if len(ahead) >= workers + _BATCHES_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_photo(
    item: Item,
    content: bytes | None,
    size: int,
    is_known: Callable[[str], bool] = lambda _: False,
    *,
    keep_shape: bool = False,
) -> Decoded | Known | Unreadable:
    """Hash and decode a photo.

    Args:
        item: which one.
        content: its bytes; None for a file of this machine, which is read now.
        size: side of the square of pixels that the encoder reads.
        is_known: whether a content hash has a vector, so that the photo need not be decoded.
        keep_shape: whether it reads as many in the photo's own shape.
    """
    try:
        if content is None:
            try:
                # By the time before the reading, a change during it is seen by the next run.
                content, status = read_image_file(Path(item.path), MAX_BYTES)
            except OSError as error:
                return Unreadable(cause_of(error), is_damaged=False)
            except ValueError as error:  # too large, or a pipe by now: what was there is not now
                return Unreadable(str(error), is_damaged=True)
            item = Item(item.path, status.st_size, status.st_mtime_ns)
        content_hash = hash_of(content)
        if is_known(content_hash):
            return Known(item, content_hash)
        picture = read_picture(content, item.path, size=size, keep_shape=keep_shape)
        facts = facts_of(item.path, *item.state, content_hash, picture)
        return Decoded(facts, as_pixels(picture.image))
    except DataError as error:
        reason = str(error).removeprefix(f"cannot read image {one_line(item.path)}: ")
        return Unreadable(reason, is_damaged=True)
    except MemoryError:
        return Unreadable("too large for the memory that is left", is_damaged=False)


def _embed(
    batch: Sequence[tuple[Item, Content]], encoder: Encoder, is_known: Callable[[str], bool]
) -> list[tuple[Item, Embedded]]:
    size, keep_shape = photo_side(encoder)
    read = [
        content
        if isinstance(content, Unreadable)
        else read_photo(item, content, size, is_known, keep_shape=keep_shape)
        for item, content in batch
    ]
    decoded = [photo for photo in read if isinstance(photo, Decoded)]
    new = iter(_with_vectors(decoded, encoder))
    done: list[Embedded] = [next(new) if isinstance(photo, Decoded) else photo for photo in read]
    return [(item, photo) for (item, _), photo in zip(batch, done, strict=True)]


def _with_vectors(photos: Sequence[Decoded], encoder: Encoder) -> list[NewPhoto]:
    """Photos to be put: each with its vector, and the hubness that follows from it."""
    vectors = _vectors([photo.pixels for photo in photos], encoder)
    near = np.zeros(len(photos))
    if (bank := encoder.bank) is not None:
        near = hubness(vectors, bank.drawings)
    pairs = zip(photos, near.tolist(), strict=True)
    facts = [replace(photo.facts, hubness=each) for photo, each in pairs]
    return [
        NewPhoto(*(getattr(each, name) for name in NAMES), vector=vector)
        for each, vector in zip(facts, vectors, strict=True)
    ]


def _vectors(photos: Sequence[Pixels], encoder: Encoder) -> npt.NDArray[np.float16]:
    """The vectors of photos, those of one shape together."""
    vectors = np.empty((len(photos), encoder.dim), np.float16)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, pixels in enumerate(photos):
        by_shape.setdefault(pixels.shape, []).append(place)
    for places in by_shape.values():
        vectors[places] = encoder.photos(np.stack([photos[place] for place in places]))
    return vectors
