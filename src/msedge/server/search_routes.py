"""``POST /api/search``, ``POST /api/similar`` and ``POST /api/where``.

Tested in ``tests/server/test_search_routes.py``, ``test_search_load.py`` and ``test_where.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image
from starlette.exceptions import HTTPException

from msedge.data.drawings import drawing_bytes, is_picture
from msedge.data.images import picture_size
from msedge.errors import DataError
from msedge.search.filters import Filters
from msedge.search.gallery import Hit
from msedge.search.names import Likely
from msedge.search.query import Drawing, Query, UnknownPhotoError
from msedge.search.stores.store import ReplacedError
from msedge.search.where import Box, box_bytes
from msedge.server.answers import (
    FoundPhoto,
    LikelyName,
    PhotoBox,
    SearchAnswer,
    WhereAnswer,
)
from msedge.server.folder_names import spelt
from msedge.server.json_bodies import JsonRoute
from msedge.server.problems import refused
from msedge.server.requests import SearchRequest, SimilarRequest, WhereRequest
from msedge.server.service import Served, Service
from msedge.server.work_queue import CLIENT_GONE

SEARCH_PATH, SIMILAR_PATH, WHERE_PATH = "/api/search", "/api/similar", "/api/where"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

router = APIRouter(
    tags=["search"],
    route_class=JsonRoute,
    responses=refused(401, 404, 408, 413, 415, 422, 429, 503),
)


@router.post(SEARCH_PATH, summary="Find photos by a drawing, by photos, by a name")
async def search(asked: SearchRequest, request: Request, service: Served) -> SearchAnswer:
    """Answers the photos nearest to the mean of all that is wanted, less a share of what is not.

    What the drawing is likely of, or is said to be, draws it there. Near-duplicates are one hit.
    """
    return await _answer(
        asked, request, service, lambda: _query(asked, service), await _memory(asked, service)
    )


@router.post(SIMILAR_PATH, summary="Find photos like one of the gallery")
async def similar(asked: SimilarRequest, request: Request, service: Served) -> SearchAnswer:
    """Answers the photos nearest to a photo, which is among them."""

    def query() -> Query:
        _check_known(service, (asked.id, *asked.unlike))
        return service.gallery.query(like=[asked.id], unlike=asked.unlike)

    return await _answer(asked, request, service, query)


@router.post(WHERE_PATH, summary="Find where in photos the thing is")
async def where(asked: WhereRequest, request: Request, service: Served) -> WhereAnswer:
    """Answers a box for each photo whose file is there as it was indexed, read anew.

    What ranks and filters in a search makes no difference here.
    """
    begun = time.perf_counter()

    def work() -> Query | None:
        if not service.gallery.tells_places:
            return None
        with service.metrics.embedding.time():
            return _query(asked, service)

    memory = await _memory(asked, service)
    made = await service.searches.run(request, lambda: service.of_one_state(work), memory=memory)
    boxes: list[PhotoBox] = []
    for photo in asked.photos if made else ():
        if await request.is_disconnected():
            raise HTTPException(CLIENT_GONE, "the client went away")
        if made and (box := await _box(made, photo, request, service)):
            boxes.append(PhotoBox(id=photo, **box.as_json()))
    took = round(1000 * (time.perf_counter() - begun), 1)
    return WhereAnswer(took_ms=took, boxes=boxes)


async def _box(query: Query, photo: int, request: Request, service: Service) -> Box | None:
    """A photo's box, in its turn and when there is memory for it; None where there never is."""
    gallery, pictures = service.gallery, service.pictures

    def needed() -> int:
        try:
            return box_bytes(gallery.photo(photo), gallery.encoder)
        except UnknownPhotoError:
            return 0

    memory = await pictures.run(request, needed)
    if not 0 < memory <= service.memory.most:
        return None

    def read() -> Box | None:
        try:
            return gallery.boxes(query, [photo]).get(photo)
        except ReplacedError:  # rebuilt since the query was made: it asks nothing of these vectors
            return None

    return await pictures.run(request, read, memory=memory)


async def _answer(
    asked: SearchRequest | SimilarRequest,
    request: Request,
    service: Service,
    query: Callable[[], Query],
    memory: int = 0,
) -> SearchAnswer:
    begun = time.perf_counter()

    def answer() -> tuple[Query, list[Hit], int]:
        filters = _filters(asked, service)
        with service.metrics.embedding.time():
            made = query()
        with service.metrics.ranking.time():
            hits = service.gallery.find(made, k=asked.k, filters=filters)
        return made, hits, service.note_gallery()

    def work() -> tuple[Query, list[Hit], int]:
        return service.of_one_state(answer)

    made, hits, searched = await service.searches.run(request, work, memory=memory)
    took = round(1000 * (time.perf_counter() - begun), 1)
    return SearchAnswer(
        took_ms=took,
        searched=searched,
        names=[_likely(name) for name in made.names],
        hits=[_found(hit) for hit in hits],
    )


def _filters(asked: SearchRequest | SimilarRequest, service: Service) -> Filters | None:
    filters = Filters(
        folder=service.folders.find(asked.folder) if asked.folder else None,
        after=asked.after,
        before=asked.before,
        orientation=asked.orientation,
    )
    return None if filters == Filters() else filters


def _check_known(service: Service, ids: tuple[int, ...]) -> None:
    for photo in ids:
        service.photo(photo)


def _query(asked: SearchRequest, service: Service) -> Query:
    drawings: list[Drawing] = [asked.strokes] if asked.strokes else []
    if asked.image is not None:
        drawings.append(asked.image)
    _check_known(service, (*asked.like, *asked.unlike))
    return service.gallery.query(
        drawings,
        like=asked.like,
        unlike=asked.unlike,
        names=asked.name or asked.names,
        not_names=asked.not_names,
    )


async def _memory(asked: SearchRequest, service: Service) -> int:
    if asked.image is None:
        return 0
    return await run_in_threadpool(_image_memory, asked.image, service.settings.max_pixels)


def _image_memory(content: bytes, most: int) -> int:
    """What reading an image takes, by its header; what would unpack into too much is refused."""
    try:
        memory = drawing_bytes(content)
        pixels = math.prod(picture_size(content, "the image")) if is_picture(content) else 0
    except DataError as error:
        bomb = isinstance(error.__cause__, Image.DecompressionBombError) or "Mpx" in str(error)
        if not bomb:  # whatever else is wrong with it, reading it will tell
            return 0
        memory, pixels = 0, most + 1
    if pixels > most:
        raise HTTPException(413, f"the image has more than {most} pixels: send a smaller one")
    return memory


def _likely(name: Likely) -> LikelyName:
    likelihood = round(name.likelihood, 4)
    return LikelyName(name=name.name, likelihood=likelihood, settled=name.settled)


def _found(hit: Hit) -> FoundPhoto:
    photo = hit.photo
    return FoundPhoto(
        rank=hit.rank,
        id=photo.id,
        name=spelt(photo.path.name),
        folder=spelt(photo.folder),
        similarity=round(hit.similarity, 6),
        score=round(hit.score, 6),
        width=photo.width,
        height=photo.height,
        taken=_moment(photo.taken),
        copies=[copy.id for copy in hit.copies],
    )


def _moment(seconds: float) -> datetime:
    """Unix seconds as a date; files may claim times before 1970 or far beyond the calendar."""
    try:
        return _EPOCH + timedelta(seconds=round(seconds))
    except (OverflowError, ValueError):
        return _EPOCH
