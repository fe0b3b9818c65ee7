"""``GET /api/photos/{id}`` and its thumbnail: the gallery's photos, by number only.

Tested in ``tests/server/test_photo_routes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from pydantic import BeforeValidator
from starlette.exceptions import HTTPException

from msedge.errors import DataError
from msedge.search.photo import Photo
from msedge.search.thumbnails import THUMBNAIL_SIDE, thumbnail, thumbnail_bytes
from msedge.server.conditional import not_modified
from msedge.server.folder_names import spelt
from msedge.server.photo_content import PhotoContent, PhotoResponse, open_photo
from msedge.server.problems import refused
from msedge.server.requests import MAX_ID
from msedge.server.service import Served, Service

_CONVERTED_SIDE = 2560
_PHOTO_CACHING = "private, no-cache"
_THUMBNAIL_CACHING = "private, max-age=10"  # ids are others' soon after a gallery is replaced


def _number(text: object) -> object:
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise ValueError("a photo's id is a whole number")  # nor "+1", "1_0", "1.0"
    return text


PhotoId = Annotated[
    int,
    BeforeValidator(_number),
    Path(alias="id", ge=0, le=MAX_ID, description="As hits name it.", examples=[5]),
]

router = APIRouter(tags=["photos"])


def _pictures(*types: str) -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        200: {"description": "The picture.", "content": {kind: dict(binary) for kind in types}},
        304: {"description": "It is still what `If-None-Match` named."},
        **refused(401, 404, 410, 413, 415, 422, 429, 503),
    }


@router.get(
    "/api/photos/{id}",
    summary="A photo",
    response_class=Response,
    responses=_pictures("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"),
)
async def photo_file(photo_id: PhotoId, request: Request, service: Served) -> Response:
    """Answers the file as it lies on the disk; formats that browsers do not show, as JPEG."""
    photo, content = await service.ask(lambda: _opened(service, photo_id))
    headers = {
        "ETag": f'"{photo.content_hash}"',
        "Cache-Control": _PHOTO_CACHING,
        "Content-Disposition": _inline(photo),
    }
    if not_modified(request, headers["ETag"]):
        content.stream.close()
        return Response(status_code=304, headers=headers)
    if content.media_type is not None:
        return PhotoResponse(content, headers)
    content.stream.close()
    picture = await _made(service, request, photo, _CONVERTED_SIDE)
    return Response(picture, headers=headers, media_type="image/jpeg")


@router.get(
    "/api/photos/{id}/thumbnail",
    summary="A photo, small",
    response_class=Response,
    responses=_pictures("image/jpeg"),
)
async def photo_thumbnail(photo_id: PhotoId, request: Request, service: Served) -> Response:
    """Answers a JPEG, upright, whose longer side is 320 pixels or the photo's own if shorter."""
    photo, kept = await service.ask(lambda: _kept_thumbnail(service, photo_id))
    headers = {
        "ETag": f'"{photo.content_hash}-{THUMBNAIL_SIDE}"',
        "Cache-Control": _THUMBNAIL_CACHING,
    }
    if not_modified(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if kept is None:
        kept = await _made(service, request, photo, THUMBNAIL_SIDE)
        put = service.thumbnails.put
        made = kept
        await service.ask(lambda: put(photo.content_hash, THUMBNAIL_SIDE, made))
    return Response(kept, headers=headers, media_type="image/jpeg")


def _opened(service: Service, photo_id: int) -> tuple[Photo, PhotoContent]:
    photo = service.photo(photo_id)
    return photo, open_photo(photo)


def _kept_thumbnail(service: Service, photo_id: int) -> tuple[Photo, bytes | None]:
    photo, content = _opened(service, photo_id)  # what has gone is not shown from the cache
    content.stream.close()
    return photo, service.thumbnails.get(photo.content_hash, THUMBNAIL_SIDE)


async def _made(service: Service, request: Request, photo: Photo, side: int) -> bytes:
    """A photo as a JPEG, in its turn and when there is memory for it."""

    def memory() -> int:
        with _shown():
            return thumbnail_bytes(photo, side)

    def picture() -> bytes:
        with _shown():
            return thumbnail(photo, side)

    needed = await service.pictures.run(request, memory)
    return await service.pictures.run(request, picture, memory=needed)


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except DataError as error:  # it could be read when it was indexed
        raise HTTPException(415, str(error)) from error


def _inline(photo: Photo) -> str:
    """The file's own name for who saves it, as RFC 6266 has it."""
    return f"inline; filename*=UTF-8''{quote(spelt(photo.path.name), safe='')}"
