"""A gallery of drawn photos and a server of it, for the tests in a browser."""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import uvicorn

from msedge.data.sample import draw_photo
from msedge.search.encoder import Encoder
from msedge.search.gallery import Gallery
from msedge.search.indexing import index
from msedge.search.ranking import Embeddings, Pixels
from msedge.search.stores import open_or_create
from msedge.search.stores.reports import Model
from msedge.server.app import ServerSettings, create_app
from msedge.server.running import address_of, bind

FOLDERS = {
    "at home": ("clock", "cup", "lamp"),
    "outside": ("house", "tree", "sailboat"),
    "outside/animals": ("fish", "snail"),
    "things": ("bicycle", "glasses", "umbrella"),
}
EACH = 5
PHOTOS = EACH * sum(len(names) for names in FOLDERS.values())
FIRST_DAY = 1_577_880_000.0  # noon of 2020-01-01; each photo was taken a day after the one before
_CROPS = ((0, 0, 240, 240), (0, 30, 240, 210), (40, 0, 200, 240))  # square, landscape, portrait


class HeldEncoder:
    """An encoder that a test can hold up, to see what a slow answer does."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.name, self.fingerprint = encoder.name, encoder.fingerprint
        self.dim, self.image_size = encoder.dim, encoder.image_size
        self.photo_sizes = encoder.photo_sizes
        self.bank = encoder.bank
        self.free = threading.Event()
        self.free.set()

    def photos(self, pixels: Pixels) -> Embeddings:
        return self._encoder.photos(pixels)

    def sketches(self, pixels: Pixels) -> Embeddings:
        assert self.free.wait(60)
        return self._encoder.sketches(pixels)

    def places(self, pixels: Pixels) -> npt.NDArray[np.float32] | None:
        return self._encoder.places(pixels)


def names_in(*folders: str) -> list[str]:
    """The photos that lie in these folders, in the order of their days."""
    return [
        f"{name} {number + 1}.jpg"
        for folder in folders
        for name in FOLDERS[folder]
        for number in range(EACH)
    ]


def write_photos(root: Path) -> Path:
    """Draw the photos; those of one class are alike in nothing but the class."""
    names = names_in(*FOLDERS)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
        for file_name in names_in(folder):
            name = file_name.split()[0]
            number = names.index(file_name)
            rng = np.random.default_rng([zlib.crc32(name.encode()), number % EACH])
            photo = draw_photo(name, rng, 240).crop(_CROPS[number % EACH % len(_CROPS)])
            photo.save(root / folder / file_name, quality=90)
            day = FIRST_DAY + 86_400 * number
            os.utime(root / folder / file_name, (day, day))
    return root


def write_gallery(gallery: Path, photos: Path, encoder: Encoder) -> Path:
    """Index a folder of photos."""
    index([photos], gallery, encoder)
    return gallery


def write_empty_gallery(gallery: Path, encoder: Encoder) -> Path:
    """A gallery without photos."""
    open_or_create(gallery, Model(encoder.name, encoder.fingerprint, encoder.dim)).close()
    return gallery


class ServedGallery:
    """A server in a thread that can be stopped and started again at the same address."""

    def __init__(self, gallery: Path, encoder: Encoder, **settings: object) -> None:
        self._gallery, self._encoder = gallery, encoder
        self._settings = ServerSettings(**settings)  # type: ignore[arg-type]
        self._port = 0
        self.address = ""

    def start(self) -> None:
        self._opened = Gallery.open(self._gallery, model=self._encoder)
        listening = bind("127.0.0.1", self._port)
        self._port = listening.getsockname()[1]
        self.address = address_of(listening)
        config = uvicorn.Config(
            create_app(self._opened, self._settings),
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._opened.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
