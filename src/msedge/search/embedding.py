"""Files become vectors, on as many cores as are given.

Each thread takes a batch of files, reads and decodes them, and puts them through the network:
Pillow, hashing and ONNX Runtime all let other threads of Python run, so that threads do as well as
processes, and none waits for another. Tested in ``tests/search/test_embedding.py``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from msedge.search.encoder import Encoder
from msedge.search.folders import FoundFile
from msedge.search.gallery_rows import Vector
from msedge.search.photo_reading import ReadPhoto, Unreadable, read_photo

_BATCHES_AHEAD = 2  # read before they are asked for, besides those that threads work on


@dataclass(frozen=True, slots=True)
class Embedded:
    """A file that was read, with its vector.

    The vector is None where another photo of the same content has one, or will have: a photo of
    the gallery, or one of a batch that may come later.
    """

    photo: ReadPhoto
    vector: Vector | None


class Embedder:
    """Reads files and embeds each content once."""

    def __init__(self, encoder: Encoder, known: set[str]) -> None:
        """Take an encoder that threads may share, and the hashes that have a vector (added to)."""
        self._encoder, self._known = encoder, known
        self._claiming = threading.Lock()

    def embed(
        self, files: Sequence[FoundFile], *, batch_size: int, workers: int
    ) -> Generator[list[Embedded | Unreadable]]:
        """Read files, some ahead of the reader.

        Args:
            files: which ones.
            batch_size: files a batch.
            workers: threads.

        Yields:
            Batches, in the order of the files.
        """
        batches = [files[at : at + batch_size] for at in range(0, len(files), batch_size)]
        ahead: deque[Future[list[Embedded | Unreadable]]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
            try:
                for batch in batches:
                    ahead.append(pool.submit(self.batch, batch))
                    if len(ahead) >= workers + _BATCHES_AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def batch(
        self, files: Sequence[FoundFile], *, anew: bool = False
    ) -> list[Embedded | Unreadable]:
        """Read a few files and embed what is not known.

        Args:
            files: which ones.
            anew: whether to embed what is known as well.
        """
        is_known: Callable[[str], bool] = (lambda _: False) if anew else self._claim
        size = self._encoder.image_size
        read = [read_photo(file, size, is_known) for file in files]
        looks = [photo.look for photo in read if isinstance(photo, ReadPhoto) and photo.look]
        vectors: Iterator[Vector] = iter(())
        if looks:
            embedded = self._encoder.photos(np.stack([look.pixels for look in looks]))
            vectors = iter(embedded.astype(np.float16))
        return [
            photo
            if isinstance(photo, Unreadable)
            else Embedded(photo, next(vectors) if photo.look else None)
            for photo in read
        ]

    def _claim(self, content_hash: str) -> bool:
        """Whether a content has a vector, or will have: if not, the caller is to embed it."""
        with self._claiming:
            if content_hash in self._known:
                return True
            self._known.add(content_hash)
            return False
