"""A gallery of real files, and an application that serves it without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from msedge.search.gallery import Gallery
from msedge.server.app import ServerSettings, create_app
from served import ENCODER, write_gallery, write_photos


def client_of(gallery: Gallery, settings: ServerSettings | None = None) -> TestClient:
    """Who asks an application that serves a gallery."""
    return TestClient(create_app(gallery, settings), base_url="http://localhost:8765")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six photos in three folders, one in each format; ids 1 to 6 in the gallery."""
    return write_photos(tmp_path_factory.mktemp("served") / "photos")


@pytest.fixture(scope="session")
def gallery(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """The six photos, indexed; not to be changed."""
    path = write_gallery(tmp_path_factory.mktemp("gallery") / "photos.msedge", photos)
    with Gallery.open(path, model=ENCODER) as opened:
        yield opened


@pytest.fixture(scope="session")
def client(gallery: Gallery) -> Iterator[TestClient]:
    """Who asks a server with the settings that it has by itself."""
    with client_of(gallery) as asking:
        yield asking


@pytest.fixture
def connect(gallery: Gallery) -> Iterator[Callable[..., TestClient]]:
    """Start an application with some settings, and give who asks it."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(client_of(gallery, ServerSettings(**settings)))


@pytest.fixture
def own_photos(tmp_path: Path) -> list[Path]:
    """The same six, for a test that changes them."""
    return write_photos(tmp_path / "photos")


@pytest.fixture
def own_gallery(tmp_path: Path, own_photos: list[Path]) -> Iterator[Gallery]:
    """A gallery for a test that changes it."""
    path = write_gallery(tmp_path / "photos.msedge", own_photos)
    with Gallery.open(path, model=ENCODER) as opened:
        yield opened


@pytest.fixture
def own_client(own_gallery: Gallery) -> Iterator[TestClient]:
    """Who asks a server of it."""
    with client_of(own_gallery) as asking:
        yield asking
