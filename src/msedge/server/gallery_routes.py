"""What is searched and what it can be asked for by name; health, metrics, and the cookie.

Tested in ``tests/server/test_gallery_routes.py``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException

from msedge.errors import MSEdgeError
from msedge.search.names import UnknownNameError
from msedge.server.answers import (
    FolderAnswer,
    GalleryAnswer,
    HealthAnswer,
    ModelAnswer,
    NameAnswer,
    NamesAnswer,
)
from msedge.server.folder_names import spelt
from msedge.server.guard import COOKIE, COOKIE_PATH
from msedge.server.metrics import CONTENT_TYPE
from msedge.server.problems import problem, refused
from msedge.server.requests import MAX_NAME
from msedge.server.service import Served
from msedge.server.tokens import Token

NAMES_PATH = "/api/names"

router = APIRouter()
open_router = APIRouter(responses=refused())
"""What needs no token."""


@router.get(
    "/api/gallery", tags=["gallery"], summary="What is searched", responses=refused(401, 503)
)
async def gallery(service: Served) -> GalleryAnswer:
    """Answers the gallery's size, model and folders, as they are now."""

    def read() -> GalleryAnswer:
        served = service.gallery
        return GalleryAnswer(
            name=spelt(served.path.name),
            photos=service.note_gallery(),
            model=ModelAnswer(
                name=served.model.name,
                dim=served.model.dim,
                image_size=served.encoder.image_size,
                places=served.tells_places,
            ),
            folders=[
                FolderAnswer(folder=folder, photos=photos)
                for folder, photos in service.folders.counted()
            ],
            version=served.version,
        )

    return await service.ask(lambda: service.of_one_state(read))


@router.get(
    NAMES_PATH,
    tags=["search"],
    summary="What can be asked for by its name",
    responses=refused(401, 422, 429, 503),
)
async def names(
    service: Served,
    q: Annotated[str, Query(max_length=MAX_NAME, description="A word, or how one begins.")] = "",
) -> NamesAnswer:
    """Answers what a word means, whatever its case and spaces, and the names that begin like it."""

    def read() -> NamesAnswer:
        known = service.gallery.names
        try:
            found = known.find(q).name
        except UnknownNameError:
            found = None
        fitting = known.complete(q) or known.near(q)
        return NamesAnswer(
            known=len(known),
            found=found,
            names=[NameAnswer.model_validate(asdict(each)) for each in fitting],
        )

    return await service.ask(lambda: service.of_one_state(read))


@router.post(
    "/api/session",
    tags=["service"],
    summary="Let this browser's <img> ask for photos",
    status_code=204,
    response_class=Response,
    responses=refused(401, 404),
)
async def session(request: Request, service: Served) -> Response:
    """Sets a cookie that stands for the token where a browser cannot send the header.

    It is sent to `/api/photos` only, no script can read it, and the token cannot be had from it.
    """
    token: Token | None = getattr(request.state, "token", None)
    if token is None:
        raise HTTPException(404, "this server asks for no token, so there is no session")
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:")
    answer = Response(status_code=204)
    answer.set_cookie(
        COOKIE,
        token.cookie,
        path=service.settings.root_path + COOKIE_PATH,
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return answer


@open_router.get("/healthz", tags=["service"], summary="Whether the server lives")
async def healthz() -> HealthAnswer:
    """Answers at once, and needs no token."""
    return HealthAnswer()


@open_router.get(
    "/readyz",
    tags=["service"],
    summary="Whether a search would be answered now",
    response_model=HealthAnswer,
    responses=refused(503),
)
async def readyz(service: Served) -> HealthAnswer | Response:
    """Looks at the gallery and its model, and needs no token; the log says what is wrong."""

    def look() -> None:
        try:
            _ = service.gallery.encoder  # which looks at the gallery, too
            service.note_gallery()
        except MSEdgeError:
            service.metrics.gallery_unreadable()
            raise
        _ = service.gallery.names  # without which no drawing is answered

    try:
        await service.ask(look)
    except MSEdgeError as error:
        line = "the gallery cannot be searched; the log says why"
        return problem(503, line, reason=str(error))
    return HealthAnswer()


@router.get(
    "/metrics",
    tags=["service"],
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}},
        **refused(401),
    },
)
async def metrics(service: Served) -> Response:
    """Answers requests by route and status, times, memory, and the gallery as it was last read."""
    # Not in a thread: all may be taken by requests that a store keeps waiting.
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})
