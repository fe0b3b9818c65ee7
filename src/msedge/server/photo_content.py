"""A photo's own file, as it was when it was indexed, or a line about why not.

Tested in ``tests/server/test_photo_routes.py``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from msedge.data.images import one_line
from msedge.errors import MSEdgeError
from msedge.search.photo import Photo, hash_of
from msedge.search.sources.contents import is_within, open_location
from msedge.server.head import wants_headers_only

_CHUNK = 256 * 1024
_OPENING = 16  # bytes that tell a format


@dataclass(frozen=True, slots=True)
class PhotoContent:
    """An open photo.

    Attributes:
        stream: at the file's first byte; whoever has it closes it.
        size: of the file, in bytes.
        media_type: None for what browsers do not show.
    """

    stream: BinaryIO
    size: int
    media_type: str | None

    def chunks(self) -> Iterator[bytes]:
        """The whole file in pieces, and no more than :attr:`size`."""
        left = self.size
        while left and (piece := self.stream.read(min(left, _CHUNK))):
            left -= len(piece)
            yield piece


class PhotoResponse(StreamingResponse):
    """A photo as it is; its stream is closed however that ends."""

    def __init__(self, content: PhotoContent, headers: Mapping[str, str]) -> None:
        """Take the open photo, and headers beside its length and type."""
        length = {"Content-Length": str(content.size)}
        super().__init__(
            content.chunks(), headers={**headers, **length}, media_type=content.media_type
        )
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; of ``HEAD`` the headers alone."""
        try:
            if wants_headers_only(scope):
                await Response(headers=self.headers)(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        finally:  # a client that went away would leave it open until the garbage is collected
            self._content.stream.close()


def open_photo(photo: Photo) -> PhotoContent:
    """Open a photo's file.

    Raises:
        HTTPException: 410, the file is gone, cannot be read, or is not what was indexed.
    """
    name = one_line(photo.path.name)
    if is_within(photo.path):
        return _read(photo, name)
    try:
        # Without blocking: a pipe that took the photo's place would otherwise be waited for.
        descriptor = os.open(photo.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise HTTPException(410, f"{name} is no longer there: run `msedge index` again") from error
    except OSError as error:
        raise HTTPException(410, f"{name} cannot be read: {error.strerror}") from error
    status = os.fstat(descriptor)
    same = (status.st_size, status.st_mtime_ns) == (photo.size, photo.mtime_ns)
    if not (stat.S_ISREG(status.st_mode) and same):
        os.close(descriptor)
        raise HTTPException(410, f"{name} has changed since: run `msedge index` again")
    stream = os.fdopen(descriptor, "rb")
    media_type = _media_type(stream.read(_OPENING))
    stream.seek(0)
    return PhotoContent(stream, status.st_size, media_type)


def _read(photo: Photo, name: str) -> PhotoContent:
    """A photo that is no file of this machine, in memory."""
    try:
        content = open_location(photo.path)
    except MSEdgeError as error:
        raise HTTPException(410, f"{name} cannot be read: run `msedge index` again") from error
    if hash_of(content) != photo.content_hash:
        raise HTTPException(410, f"{name} has changed since: run `msedge index` again")
    return PhotoContent(BytesIO(content), len(content), _media_type(content[:_OPENING]))


def _media_type(opening: bytes) -> str | None:
    """What browsers show, told by content: a suffix may lie, and they would believe it."""
    if opening.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if opening.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if opening.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if opening.startswith(b"RIFF") and opening[8:12] == b"WEBP":
        return "image/webp"
    if opening.startswith(b"BM"):
        return "image/bmp"
    return None
