"""What the routes of one application share."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from msedge.errors import MSEdgeError
from msedge.quoting import plain
from msedge.search.gallery import Gallery
from msedge.search.photo import Photo
from msedge.search.query import UnknownPhotoError
from msedge.search.stores.store import ReplacedError, UnreadableError
from msedge.search.thumbnails import ThumbnailCache
from msedge.server.folder_names import FolderNames
from msedge.server.memory import MemoryBudget
from msedge.server.metrics import Metrics
from msedge.server.page_files import PageFile
from msedge.server.settings import ServerSettings
from msedge.server.work_queue import NO_ANSWER, WorkQueue

T = TypeVar("T")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """The gallery that is served, and what stands around it.

    Attributes:
        gallery: what is searched.
        settings: the limits.
        memory: for pictures while they are read.
        readers: where everything else asks the gallery.
        searches: where searches run.
        pictures: where thumbnails are made, and photos converted.
        metrics: what is counted.
        folders: the gallery's folders by their spelling.
        thumbnails: those made before.
        page: the page's files by name.
    """

    gallery: Gallery
    settings: ServerSettings
    memory: MemoryBudget
    readers: ThreadPoolExecutor
    searches: WorkQueue
    pictures: WorkQueue
    metrics: Metrics
    folders: FolderNames
    thumbnails: ThumbnailCache
    page: dict[str, PageFile]

    async def ask(self, work: Callable[[], T]) -> T:
        """Do in a thread what asks the gallery.

        Raises:
            HTTPException: 503, it does not answer in time.
        """
        asked = asyncio.get_running_loop().run_in_executor(self.readers, work)
        try:
            return await asyncio.wait_for(asked, self.settings.gallery_seconds)
        except TimeoutError as error:
            raise HTTPException(503, NO_ANSWER, {"Retry-After": "5"}) from error

    def check_gallery(self) -> None:
        """Tell trouble with the gallery's file from mistakes of who asks.

        Raises:
            HTTPException: 503, it cannot be read any more, or not yet again.
        """
        try:
            self.gallery.refresh()
        except MSEdgeError as error:
            self.metrics.gallery_unreadable()
            raise HTTPException(503, str(error)) from error

    def of_one_state(self, read: Callable[[], T]) -> T:
        """Read several things of the gallery, again where it has changed meanwhile."""
        for is_last in (False, False, True):
            self.check_gallery()
            before = self.gallery.changes
            try:
                answer = read()
            except (ReplacedError, UnknownPhotoError):
                if is_last:
                    raise
                continue
            if self.gallery.changes == before:
                break
        return answer

    def note_gallery(self) -> int:
        """Have the metrics show the gallery as it is now; how many photos it holds."""
        gallery = self.gallery
        photos = gallery.photos
        is_another = self.metrics.gallery_seen(
            photos=photos,
            version=gallery.version,
            committed=gallery.committed,
            reopened=gallery.reopened,
        )
        self.memory.give_back_now_and_then()
        if is_another:
            model = plain(gallery.model.name)
            _logger.warning("another gallery is served: %d photos, model %s", photos, model)
            gc.collect()  # what was loaded for the one before
        return photos

    def photo(self, photo: int) -> Photo:
        """A photo by its id.

        Raises:
            HTTPException: 404, there is none; 503, the gallery cannot be read any more.
        """
        try:
            return self.gallery.photo(photo)
        except UnreadableError:
            self.metrics.gallery_unreadable()
            raise
        except UnknownPhotoError as error:
            raise HTTPException(404, f"photo {photo} is not in this gallery") from error

    def close(self) -> None:
        """Let its threads end and close its cache; the gallery stays open."""
        self.readers.shutdown(wait=False, cancel_futures=True)
        self.searches.close()
        self.pictures.close()
        self.thumbnails.close()


async def _service(request: Request) -> Service:  # else a thread would be wanted for each
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(_service)]
"""The type of a route's parameter that wants the service."""
