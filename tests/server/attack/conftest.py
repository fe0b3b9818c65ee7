"""Servers to attack, each looked at after every attack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attacked_server import TOKEN, AttackedServer, attacked, write_attacked_gallery

SECRET = b"this is nobody's business"


@pytest.fixture(scope="session")
def attacked_gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery, and beside it a file that nobody may see."""
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "secret.txt").write_bytes(SECRET)
    return write_attacked_gallery(folder)


@pytest.fixture(scope="session")
def open_server(attacked_gallery: Path) -> Iterator[AttackedServer]:
    """As ``msedge serve`` starts it without options."""
    with attacked(attacked_gallery) as server:
        yield server
        server.check_never_failed()


@pytest.fixture(scope="session")
def guarded_server(attacked_gallery: Path) -> Iterator[AttackedServer]:
    """One that asks for a token."""
    with attacked(attacked_gallery, token=TOKEN) as server:
        yield server
        server.check_never_failed()


@pytest.fixture(scope="session")
def impatient_server(attacked_gallery: Path) -> Iterator[AttackedServer]:
    """One that waits for nobody for long."""
    settings = {
        "header_seconds": 1.0,
        "idle_seconds": 1.0,
        "body_seconds": 1.0,
        "reader_seconds": 1.0,
        "most_connections": 100,
    }
    with attacked(attacked_gallery, settings=settings) as server:
        yield server
        server.check_never_failed()


@pytest.fixture
def server(open_server: AttackedServer) -> Iterator[AttackedServer]:
    """The same, unhurt after the test."""
    before = open_server.figures()
    yield open_server
    open_server.check_unhurt(before)


@pytest.fixture
def guarded(guarded_server: AttackedServer) -> Iterator[AttackedServer]:
    """The same, unhurt after the test."""
    before = guarded_server.figures()
    yield guarded_server
    guarded_server.check_unhurt(before)


@pytest.fixture
def impatient(impatient_server: AttackedServer) -> Iterator[AttackedServer]:
    """The same, unhurt after the test."""
    before = impatient_server.figures()
    yield impatient_server
    impatient_server.check_unhurt(before)
