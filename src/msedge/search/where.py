"""Where in a photo that was found the thing is: the box that answers the query.

A network that reads photos in their own shape tells what each place of one says. The places that
are like the query, around the one that is most like it, are the box. It is worked out for photos
that are shown, from their files. Tested in ``tests/search/test_where.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.data.images import kept_shape, reading_bytes
from msedge.errors import ConfigError, DataError
from msedge.search.encoder import Encoder, photo_side
from msedge.search.locations import location
from msedge.search.photo import Photo
from msedge.search.ranking import Embeddings
from msedge.search.reading import Decoded, read_photo
from msedge.search.sources.contents import content_of
from msedge.search.sources.objects import Item

_ABOVE = 0.3
"""How far from the mean to the maximum a place must be to count.

It was tried on objects pasted into other photos at .6, .4 and .25 of their side, 50 each: the box's
centre lies in the object in 86, 80 and 42 % of them, its IoU is .41, .48 and .23.
"""

_WHOLE = 0.8  # of a photo: such a box says nothing
_ALIKE = 1e-6  # cosines that differ by less, do so by rounding


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a photo, in shares of the sides of the upright picture, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def is_whole(self) -> bool:
        """Whether it is nearly all of the photo, so that there is no use in showing it."""
        return (self.right - self.left) * (self.bottom - self.top) > _WHOLE

    def as_json(self) -> dict[str, float]:
        """Its sides, to four digits: finer than any grid."""
        return {name: round(getattr(self, name), 4) for name in self.__slots__}


def box_of(places: npt.NDArray[np.float32], query: Embeddings) -> Box:
    """The box around the places of a photo that are like a query.

    The similarities are smoothed (the mean of each place and its neighbours, 3 x 3, of those that
    the photo has). What lies above mean + 0.3 (maximum - mean), and hangs together by sides with
    the maximum, is boxed.

    Args:
        places: unit vectors ``(dim, h, w)`` on a grid over the photo.
        query: ``(dim,)``.

    Example:
        >>> places = np.zeros((2, 5, 10), np.float32)
        >>> places[0, 2:, 5:] = 1
        >>> box_of(places, np.array([1, 0], np.float32))
        Box(left=0.5, top=0.4, right=1.0, bottom=1.0)
    """
    like = _smooth(np.tensordot(np.asarray(query, np.float64), places, axes=1))
    best, middle = like.max(), like.mean()
    above = like >= middle + _ABOVE * (best - middle) - _ALIKE
    part = np.zeros_like(above)
    part[np.unravel_index(like.argmax(), like.shape)] = True
    while True:
        grown = part.copy()
        grown[1:] |= part[:-1]
        grown[:-1] |= part[1:]
        grown[:, 1:] |= part[:, :-1]
        grown[:, :-1] |= part[:, 1:]
        grown &= above
        if not (grown & ~part).any():
            break
        part = grown
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    high, wide = like.shape
    return Box(
        float(columns[0] / wide),
        float(rows[0] / high),
        float((columns[-1] + 1) / wide),
        float((rows[-1] + 1) / high),
    )


def box_in(photo: Photo, encoder: Encoder, query: Embeddings) -> Box | None:
    """The box of a photo's file as it was indexed.

    Returns:
        None where the file is gone, cannot be read or is another by now, or where the encoder tells
        no places.
    """
    try:
        content = content_of(photo.path)
    except (DataError, ConfigError):
        return None
    item = Item(location(photo.path), photo.size, photo.mtime_ns)
    (side, keep_shape), now = photo_side(encoder), photo.content_hash
    read = read_photo(item, content, side, lambda found: found != now, keep_shape=keep_shape)
    places = encoder.places(read.pixels) if isinstance(read, Decoded) else None
    return None if places is None else box_of(places, query)


def box_bytes(photo: Photo, encoder: Encoder) -> int:
    """What :func:`box_in` takes to read a photo, of memory at most; 0 where it cannot be read."""
    side = max(kept_shape(photo.width, photo.height, photo_side(encoder)[0]))
    try:
        content = content_of(photo.path)
        return len(content) + reading_bytes(content, location(photo.path), size=side)
    except (DataError, ConfigError):
        return 0


def _smooth(like: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of each place and its neighbours."""
    padded, there = np.pad(like, 1), np.pad(np.ones_like(like), 1)
    high, wide = like.shape
    total, count = np.zeros_like(like), np.zeros_like(like)
    for row in range(3):
        for column in range(3):
            total += padded[row : row + high, column : column + wide]
            count += there[row : row + high, column : column + wide]
    return total / count
