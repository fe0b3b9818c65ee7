"""Outlines on the page: around the thing, in cards and in the dialog, off the way of searches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, Request, expect

from drawing_page import CIRCLE, FAINT_TEXTS, LINE, UNNAMED, DrawingPage
from drawn_gallery import ServedGallery, write_gallery
from encoders import ColourEncoder, PlacedEncoder

SIZES = ((400, 300), (300, 400), (300, 300), (640, 300))
COUNT = 40
ANYWHERE = "1.jpg"
"""A photo that is red all over."""


def ball_of(number: int) -> tuple[int, int, int]:
    """Middle and radius of the red ball in a photo, which its card shows whole."""
    wide, high = SIZES[number % len(SIZES)]
    rng, radius = np.random.default_rng(number), 45
    middle, reach = (wide / 2, high / 2), min(wide, high) / 2 - radius - 8
    x, y = (m + float(rng.uniform(-reach, reach)) for m in middle)
    return round(x), round(y), radius


def write_scenes(folder: Path) -> Path:
    """Photos of a red ball at sea."""
    folder.mkdir()
    for number in range(COUNT):
        size = SIZES[number % len(SIZES)]
        rng = np.random.default_rng(number)
        image = Image.new("RGB", size, (110, 150 + number % 10, 210))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, size[1] * 0.6, *size), (90, int(rng.integers(120, 150)), 190))
        x, y, radius = ball_of(number)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), (220, 20, 30))
        image.save(folder / f"{number}.jpg", quality=92)
    Image.new("RGB", (300, 400), (220, 20, 30)).save(folder / ANYWHERE)
    return folder


@pytest.fixture(scope="session")
def placed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGallery]:
    folder, encoder = tmp_path_factory.mktemp("placed"), PlacedEncoder()
    write_gallery(folder / "photos.msedge", write_scenes(folder / "photos"), encoder)
    with ServedGallery(folder / "photos.msedge", encoder) as server:
        yield server


@pytest.fixture
def drawing(open_page, placed_server: ServedGallery) -> DrawingPage:
    return open_page(address=placed_server.address)


def outlines(drawing: DrawingPage) -> Locator:
    """The light lines in cards."""
    return drawing.page.locator(".card .where rect:last-child")


def told(page: Page) -> list[Request]:
    """The questions where it is, as they are sent from now on."""
    sent: list[Request] = []
    page.on("request", lambda one: sent.append(one) if one.url.endswith("api/where") else None)
    return sent


# For each outline in sight: its middle, and where the ball's is, in shares of the card's picture.
MIDDLES = """(rects) => rects.map((rect) => {
  const card = rect.closest(".card");
  const [photo, own] = [card.querySelector(".card-photo"), rect]
    .map((one) => one.getBoundingClientRect());
  return [card.querySelector(".card-photo").ariaLabel.match(/(\\d+)\\.jpg/)[1],
    (own.x + own.width / 2 - photo.x) / photo.width,
    (own.y + own.height / 2 - photo.y) / photo.height, own.width / photo.width];
})"""


class TestCards:
    def test_each_is_around_the_thing(self, drawing: DrawingPage, screenshots: Path):
        """Photos of all shapes are cut to squares, and outlines with them."""
        drawing.draw(CIRCLE)
        expect(outlines(drawing).first).to_be_attached()
        drawing.page.mouse.move(5, 5)
        drawing.page.wait_for_timeout(500)
        drawing.screenshot(screenshots / "where.png")
        shown = outlines(drawing).evaluate_all(MIDDLES)
        assert len(shown) >= 6
        for name, across, down, wide in shown:
            (x, y, _), (width, height) = ball_of(int(name)), SIZES[int(name) % len(SIZES)]
            side = min(width, height)
            assert abs(across - (0.5 + (x - width / 2) / side)) < 0.12, name
            assert abs(down - (0.5 + (y - height / 2) / side)) < 0.12, name
            assert 0.2 < wide < 0.7

    def test_none_around_nearly_all_of_a_photo(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        expect(outlines(drawing).first).to_be_attached()
        card = drawing.cards.filter(has=drawing.page.locator(f'[aria-label*=": {ANYWHERE},"]'))
        expect(card).to_have_count(1)
        expect(card.locator("rect")).to_have_count(0)

    def test_photos_in_view_alone_and_more_by_scrolling(self, drawing: DrawingPage):
        sent = told(drawing.page)
        drawing.draw(CIRCLE)
        expect(outlines(drawing).first).to_be_attached()
        del sent[:-1]  # those of a stroke under way
        first = sent[0].post_data_json["photos"]
        assert 0 < len(first) < COUNT
        drawing.cards.last.scroll_into_view_if_needed()
        expect(drawing.cards.last.locator("rect")).to_have_count(2)
        asked = [photo for one in sent for photo in one.post_data_json["photos"]]
        assert len(asked) == len(set(asked)) > len(first)

    def test_they_move_nothing(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        place = "all => all.map(one => JSON.stringify(one.getBoundingClientRect()))"
        before = drawing.page.locator(".card, .card *:not(.where *)").evaluate_all(place)
        expect(outlines(drawing).first).to_be_attached()
        drawing.page.wait_for_timeout(300)
        after = drawing.page.locator(".card, .card *:not(.where *)").evaluate_all(place)
        assert before == after

    def test_the_next_search_is_not_kept_waiting(self, drawing: DrawingPage):
        """What is under way is dropped, and outlines of another question go."""
        held: list[Request] = []
        dropped: list[Request] = []
        drawing.page.route("**/api/where", lambda route: held.append(route.request))
        drawing.page.on("requestfailed", lambda one: dropped.append(one))
        drawing.draw(CIRCLE)
        for _ in range(200):
            if held and held[-1] not in dropped:
                break
            drawing.page.wait_for_timeout(100)
        assert held[-1] not in dropped
        drawing.page.unroute("**/api/where")
        sent = told(drawing.page)
        drawing.draw(LINE)
        expect(outlines(drawing).first).to_be_attached()
        assert held[-1] in dropped
        assert len(sent[-1].post_data_json["strokes"]) == 2

    def test_what_goes_wrong_there_is_not_told(self, drawing: DrawingPage, watch):
        watch.allow("500")
        drawing.page.route(
            "**/api/where", lambda route: route.fulfill(status=500, json={"detail": "no"})
        )
        drawing.draw(CIRCLE)
        drawing.page.wait_for_timeout(800)
        expect(drawing.page.get_by_role("alert").filter(visible=True)).to_have_count(0)
        expect(outlines(drawing)).to_have_count(0)


class TestSwitch:
    def test_off_and_on_and_kept(self, drawing: DrawingPage):
        switch = drawing.button("Show where")
        drawing.draw(CIRCLE)
        expect(switch).to_have_attribute("aria-pressed", "true")
        expect(outlines(drawing).first).to_be_attached()
        switch.click()
        expect(switch).to_have_attribute("aria-pressed", "false")
        expect(outlines(drawing)).to_have_count(0)
        drawing.page.reload()
        sent = told(drawing.page)
        expect(drawing.cards.first).to_be_visible()
        drawing.page.wait_for_timeout(800)
        expect(switch).to_have_attribute("aria-pressed", "false")
        assert sent == []
        switch.click()
        expect(outlines(drawing).first).to_be_attached()

    def test_a_model_that_tells_no_places_is_not_asked(self, open_page, tmp_path):
        encoder, gallery = ColourEncoder(), tmp_path / "photos.msedge"
        write_gallery(gallery, write_scenes(tmp_path / "photos"), encoder)
        with ServedGallery(gallery, encoder) as server:
            drawing = open_page(address=server.address)
            sent = told(drawing.page)
            drawing.draw(CIRCLE)
            drawing.page.wait_for_timeout(800)
            expect(drawing.page.locator("#where")).to_be_hidden()
            drawing.page.close()
        assert sent == []


class TestDialog:
    def test_around_the_thing_and_in_words(self, drawing: DrawingPage, screenshots: Path):
        drawing.draw(CIRCLE)
        expect(outlines(drawing).first).to_be_attached()
        drawing.cards.nth(1).locator(".card-photo").click()
        page = drawing.page
        outline = page.locator(".photo-where rect:last-child")
        expect(outline).to_be_visible()
        expect(page.locator("#photo.loaded")).to_be_visible()
        name = page.locator(".photo-name").text_content() or ""
        number = int(name.partition(".")[0])
        (x, y, _), (width, height) = ball_of(number), SIZES[number % len(SIZES)]
        frame, own = page.locator(".photo-frame").bounding_box(), outline.bounding_box()
        assert frame is not None
        assert own is not None
        scale = min(frame["width"] / width, frame["height"] / height)
        across = frame["x"] + frame["width"] / 2 + (x - width / 2) * scale
        down = frame["y"] + frame["height"] / 2 + (y - height / 2) * scale
        assert abs(own["x"] + own["width"] / 2 - across) < 0.12 * width * scale
        assert abs(own["y"] + own["height"] / 2 - down) < 0.12 * height * scale
        expect(page.locator("dd.fact-where")).to_contain_text("% of the photo")
        page.wait_for_timeout(300)
        drawing.screenshot(screenshots / "where-photo.png")
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate(FAINT_TEXTS) == []

    def test_of_photos_that_are_leafed_to(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.cards.nth(1).locator(".card-photo").click()
        for _ in range(COUNT - 3):
            drawing.page.keyboard.press("ArrowRight")
        expect(drawing.page.locator(".photo-where rect")).to_have_count(2)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_telephone(open_page, placed_server, screenshots: Path, theme):
    drawing = open_page(
        address=placed_server.address,
        viewport={"width": 375, "height": 720},
        has_touch=True,
        color_scheme=theme,
    )
    drawing.draw(CIRCLE)
    expect(outlines(drawing).first).to_be_attached()
    drawing.page.wait_for_timeout(300)
    drawing.screenshot(screenshots / f"where-telephone-{theme}.png")
    assert drawing.page.evaluate("document.documentElement.scrollWidth") == 375
    assert drawing.page.evaluate(UNNAMED) == []
    assert drawing.page.evaluate(FAINT_TEXTS) == []
