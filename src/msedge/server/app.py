"""The HTTP API and the page, put together.

A request passes, from the outside in: what numbers and counts it, the guard (who may ask), what
makes a ``GET`` of a ``HEAD``, how often one may ask, the body's limit, and a route. Tested in
``tests/server/test_app.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

import msedge
from msedge.errors import MSEdgeError
from msedge.search.gallery import Gallery
from msedge.search.thumbnails import ThumbnailCache
from msedge.server import gallery_routes, page_routes, photo_routes, search_routes
from msedge.server.body_limit import BodyLimit
from msedge.server.clients import Rate, RateLimit
from msedge.server.description import describe
from msedge.server.folder_names import FolderNames
from msedge.server.guard import Guard
from msedge.server.head import HeadAsGet
from msedge.server.memory import MemoryBudget
from msedge.server.metrics import Metrics
from msedge.server.page_files import read_page
from msedge.server.problems import install_problems
from msedge.server.request_log import RequestLog
from msedge.server.service import Service
from msedge.server.settings import ServerSettings, cores
from msedge.server.tokens import Tokens
from msedge.server.work_queue import WorkQueue

__all__ = ["ServerSettings", "create_app"]

_PICTURES_WAITING = 1_000
_PICTURE_SECONDS = 30.0  # for a photo of hundreds of megapixels, or from far away
_READERS = 40  # that may wait for a gallery which does not answer
_DESCRIPTION = """
Search a gallery of photos with a drawing, with photos of it, or by a name.

Every refusal is `{"detail": "<one line>"}`. Where the server was started with a token, everything
but the page's own files, `/healthz` and `/readyz` wants `Authorization: Bearer TOKEN`.
"""


def create_app(gallery: Gallery, settings: ServerSettings | None = None) -> FastAPI:
    """Make the application that serves a gallery.

    Args:
        gallery: what is searched. It stays open when the application ends.
        settings: who may ask, and how much; None for a server of this machine alone.

    Returns:
        An application with no state beside its own: any number may live in one process.

    Raises:
        ConfigError: the file of tokens cannot be used.
    """
    settings = settings or ServerSettings()
    tokens = Tokens(settings.token, settings.token_file)
    metrics = Metrics()
    memory = MemoryBudget(settings.memory_bytes)
    searches = WorkQueue(
        settings.searches_at_once,
        settings.searches_waiting,
        per_client=settings.searches_per_client,
        seconds=settings.gallery_seconds,
        memory=memory,
        refused=metrics.refused,
    )
    pictures = WorkQueue(
        cores(),
        _PICTURES_WAITING,
        per_client=settings.pictures_per_client,
        seconds=_PICTURE_SECONDS,
        memory=memory,
        refused=metrics.refused,
    )
    metrics.watch_searches(searches)
    metrics.watch_memory(memory)
    service = Service(
        gallery=gallery,
        settings=settings,
        memory=memory,
        readers=ThreadPoolExecutor(_READERS, thread_name_prefix="msedge-read"),
        searches=searches,
        pictures=pictures,
        metrics=metrics,
        folders=FolderNames(gallery),
        thumbnails=ThumbnailCache.beside(gallery.path),
        page=read_page(),
    )

    with suppress(MSEdgeError):  # searches will say what is wrong
        service.note_gallery()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="MSEdge",
        summary="Draw, and find the photos.",
        description=_DESCRIPTION,
        version=msedge.__version__,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        lifespan=lifespan,
    )
    app.state.service, app.state.tokens = service, tokens
    # The guard has checked the token by then: these lines document it.
    bearer = HTTPBearer(auto_error=False, description="The server's token.")
    asks_token = [Depends(bearer)] if tokens else []
    app.include_router(search_routes.router, dependencies=asks_token)
    app.include_router(photo_routes.router, dependencies=asks_token)
    app.include_router(gallery_routes.router, dependencies=asks_token)
    app.include_router(gallery_routes.open_router)
    app.include_router(page_routes.router)
    app.openapi = describe(app, token=bool(tokens))  # type: ignore[method-assign]
    install_problems(app)
    per_second = settings.searches_per_second
    app.add_middleware(BodyLimit, settings=settings, refused=metrics.refused)
    app.add_middleware(
        RateLimit,
        rate=None if per_second is None else Rate(per_second),
        paths=frozenset(
            {
                search_routes.SEARCH_PATH,
                search_routes.SIMILAR_PATH,
                search_routes.WHERE_PATH,
                gallery_routes.NAMES_PATH,
            }
        ),
        refused=metrics.refused,
    )
    app.add_middleware(HeadAsGet)
    app.add_middleware(Guard, settings=settings, tokens=tokens, refused=metrics.refused)
    app.add_middleware(RequestLog, served=app, tokens=tokens)
    return app
