"""Photos as part of the question, and photos seen large."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect

from drawing_page import CIRCLE, CLOCK, HANDS, DrawingPage


def like(drawing: DrawingPage, place: int, button: str = ".more") -> int:
    """Press a button of the card at a place; return its photo."""
    photo = drawing.ids[place]
    drawing.cards.nth(place).locator(button).click()
    drawing.settle()
    return photo


class TestExamples:
    def test_more_like_this(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        before = drawing.similarities
        photo = like(drawing, 3)
        assert drawing.similarities != before
        assert drawing.asked["like"] == str(photo)
        expect(drawing.chips).to_have_count(1)
        expect(drawing.chips).to_contain_text("Like this")
        drawing.chips.get_by_role("button").click()
        assert drawing.settle().similarities == before
        expect(drawing.chips).to_have_count(0)

    def test_not_this(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        photo = like(drawing, 0, ".not")
        assert photo not in drawing.ids
        expect(drawing.chips).to_contain_text("Not this")
        drawing.click("Undo")
        assert drawing.ids[0] == photo

    def test_a_photo_is_liked_or_not(self, open_page):
        drawing = open_page("#like=3&not=4")
        photo = drawing.ids.index(3)
        like(drawing, photo, ".not")
        assert drawing.asked == {"not": "4,3"}
        expect(drawing.page.get_by_text("Not that. But what?")).to_be_visible()

    def test_without_a_drawing(self, open_page):
        drawing = open_page("#like=5")
        assert drawing.ids[0] == 5
        assert drawing.strokes == 0

    def test_the_drawing_is_left(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        photo = like(drawing, 1)
        drawing.click("Clear")
        expect(drawing.chips).to_have_count(0)
        drawing.click("Undo")
        assert drawing.asked["like"] == str(photo)

    def test_enough_is_enough(self, open_page):
        drawing = open_page("#like=" + ",".join(str(photo) for photo in range(1, 13)))
        expect(drawing.chips).to_have_count(12)
        place = next(i for i, photo in enumerate(drawing.ids) if photo > 12)
        like(drawing, place)
        expect(drawing.alert("enough")).to_be_visible()
        expect(drawing.chips).to_have_count(12)


class TestPhotoDialog:
    def test_what_is_known_of_it(self, drawing: DrawingPage, screenshots: Path):
        drawing.draw(*CLOCK)
        drawing.cards.first.locator(".card-photo").click()
        dialog = drawing.page.get_by_role("dialog")
        name = dialog.get_by_role("heading").text_content() or ""
        assert name.endswith(".jpg")
        facts = dialog.locator("dd").all_text_contents()
        score = drawing.similarities[0]
        assert facts[:2] == ["1", score]
        assert float(score) < float(facts[2]) <= 1  # the similarity, which its hubness is taken off
        assert "photos" in facts[3]
        assert "2020" in facts[4]
        large = dialog.get_by_role("img", name=name)
        large.evaluate("image => image.decode()")
        width, height = large.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert facts[5] == f"{width} \u00d7 {height} pixels"
        expect(dialog).to_have_class("photo loaded")
        drawing.screenshot(screenshots / "photo.png")

    def test_leafing(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.cards.first.locator(".card-photo").click()
        heading = drawing.page.get_by_role("dialog").get_by_role("heading")
        first = heading.text_content()
        expect(drawing.button("Photo before")).to_be_disabled()
        drawing.page.keyboard.press("ArrowRight")
        expect(heading).not_to_have_text(first or "")
        drawing.page.keyboard.press("ArrowLeft")
        expect(heading).to_have_text(first or "")
        drawing.button("Next photo").click()
        drawing.page.keyboard.press("Escape")
        expect(drawing.page.get_by_role("dialog")).to_be_hidden()
        expect(drawing.cards.nth(1).locator(".card-photo")).to_be_focused()

    def test_back_closes_it(self, drawing: DrawingPage):
        drawing.draw(CIRCLE, HANDS)
        address = drawing.page.url
        drawing.cards.first.locator(".card-photo").click()
        dialog = drawing.page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        drawing.page.go_back()
        expect(dialog).to_be_hidden()
        assert (drawing.page.url, drawing.strokes) == (address, 2)
        drawing.page.go_forward()
        expect(dialog).to_be_visible()
        drawing.button("Close").click()
        expect(dialog).to_be_hidden()
        assert drawing.page.url == address

    def test_more_from_it(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        photo = drawing.ids[2]
        drawing.cards.nth(2).locator(".card-photo").click()
        dialog = drawing.page.get_by_role("dialog")
        dialog.get_by_role("button", name="More like this").click()
        expect(dialog).to_be_hidden()
        drawing.settle()
        assert drawing.asked["like"] == str(photo)
        drawing.page.go_back()
        expect(drawing.chips).to_have_count(0)
        expect(dialog).to_be_hidden()
        assert drawing.strokes == 1


class TestDownload:
    def test_results_as_json(self, drawing: DrawingPage, tmp_path: Path):
        drawing.draw(CIRCLE)
        with drawing.page.expect_download() as started:
            drawing.button("Save the results as JSON").click()
        saved = tmp_path / started.value.suggested_filename
        started.value.save_as(saved)
        content = json.loads(saved.read_text(encoding="utf-8"))
        assert [hit["id"] for hit in content["hits"]] == drawing.ids
        assert len(content["question"]["strokes"]) == 1
        assert saved.name == "msedge-results.json"

    def test_not_without_results(self, drawing: DrawingPage):
        expect(drawing.button("Save the results as JSON")).to_be_hidden()
