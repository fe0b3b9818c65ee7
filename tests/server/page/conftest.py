"""A real browser, and a real server of photos that the shipped model has looked at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from drawing_page import DrawingPage
from drawn_gallery import HeldEncoder, ServedGallery, write_gallery, write_photos
from msedge.search.encoder import OnnxEncoder

Open = Callable[..., DrawingPage]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def find_chromium() -> str | None:
    named = os.environ.get("MSEDGE_CHROMIUM")
    places = [named] if named else ["/usr/bin/chromium", shutil.which("chromium")]
    return next((place for place in places if place and Path(place).is_file()), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, or the one that MSEDGE_CHROMIUM names.

    For a module, not for the session: while Playwright is open, an event loop is running in
    this thread, and no test after it could start one of its own.
    """
    chromium = find_chromium()
    if chromium is None:
        reason = "no Chromium: install it, or name its program in MSEDGE_CHROMIUM"
        if os.environ.get("MSEDGE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def encoder() -> HeldEncoder:
    """The shipped model, which a test can hold up."""
    return HeldEncoder(OnnxEncoder.load("msedge-lite", threads=1))


@pytest.fixture(scope="session")
def drawn_gallery(tmp_path_factory: pytest.TempPathFactory, encoder: HeldEncoder) -> Path:
    """Photos of drawn objects in four folders, indexed; not to be changed."""
    folder = tmp_path_factory.mktemp("drawn")
    return write_gallery(folder / "photos.msedge", write_photos(folder / "photos"), encoder)


@pytest.fixture(scope="session")
def server(drawn_gallery: Path, encoder: HeldEncoder) -> Iterator[ServedGallery]:
    """A server on a free port; not to be stopped."""
    with ServedGallery(drawn_gallery, encoder) as server:
        yield server


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures of the page go; MSEDGE_SCREENSHOTS keeps them."""
    folder = Path(os.environ.get("MSEDGE_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Watch:
    """What must not happen on any page: requests to elsewhere, errors, breaches of the policy."""

    def __init__(self) -> None:
        self.allowed: list[str] = []
        self.faults: list[str] = []

    def follow(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("request", self._see)

    def allow(self, text: str) -> None:
        """Expect lines of the console that hold this."""
        self.allowed.append(text)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.faults.append(f"request to {request.url}")

    def check(self) -> None:
        faults = [fault for fault in self.faults if not any(text in fault for text in self.allowed)]
        assert faults == []


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Watches every page of a test."""
    watch = Watch()
    yield watch
    watch.check()


@pytest.fixture
def open_page(browser: Browser, server: ServedGallery, watch: Watch) -> Iterator[Open]:
    """Open the page in a browser of its own; options of a browser's context may be given."""
    with ExitStack() as stack:

        def opened(fragment: str = "", *, address: str | None = None, **options: Any):
            options = {"viewport": {"width": 1280, "height": 800}, **options}
            context = stack.enter_context(browser.new_context(**options))
            page = context.new_page()
            watch.follow(page)
            return DrawingPage(page).open((address or server.address) + fragment)

        yield opened


@pytest.fixture
def drawing(open_page: Open) -> DrawingPage:
    """The page on a desktop screen."""
    return open_page()
