"""The same page on a telephone, in the dark, and without a mouse."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from drawing_page import CIRCLE, CLOCK, FAINT_TEXTS, HANDS, UNNAMED, DrawingPage

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
SIZES = [(320, 640), (390, 844), (844, 390), (768, 1024), (1024, 768), (1920, 1080)]


class TestPhone:
    def test_drawing_with_a_finger(self, open_page, screenshots: Path):
        drawing = open_page(**PHONE)
        touchscreen = drawing.page.context.new_cdp_session(drawing.page)
        for stroke in CLOCK:
            drawing.touch(touchscreen, stroke)
        expect(drawing.cards).to_have_count(48)
        assert drawing.settle().strokes == len(CLOCK)
        moved = drawing.page.evaluate("[scrollX, scrollY, visualViewport.scale]")
        assert moved == [0, 0, 1]
        sheet, first = drawing.sheet.bounding_box(), drawing.cards.first.bounding_box()
        assert sheet is not None
        assert first is not None
        assert first["y"] >= sheet["y"] + sheet["height"]
        assert first["y"] < PHONE["viewport"]["height"]
        drawing.page.wait_for_timeout(300)
        drawing.screenshot(screenshots / "phone.png")

    def test_a_second_finger_does_not_draw(self, open_page):
        drawing = open_page(**PHONE)
        touchscreen = drawing.page.context.new_cdp_session(drawing.page)
        one, other = drawing.place((0.3, 0.3)), drawing.place((0.7, 0.7))
        fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate((one, other))]
        down = [{**finger, "y": finger["y"] + 40} for finger in fingers]
        for kind, places in (
            ("touchStart", fingers[:1]),
            ("touchStart", fingers),
            ("touchMove", down),
            ("touchEnd", []),
        ):
            touchscreen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
        assert drawing.settle().strokes == 1
        farthest = drawing.page.evaluate(
            "async code => (await import('/page/stroke_code.js')).decodeStrokes(code)"
            ".flatMap(stroke => stroke.xs).reduce((a, b) => Math.max(a, b))",
            drawing.asked["draw"],
        )
        assert farthest < 512

    def test_the_page_scrolls_beside_the_sheet(self, open_page):
        drawing = open_page(**PHONE)
        assert drawing.sheet.evaluate("sheet => getComputedStyle(sheet).touchAction") == "none"
        drawing.draw(CIRCLE)
        drawing.cards.nth(20).scroll_into_view_if_needed()
        assert drawing.page.evaluate("scrollY") > 0

    def test_filters_open_on_demand(self, open_page):
        drawing = open_page(**PHONE)
        drawing.draw(CIRCLE)
        expect(drawing.page.get_by_label("Folder")).to_be_hidden()
        drawing.button("Filters").click()
        drawing.page.get_by_label("Shape").select_option("Portrait")
        drawing.settle()
        expect(drawing.button("Filters (1)")).to_have_attribute("aria-expanded", "true")

    def test_fingers_find_their_buttons(self, open_page):
        drawing = open_page(**PHONE)
        drawing.draw(CIRCLE)
        small = drawing.page.eval_on_selector_all(
            "button, select, input[type=date]",
            "all => all.filter(one => one.checkVisibility({visibilityProperty: true}))"
            ".map(one => [one.textContent, one.offsetWidth, one.offsetHeight])"
            ".filter(([, width, height]) => width < 40 || height < 40)",
        )
        assert small == []


class TestSizes:
    def test_nothing_overflows(self, open_page):
        drawing = open_page()
        drawing.draw(CIRCLE)
        drawing.cards.first.locator(".more").click()
        drawing.settle()
        for width, height in SIZES:
            drawing.page.set_viewport_size({"width": width, "height": height})
            inner = drawing.page.evaluate("document.documentElement.scrollWidth")
            assert inner <= width, (width, height)
            sheet = drawing.sheet.bounding_box()
            assert sheet is not None
            assert abs(sheet["width"] - sheet["height"]) < 1
            assert sheet["height"] <= height, (width, height)


class TestColours:
    def test_dark_as_the_system(self, open_page, screenshots: Path):
        drawing = open_page(color_scheme="dark")
        drawing.draw(*CLOCK)
        ground = drawing.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert max(int(level) for level in ground[4:-1].split(",")) < 60
        drawing.page.wait_for_timeout(300)
        drawing.screenshot(screenshots / "dark.png")

    def test_the_switch_is_remembered(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.button("Switch to dark colours").click()
        expect(drawing.page.locator("html")).to_have_attribute("data-theme", "dark")
        drawing.page.reload()
        drawing.settle()
        expect(drawing.page.locator("html")).to_have_attribute("data-theme", "dark")
        drawing.button("Switch to light colours").click()
        expect(drawing.page.locator("html")).to_have_attribute("data-theme", "light")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast(self, open_page, scheme: str):
        drawing = open_page(color_scheme=scheme)
        assert drawing.page.evaluate(FAINT_TEXTS) == []
        drawing.draw(CIRCLE, HANDS)
        drawing.cards.first.locator(".more").click()
        drawing.settle().cards.nth(1).locator(".not").click()
        drawing.settle().click("Erase")
        assert drawing.page.evaluate(FAINT_TEXTS) == []
        drawing.cards.first.locator(".card-photo").click()
        assert drawing.page.evaluate(FAINT_TEXTS) == []
        drawing.button("Close").click()
        drawing.button("Help").click()
        assert drawing.page.evaluate(FAINT_TEXTS) == []


class TestListeners:
    def test_everything_has_a_name(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.cards.first.locator(".more").click()
        drawing.settle().cards.first.locator(".card-photo").click()
        assert drawing.page.evaluate(UNNAMED) == []
        assert drawing.page.locator("h1").count() == 1
        assert drawing.page.locator("html").get_attribute("lang") == "en"

    def test_landmarks_and_lists(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        page = drawing.page
        for role, name in (
            ("region", "Your drawing"),
            ("region", "Photos"),
            ("group", "Drawing tools"),
            ("list", "Photos found, closest first"),
        ):
            expect(page.get_by_role(role, name=name, exact=True)).to_be_visible()
        expect(page.get_by_role("main")).to_be_visible()
        expect(page.get_by_role("banner")).to_be_visible()
        found = page.get_by_role("list", name="Photos found").get_by_role("listitem")
        expect(found).to_have_count(48)
        first = found.first.get_by_role("button", name="Rank 1: ")
        name = first.get_attribute("aria-label") or ""
        assert f"score {drawing.similarities[0]}" in name


class TestKeyboardAlone:
    def test_draw_find_and_open(self, drawing: DrawingPage):
        press = drawing.page.keyboard.press
        while not drawing.sheet.evaluate("sheet => sheet === document.activeElement"):
            press("Tab")
        press("Shift+ArrowLeft")
        press("Space")
        expect(drawing.said).to_have_text("Pen down")
        for key in ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"):
            press(f"Shift+{key}")
            press(key)
        press("Space")
        assert drawing.settle().strokes == 1
        expect(drawing.cards).to_have_count(48)
        press("Delete")
        assert drawing.settle().strokes == 0
        press("Control+z")
        drawing.settle()
        while not drawing.cards.first.evaluate("card => card.contains(document.activeElement)"):
            press("Tab")
        press("ArrowRight")
        press("ArrowDown")
        press("Enter")
        dialog = drawing.page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        expect(drawing.button("Close")).to_be_focused()
        press("Escape")
        expect(dialog).to_be_hidden()
        press("Tab")  # to "More like this" of that photo
        press("Enter")
        expect(drawing.chips).to_have_count(1)

    def test_the_pen_and_the_focus_are_seen(self, drawing: DrawingPage):
        press = drawing.page.keyboard.press
        assert drawing.ink == 0
        while not drawing.sheet.evaluate("sheet => sheet === document.activeElement"):
            press("Tab")
        assert drawing.ink > 0  # the pen's cross
        width = drawing.sheet.evaluate("sheet => getComputedStyle(sheet).outlineWidth")
        assert float(width.removesuffix("px")) >= 2
        press("Tab")
        assert drawing.ink == 0

    def test_leaving_the_sheet_lifts_the_pen(self, drawing: DrawingPage):
        drawing.sheet.focus()
        for key in ("Space", "ArrowRight", "Tab"):
            drawing.page.keyboard.press(key)
        assert drawing.settle().strokes == 1

    def test_keys_are_left_to_fields(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.page.get_by_label("Folder").focus()
        drawing.page.keyboard.press("e")
        expect(drawing.button("Erase")).to_have_attribute("aria-pressed", "false")
        drawing.sheet.focus()
        drawing.page.keyboard.press("e")
        expect(drawing.button("Erase")).to_have_attribute("aria-pressed", "true")

    def test_help(self, drawing: DrawingPage):
        drawing.page.keyboard.press("?")
        help_ = drawing.page.get_by_role("dialog", name="Help")
        expect(help_).to_be_visible()
        for name in ("undo", "redo", "eraser", "Drawing with the keyboard"):
            expect(help_.get_by_text(name).first).to_be_visible()
        drawing.page.keyboard.press("Escape")
        expect(help_).to_be_hidden()

    def test_skipping_keeps_the_address(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        address = drawing.page.url
        drawing.page.get_by_role("link", name="Skip to the photos").focus()
        drawing.page.keyboard.press("Enter")
        expect(drawing.grid).to_be_focused()
        assert drawing.page.url == address
