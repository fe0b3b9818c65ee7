"""A record's file and its pixels, apart: the bytes are read once, whoever needs them.

The pixel cache hashes what it decodes; reading the file twice would cost a second visit to the
disk, and might see two contents. Tested in ``tests/data/test_image_content.py``.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from msedge.data.image_file import read_image_file
from msedge.data.images import cause_of, one_line, open_image_bytes
from msedge.data.layouts import Record
from msedge.data.sketches import frame_sketch, resize_framed
from msedge.errors import DataError


@dataclass(frozen=True, slots=True)
class FileState:
    """What the system says of a file without reading it: bytes, and time of change in ns."""

    length: int
    changed_ns: int


def file_state(path: Path) -> FileState:
    """The length and the time of change of an image's file.

    Raises:
        DataError: there is none, or it is no regular file (opening a pipe would wait for ever).
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"cannot read image {one_line(path)}: {cause_of(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"cannot read image {one_line(path)}: it is not a regular file")
    return FileState(found.st_size, found.st_mtime_ns)


def read_content(path: Path) -> bytes:
    """The bytes of an image's file.

    Raises:
        DataError: it cannot be read, or is larger than
            :data:`~msedge.data.image_file.MAX_BYTES`.
    """
    try:
        return read_image_file(path)[0]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read image {one_line(path)}: {cause_of(error)}") from error


def content_hash(content: bytes) -> bytes:
    """BLAKE2b of 16 bytes (RFC 7693).

    >>> content_hash(b"").hex()
    'cae66941d9efbd404e4d88758ea67670'
    """
    return hashlib.blake2b(content, digest_size=16).digest()


def decode(
    content: bytes, record: Record, *, size: int, frame_sketches: bool
) -> npt.NDArray[np.uint8]:
    """The pixels of a record, bit for bit what ``read_pixels`` gives of a whole image.

    Args:
        content: of its file.
        record: says what an error is about, and whether this is a sketch.
        size: pixels on a side, at least 1.
        frame_sketches: cut a drawing out of its sheet; a photo stays whole.

    Returns:
        ``(size, size, 3)`` uint8, RGB, 0 to 255: channels last, as Pillow has them.

    Raises:
        DataError: the content is no image that can be read; the message names the file.
    """
    name = str(record.path)
    if frame_sketches and record.domain == "sketch":
        image = resize_framed(frame_sketch(open_image_bytes(content, name)), size)
    else:
        image = open_image_bytes(content, name, size=size)
    return np.asarray(image, dtype=np.uint8)
