"""A picture as the query: chosen, pasted, dropped."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from drawing_page import CIRCLE, DrawingPage
from msedge.data.sample import draw_sketch

HAND_OVER = """([kind, base64, type, name]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def sketch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawing as a file."""
    path = tmp_path_factory.mktemp("sketch") / "my clock.png"
    draw_sketch("clock", np.random.default_rng(3), 200).save(path)
    return path


def hand_over(
    drawing: DrawingPage, kind: str, content: bytes, type_: str = "image/png", name: str = "a.png"
) -> None:
    text = base64.b64encode(content).decode()
    drawing.page.evaluate(HAND_OVER, [kind, text, type_, name])


class TestWaysIn:
    def test_chosen(self, drawing: DrawingPage, sketch: Path):
        with drawing.page.expect_file_chooser() as chooser:
            drawing.button("Picture").click()
        chooser.value.set_files(sketch)
        expect(drawing.chips).to_contain_text("Your picture")
        expect(drawing.cards).to_have_count(48)
        assert drawing.strokes == 0
        alone = drawing.settle().similarities
        drawing.draw(CIRCLE)
        assert drawing.similarities != alone
        drawing.button("Remove my clock.png").click()
        expect(drawing.chips).to_have_count(0)
        assert drawing.settle().similarities != alone

    def test_pasted_and_dropped_are_one(self, drawing: DrawingPage, sketch: Path, open_page):
        hand_over(drawing, "paste", sketch.read_bytes())
        expect(drawing.cards).to_have_count(48)
        other = open_page()
        hand_over(other, "dragenter", sketch.read_bytes())
        expect(other.page.get_by_text("Drop the picture here")).to_be_visible()
        hand_over(other, "drop", sketch.read_bytes())
        expect(other.cards).to_have_count(48)
        expect(other.page.get_by_text("Drop the picture here")).to_be_hidden()
        assert other.settle().similarities == drawing.settle().similarities

    def test_a_vector_drawing(self, drawing: DrawingPage):
        svg = (
            b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90">'
            b'<circle cx="45" cy="45" r="30" fill="none" stroke="black" stroke-width="3"/></svg>'
        )
        hand_over(drawing, "paste", svg, "image/svg+xml", "circle.svg")
        expect(drawing.cards).to_have_count(48)


class TestKeeping:
    def test_reload_keeps_it_in_the_tab(self, drawing: DrawingPage, sketch: Path, open_page):
        hand_over(drawing, "paste", sketch.read_bytes())
        expect(drawing.cards).to_have_count(48)
        before = drawing.settle().ids
        drawing.page.reload()
        expect(drawing.chips).to_have_count(1)
        assert drawing.settle().ids == before
        other = open_page("#" + drawing.page.url.partition("#")[2])
        alert = other.alert("not in its address")
        expect(alert).to_be_visible()

    def test_back_and_undo(self, drawing: DrawingPage, sketch: Path):
        hand_over(drawing, "paste", sketch.read_bytes())
        expect(drawing.chips).to_have_count(1)
        drawing.settle().click("Undo")
        expect(drawing.chips).to_have_count(0)
        drawing.page.go_back()
        expect(drawing.chips).to_have_count(1)

    def test_large_pictures_travel_small(self, drawing: DrawingPage):
        sheet = Image.new("RGB", (2000, 1500), "white")
        ImageDraw.Draw(sheet).ellipse((500, 250, 1500, 1250), outline="black", width=20)
        content = io.BytesIO()
        sheet.save(content, "JPEG")
        with drawing.page.expect_request("**/api/search") as sent:
            hand_over(drawing, "paste", content.getvalue(), "image/jpeg", "sheet.jpg")
        image = base64.b64decode(json.loads(sent.value.post_data or "")["image"])
        with Image.open(io.BytesIO(image)) as opened:
            assert (opened.format, opened.size) == ("JPEG", (640, 480))
        expect(drawing.cards).to_have_count(48)


class TestBadPictures:
    def test_no_picture_at_all(self, drawing: DrawingPage):
        hand_over(drawing, "drop", b"words", "text/plain", "words.txt")
        expect(drawing.alert("not a picture")).to_be_visible()

    def test_a_damaged_one(self, drawing: DrawingPage, watch):
        watch.allow("400")
        watch.allow("422")
        hand_over(drawing, "paste", b"\x89PNG\r\n\x1a\nrubbish")
        alert = drawing.alert("could not answer")
        expect(alert).to_be_visible()
        drawing.chips.get_by_role("button").click()
        drawing.draw(CIRCLE)
        expect(alert).to_be_hidden()
        expect(drawing.cards).to_have_count(48)
