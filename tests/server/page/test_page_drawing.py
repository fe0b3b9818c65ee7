"""Drawing, and taking it back: the photos follow the hand."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from drawing_page import BELL, CIRCLE, CLOCK, HANDS, LEGS, LINE, DrawingPage
from drawn_gallery import PHOTOS, HeldEncoder

FIRST_PAGE = 48
KEPT = "document.querySelectorAll('.card').forEach(card => card.kept = true)"


class TestDrawing:
    def test_photos_by_falling_similarity(self, drawing: DrawingPage, screenshots: Path):
        expect(drawing.start).to_be_visible()
        drawing.draw(*CLOCK)
        expect(drawing.cards).to_have_count(FIRST_PAGE)
        ranks = drawing.page.locator(".rank").all_text_contents()
        assert ranks == [str(rank) for rank in range(1, FIRST_PAGE + 1)]
        similarities = [float(text.replace("\u2212", "-")) for text in drawing.similarities]
        assert similarities == sorted(similarities, reverse=True)
        expect(drawing.start).to_be_hidden()
        first = drawing.page.locator(".card img").first
        first.evaluate("image => image.decode()")
        assert first.evaluate("image => image.naturalWidth") > 0
        expect(drawing.page.locator(".card .where rect").first).to_be_attached()
        drawing.page.wait_for_timeout(300)  # the other thumbnails, for the picture's sake
        drawing.screenshot(screenshots / "page.png")

    def test_more_strokes_other_photos(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        before = drawing.ids, drawing.similarities
        drawing.draw(HANDS, LEGS, BELL)
        assert (drawing.ids, drawing.similarities) != before
        assert drawing.strokes == 4

    def test_photos_come_before_the_stroke_ends(self, drawing: DrawingPage):
        drawing.press_and_move(CIRCLE)
        expect(drawing.cards).to_have_count(FIRST_PAGE)
        assert drawing.strokes == 0
        assert drawing.asked == {}
        drawing.page.mouse.up()
        assert drawing.settle().strokes == 1

    def test_a_dot_is_a_drawing(self, drawing: DrawingPage):
        drawing.draw([(0.5, 0.5)])
        assert drawing.strokes == 1
        assert drawing.ink > 0

    def test_a_hand_that_slips_over_the_edge(self, drawing: DrawingPage):
        drawing.draw([(0.5, 0.5), (1.4, -0.3), (0.5, 0.9)])
        assert drawing.strokes == 1
        expect(drawing.cards).to_have_count(FIRST_PAGE)

    def test_sharp_on_fine_screens(self, open_page):
        drawing = open_page(device_scale_factor=2)
        side = drawing.sheet.evaluate(
            "sheet => [sheet.width, Math.round(2 * sheet.getBoundingClientRect().width)]"
        )
        assert side[0] == side[1]


class TestTakingBack:
    def test_undo_and_redo(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        one = drawing.similarities, drawing.ink
        drawing.draw(HANDS)
        two = drawing.similarities, drawing.ink
        drawing.click("Undo")
        assert (drawing.similarities, drawing.ink) == one
        drawing.click("Redo")
        assert (drawing.similarities, drawing.ink) == two
        drawing.page.keyboard.press("Control+z")
        assert drawing.settle().similarities == one[0]
        drawing.page.keyboard.press("Control+Shift+Z")
        assert drawing.settle().similarities == two[0]
        drawing.page.keyboard.press("Control+z")
        drawing.page.keyboard.press("Control+y")
        assert drawing.settle().strokes == 2

    def test_undo_to_nothing(self, drawing: DrawingPage):
        drawing.draw(CIRCLE).click("Undo")
        expect(drawing.cards).to_have_count(0)
        expect(drawing.start).to_be_visible()
        expect(drawing.button("Undo")).to_be_disabled()
        assert drawing.ink == 0

    def test_drawing_on_forgets_what_was_undone(self, drawing: DrawingPage):
        drawing.draw(CIRCLE, HANDS).click("Undo")
        drawing.draw(LINE)
        expect(drawing.button("Redo")).to_be_disabled()

    def test_eraser_takes_the_stroke_that_is_touched(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        circle = drawing.ink
        drawing.draw(LEGS)
        drawing.click("Erase")
        expect(drawing.button("Erase")).to_have_attribute("aria-pressed", "true")
        drawing.draw([LEGS[0], LEGS[1]])
        assert drawing.strokes == 1
        assert drawing.ink == circle
        drawing.draw([(0.5, 0.5)])  # no stroke there
        assert drawing.strokes == 1
        drawing.click("Undo")
        assert drawing.strokes == 2

    def test_delete_takes_the_stroke_that_is_pointed_at(self, drawing: DrawingPage):
        drawing.draw(CIRCLE, HANDS)
        drawing.page.mouse.move(*drawing.place(HANDS[1]))
        drawing.page.keyboard.press("Delete")
        assert drawing.settle().strokes == 1
        drawing.page.mouse.move(*drawing.place((0.05, 0.05)))
        drawing.page.keyboard.press("Delete")
        expect(drawing.said).to_have_text("Point at a stroke to erase it")
        assert drawing.strokes == 1

    def test_clear_is_one_step(self, drawing: DrawingPage):
        drawing.draw(CIRCLE, HANDS).click("Clear")
        assert drawing.strokes == 0
        expect(drawing.button("Clear")).to_be_disabled()
        drawing.click("Undo")
        assert drawing.strokes == 2


class TestGrid:
    def test_a_photo_that_stays_keeps_its_element(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.page.evaluate(KEPT)
        before = set(drawing.ids)
        drawing.cards.nth(5).locator(".more").click()
        drawing.settle()
        kept = drawing.page.evaluate(
            "[...document.querySelectorAll('.card')].filter(card => card.kept)"
            ".map(card => Number(card.dataset.id))"
        )
        assert set(kept) == before & set(drawing.ids)
        assert kept

    def test_boxes_stand_before_their_thumbnails(self, drawing: DrawingPage, watch):
        watch.allow("ERR_FAILED")
        drawing.page.route("**/thumbnail", lambda route: route.abort())
        drawing.draw(CIRCLE)
        boxes = drawing.page.eval_on_selector_all(
            ".card-photo", "all => all.map(one => [one.offsetWidth, one.offsetHeight])"
        )
        assert all(abs(width - height) <= 1 for width, height in boxes)
        expect(drawing.page.get_by_text("This photo cannot be shown").first).to_be_visible()

    def test_more_photos(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        first = drawing.ids
        drawing.click("More photos")
        expect(drawing.cards).to_have_count(PHOTOS)
        assert drawing.ids[: len(first)] == first
        expect(drawing.button("More photos")).to_be_hidden()


class TestAnswers:
    def test_a_late_answer_is_dropped(self, drawing: DrawingPage, encoder: HeldEncoder):
        encoder.free.clear()
        try:
            drawing.press_and_move(CIRCLE)
            drawing.page.mouse.up()
            drawing.page.wait_for_timeout(400)  # the question is under way
            drawing.click("Clear")
        finally:
            encoder.free.set()
        drawing.page.wait_for_timeout(500)
        expect(drawing.cards).to_have_count(0)
        assert drawing.draw(HANDS).strokes == 1

    def test_a_slow_answer_is_said(self, drawing: DrawingPage, encoder: HeldEncoder):
        encoder.free.clear()
        try:
            drawing.press_and_move(CIRCLE)
            drawing.page.mouse.up()
            expect(drawing.page.get_by_text("Still looking…")).to_be_visible()
        finally:
            encoder.free.set()
        expect(drawing.cards).to_have_count(FIRST_PAGE)
        expect(drawing.page.get_by_text("Still looking…")).to_be_hidden()

    def test_results_are_read_out(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        expect(drawing.said).to_contain_text(f"{FIRST_PAGE} photos found. Closest: ")
