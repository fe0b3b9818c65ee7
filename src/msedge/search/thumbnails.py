"""Photos, small: what a page of hits shows.

Tested in ``tests/search/test_thumbnails.py``.
"""

from __future__ import annotations

import io

from PIL import Image

from msedge.data.images import open_image, open_image_bytes
from msedge.errors import ConfigError
from msedge.search.gallery_rows import Photo
from msedge.search.locations import location
from msedge.search.photo_bytes import is_within, open_location

THUMBNAIL_SIDE = 320
"""Pixels of a thumbnail's longer side: two for each of a page's 160."""

_QUALITY = 82


def thumbnail(photo: Photo, side: int = THUMBNAIL_SIDE) -> bytes:
    """A photo as a JPEG that fits a square, upright.

    Args:
        photo: what to show; its file is read as it lies there now.
        side: pixels of the longer side; a smaller photo keeps its size.

    Returns:
        A JPEG file without metadata.

    Raises:
        DataError: the file is gone or cannot be read as an image.
        ConfigError: ``side`` is smaller than 1.
    """
    if side < 1:
        raise ConfigError(f"a thumbnail needs a side of at least 1 pixel, got {side}")
    longer = max(photo.width, photo.height, 1)
    scale = min(1.0, side / longer)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    # As a square first: that is what a JPEG can be decoded to directly, at an eighth of its size.
    if is_within(photo.path):
        square = open_image_bytes(open_location(photo.path), location(photo.path), size=max(size))
    else:
        square = open_image(photo.path, size=max(size))
    picture = square.resize(size, Image.Resampling.BICUBIC)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()
