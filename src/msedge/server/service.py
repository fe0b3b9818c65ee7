"""What the routes of one application share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from msedge.errors import DataError, MSEdgeError
from msedge.search.gallery import Gallery
from msedge.search.photo import Photo
from msedge.search.thumbnails import ThumbnailCache
from msedge.server.folder_names import FolderNames
from msedge.server.metrics import Metrics
from msedge.server.page_files import PageFile
from msedge.server.settings import ServerSettings
from msedge.server.work_queue import WorkQueue


@dataclass(frozen=True, slots=True)
class Service:
    """The gallery that is served, and what stands around it.

    Attributes:
        gallery: what is searched.
        settings: the limits.
        searches: where searches run.
        pictures: where thumbnails are made, and photos converted.
        metrics: what is counted.
        folders: the gallery's folders by their spelling.
        thumbnails: those made before.
        page: the page's files by name.
    """

    gallery: Gallery
    settings: ServerSettings
    searches: WorkQueue
    pictures: WorkQueue
    metrics: Metrics
    folders: FolderNames
    thumbnails: ThumbnailCache
    page: dict[str, PageFile]

    def check_gallery(self) -> None:
        """Tell trouble with the gallery's file from mistakes of who asks.

        Raises:
            HTTPException: 503, it cannot be read any more.
        """
        try:
            self.gallery.refresh()
        except MSEdgeError as error:
            self.metrics.gallery_unreadable()
            raise HTTPException(503, str(error)) from error

    def note_gallery(self) -> int:
        """Have the metrics show the gallery as it is now; how many photos it holds."""
        photos = self.gallery.photos
        self.metrics.gallery_seen(photos=photos, version=self.gallery.version)
        return photos

    def photo(self, photo: int) -> Photo:
        """A photo by its id.

        Raises:
            HTTPException: 404, there is none; 503, the gallery cannot be read any more.
        """
        try:
            return self.gallery.photo(photo)
        except DataError as error:
            self.check_gallery()
            raise HTTPException(404, f"photo {photo} is not in this gallery") from error

    def close(self) -> None:
        """Let its threads end and close its cache; the gallery stays open."""
        self.searches.close()
        self.pictures.close()
        self.thumbnails.close()


async def _service(request: Request) -> Service:  # else a thread would be wanted for each
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(_service)]
"""The type of a route's parameter that wants the service."""
