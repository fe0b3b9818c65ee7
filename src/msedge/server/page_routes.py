"""``/`` and ``/page/...``: the page on which one draws.

Tested in ``tests/server/test_page_files.py``.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from msedge.server.conditional import not_modified
from msedge.server.page_files import INDEX
from msedge.server.service import Served, Service

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request, service: Served) -> Response:
    """The page."""
    return _answer(INDEX, request, service)


@router.get("/page/{name:path}")
async def page_file(name: str, request: Request, service: Served) -> Response:
    """What the page loads."""
    return _answer(name, request, service)


def _answer(name: str, request: Request, service: Service) -> Response:
    file = service.page.get(name)
    if file is None:
        raise HTTPException(404, "the page has no such file")
    # Asked again each time, so that a new version of the package is seen at once.
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
    if not_modified(request, file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
