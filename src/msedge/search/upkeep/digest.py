"""One number for everything that a gallery holds, so that two can be compared block by block.

Tested in ``tests/search/upkeep/test_digest.py``.
"""

from __future__ import annotations

import hashlib
import os
import struct

import numpy as np

from msedge.search.gallery_rows import STORED_VECTOR, NewPhoto
from msedge.search.store import Block

_NUMBERS = struct.Struct("<qqqqqdIII")  # the last three: lengths of what follows


class Digest:
    """Of photos taken one after the other: their ids, every field, every bit of their vectors.

    Attributes:
        count: photos so far.
        last_id: the largest id so far, 0 before the first.
    """

    def __init__(self) -> None:
        """Begin with no photo."""
        self.count = self.last_id = 0
        self._hash = hashlib.sha256()

    def take(self, block: Block) -> None:
        """Go on with a block.

        Raises:
            ValueError: an id does not rise; what gives the blocks is defective then.
        """
        for number, photo in zip(block.ids, block.photos, strict=True):
            if number <= self.last_id:
                raise ValueError(f"id {number} comes after id {self.last_id}")
            self.last_id = number
            self._hash.update(_bytes_of(number, photo))
        self.count += len(block.ids)

    def value(self) -> str:
        """The digest so far, hexadecimal."""
        return self._hash.hexdigest()


def _bytes_of(number: int, photo: NewPhoto) -> bytes:
    path, content = os.fsencode(photo.path), photo.content_hash.encode("utf-8", "surrogatepass")
    vector = np.ascontiguousarray(photo.vector).astype(STORED_VECTOR, copy=False).tobytes()
    numbers = _NUMBERS.pack(
        number,
        photo.size,
        photo.mtime_ns,
        photo.width,
        photo.height,
        photo.taken + 0.0,  # SQLite keeps no sign of zero
        len(path),
        len(content),
        len(vector),
    )
    return b"".join((numbers, path, content, vector))
