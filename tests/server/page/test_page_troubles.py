"""What goes wrong is said, and mended where it can be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from drawing_page import CIRCLE, CLOCK, HANDS, DrawingPage
from drawn_gallery import (
    PHOTOS,
    HeldEncoder,
    ServedGallery,
    write_empty_gallery,
    write_gallery,
    write_photos,
)

TOKEN = "a-token-of-some-length"


@pytest.fixture
def own_server(drawn_gallery: Path, encoder: HeldEncoder) -> Iterator[ServedGallery]:
    """A server for a test that stops it."""
    with ServedGallery(drawn_gallery, encoder) as server:
        yield server


class TestLostConnection:
    def test_said_and_found_again(self, open_page, own_server: ServedGallery, watch):
        watch.allow("ERR_CONNECTION_REFUSED")
        drawing: DrawingPage = open_page(address=own_server.address)
        drawing.draw(CIRCLE)
        before = drawing.similarities
        own_server.stop()
        drawing.draw(HANDS)
        expect(drawing.alert("No connection to msedge")).to_be_visible()
        assert drawing.similarities == before  # what was found stays in sight
        own_server.start()
        expect(drawing.alert("No connection")).to_be_hidden()
        expect(drawing.page.locator(".score-number").first).not_to_have_text(before[0])
        assert drawing.strokes == 2
        expect(drawing.said).to_contain_text("found")

    def test_trying_now(self, open_page, own_server: ServedGallery, watch):
        watch.allow("ERR_CONNECTION_REFUSED")
        drawing: DrawingPage = open_page(address=own_server.address)
        own_server.stop()
        drawing.draw(CIRCLE)
        expect(drawing.alert("Trying again in")).to_be_visible()
        own_server.start()
        drawing.button("Try now").click()
        expect(drawing.cards).to_have_count(48)
        expect(drawing.alert("No connection")).to_be_hidden()

    def test_it_asks_ever_less_often(self, open_page, own_server: ServedGallery, watch):
        watch.allow("ERR_CONNECTION_REFUSED")
        drawing: DrawingPage = open_page(address=own_server.address)
        drawing.page.clock.install()
        own_server.stop()
        asked: list[str] = []
        drawing.page.on("requestfailed", lambda request: asked.append(request.url))
        drawing.press_and_move(CIRCLE)
        drawing.page.mouse.up()
        for _ in range(60):
            drawing.page.clock.run_for(1000)
        own_server.start()
        health = [url for url in asked if url.endswith("healthz")]
        assert 3 <= len(health) <= 9


class TestRefusals:
    def test_the_servers_own_words(self, drawing: DrawingPage, watch):
        watch.allow("400")

        def refuse(route: Route) -> None:
            route.fulfill(status=400, json={"detail": "the drawing is upside down"})

        drawing.draw(CIRCLE)
        drawing.page.route("**/api/search", refuse)
        drawing.draw(HANDS)
        expect(drawing.alert("the drawing is upside down.")).to_be_visible()
        expect(drawing.grid).to_have_class("grid stale")
        drawing.page.unroute("**/api/search")
        drawing.click("Undo")
        expect(drawing.alert("upside down")).to_be_hidden()
        expect(drawing.grid).to_have_class("grid")

    def test_busy_is_tried_again(self, drawing: DrawingPage, watch):
        watch.allow("503")
        answers = []

        def turn_away(route: Route) -> None:
            answers.append(route)
            if len(answers) > 1:
                route.continue_()
                return
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "too many"})

        drawing.page.route("**/api/search", turn_away)
        drawing.draw([(0.5, 0.5)])
        expect(drawing.cards).to_have_count(48)
        assert len(answers) >= 2

    def test_a_proxys_page_is_no_answer(self, drawing: DrawingPage, watch):
        watch.allow("502")
        drawing.page.route(
            "**/api/search", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>")
        )
        drawing.draw(CIRCLE)
        expect(drawing.alert("the server answered 502")).to_be_visible()


class TestEmptyGallery:
    def test_said_with_the_way_out_until_photos_come(
        self, open_page, tmp_path: Path, encoder: HeldEncoder, screenshots: Path
    ):
        path = write_empty_gallery(tmp_path / "new.msedge", encoder)
        with ServedGallery(path, encoder) as server:
            drawing: DrawingPage = open_page(address=server.address)
            expect(drawing.page.get_by_text("This gallery has no photos yet")).to_be_visible()
            code = drawing.page.get_by_text("msedge index PHOTOS --gallery new.msedge")
            expect(code).to_be_visible()
            drawing.draw(*CLOCK)
            expect(drawing.cards).to_have_count(0)
            drawing.screenshot(screenshots / "empty.png")
            write_gallery(path, write_photos(tmp_path / "photos"), encoder)
            expect(drawing.cards).to_have_count(48)
            expect(drawing.page.get_by_text(f"{PHOTOS} photos in new.msedge")).to_be_visible()
            drawing.page.close()  # before the server ends


class TestToken:
    @pytest.fixture
    def guarded(self, drawn_gallery: Path, encoder: HeldEncoder) -> Iterator[ServedGallery]:
        with ServedGallery(drawn_gallery, encoder, token=TOKEN) as server:
            yield server

    def test_kept_in_the_tab_and_out_of_the_address(self, guarded: ServedGallery, open_page):
        drawing: DrawingPage = open_page(f"#token={TOKEN}", address=guarded.address)
        assert TOKEN not in drawing.page.url
        drawing.draw(CIRCLE)
        assert TOKEN not in drawing.page.url
        image = drawing.page.locator(".card img").first
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") > 0
        drawing.page.reload()
        expect(drawing.cards).to_have_count(48)
        assert "token" not in json.dumps(drawing.page.evaluate("({...localStorage})"))

    def test_without_it_the_way_is_said(self, guarded: ServedGallery, open_page, watch):
        watch.allow("401")
        drawing: DrawingPage = open_page(address=guarded.address)
        expect(drawing.alert("asks for a token")).to_be_visible()
        drawing.page.evaluate("token => { location.hash = 'token=' + token; }", TOKEN)
        expect(drawing.page.get_by_text("photos in photos.msedge")).to_be_visible()
        drawing.draw(CIRCLE)
        expect(drawing.cards).to_have_count(48)
        expect(drawing.alert("asks for a token")).to_be_hidden()
