"""Names on the page: chips that are pressed or crossed out, a word, and the drawing alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Route, expect

from drawing_page import CIRCLE, CLOCK, FAINT_TEXTS, HANDS, LINE, UNNAMED, DrawingPage
from drawn_gallery import FOLDERS, HeldEncoder, ServedGallery, write_gallery, write_photos
from msedge.data.sample import draw_photo, draw_sketch
from msedge.search.encoder import OnnxEncoder
from msedge.search.naming import make_bank

SYNONYMS = {"sailboat": ["yacht", "boat"], "cup": ["mug", "glass"], "glasses": ["glass"]}


@pytest.fixture(scope="session")
def naming(tmp_path_factory) -> HeldEncoder:
    """The shipped model with a bank of the things that are in the gallery."""
    root = tmp_path_factory.mktemp("named")
    for name in (name for names in FOLDERS.values() for name in names):
        for kind, draw in (("drawings", draw_sketch), ("photos", draw_photo)):
            (root / kind / name).mkdir(parents=True)
            for number in range(3):
                draw(name, np.random.default_rng(number)).save(root / kind / name / f"{number}.png")
    model = OnnxEncoder.load("msedge-lite", threads=1)
    folders = {kind: [root / kind] for kind in ("drawings", "photos")}
    naming = HeldEncoder(model)
    naming.card = model.card  # type: ignore[attr-defined]
    naming.bank = make_bank(model, **folders, synonyms=SYNONYMS).bank  # type: ignore[attr-defined]
    return naming


@pytest.fixture(scope="session")
def named_server(drawn_gallery: Path, naming: HeldEncoder) -> Iterator[ServedGallery]:
    with ServedGallery(drawn_gallery, naming) as server:
        yield server


@pytest.fixture
def drawing(open_page, named_server: ServedGallery) -> DrawingPage:
    return open_page(address=named_server.address)


def chips(drawing: DrawingPage) -> Locator:
    return drawing.page.locator(".name-yes")


def names(drawing: DrawingPage) -> list[str]:
    return chips(drawing).all_text_contents()


def say_name(drawing: DrawingPage, word: str) -> DrawingPage:
    box = drawing.page.get_by_role("combobox", name="Name of what you look for")
    box.fill(word)
    box.press("Enter")
    return drawing


def away(drawing: DrawingPage) -> None:
    drawing.page.mouse.move(5, 5)


def answer_with(drawing: DrawingPage, *told: str) -> None:
    """Have the server's next answers name these."""

    def fulfil(route: Route) -> None:
        answer = route.fetch().json()
        answer["names"] = [{"name": name, "likelihood": 0.2, "settled": False} for name in told]
        route.fulfill(json=answer)

    drawing.page.unroute("**/api/search")
    drawing.page.route("**/api/search", fulfil)


class TestChips:
    def test_they_come_while_one_draws(self, drawing: DrawingPage, screenshots: Path):
        expect(chips(drawing)).to_have_count(0)
        drawing.press_and_move(CIRCLE)
        expect(chips(drawing).first).to_be_visible()  # the button is still down
        drawing.page.mouse.up()
        drawing.draw(*CLOCK[1:])
        assert "clock" in names(drawing)
        assert len(names(drawing)) <= 5
        drawing.page.wait_for_timeout(300)
        drawing.screenshot(screenshots / "names.png")

    def test_settling_and_releasing(self, drawing: DrawingPage):
        drawing.draw(*CLOCK)
        before, found = names(drawing), drawing.ids
        chip = chips(drawing).nth(len(before) - 1)
        name = chip.text_content() or ""
        expect(chip).to_have_attribute("aria-pressed", "false")
        chip.click()
        drawing.settle()
        expect(chip).to_have_attribute("aria-pressed", "true")
        expect(drawing.said).to_contain_text(name)
        assert drawing.asked["name"] == name
        assert drawing.names[0].startswith(name)
        assert names(drawing) == before
        chip.click()
        drawing.settle()
        expect(chip).to_have_attribute("aria-pressed", "false")
        assert drawing.ids == found
        assert "name" not in drawing.asked

    def test_not_that(self, drawing: DrawingPage):
        drawing.draw(*CLOCK)
        before, found = names(drawing), drawing.ids
        cross = drawing.button("Not clock")
        place = before.index("clock")
        cross.click()
        drawing.settle()
        expect(cross).to_have_attribute("aria-pressed", "true")
        assert drawing.asked["notname"] == "clock"
        assert drawing.ids != found
        away(drawing)
        assert names(drawing)[place] == "clock"  # crossed out, and where it was
        cross.click()
        assert drawing.settle().ids == found
        expect(cross).to_have_attribute("aria-pressed", "false")

    def test_undo_and_back_take_it_back(self, drawing: DrawingPage):
        drawing.draw(*CLOCK)
        drawing.click("Not clock")
        drawing.click("Undo")
        expect(drawing.button("Not clock")).to_have_attribute("aria-pressed", "false")
        drawing.click("Redo")
        drawing.page.go_back()
        drawing.settle()
        expect(drawing.button("Not clock")).to_have_attribute("aria-pressed", "false")

    def test_clear_takes_all_away(self, drawing: DrawingPage):
        drawing.draw(*CLOCK)
        drawing.click("clock")
        drawing.click("Clear")
        expect(chips(drawing)).to_have_count(0)
        expect(drawing.start).to_be_visible()

    def test_an_address_is_shared(self, open_page, named_server):
        drawing = open_page("#name=fish&notname=cup", address=named_server.address)
        expect(drawing.button("fish")).to_have_attribute("aria-pressed", "true")
        expect(drawing.button("Not cup")).to_have_attribute("aria-pressed", "true")
        assert drawing.names[0].startswith("fish")


class TestPlaces:
    def test_a_name_keeps_its_place(self, drawing: DrawingPage):
        answer_with(drawing, "cup", "fish", "lamp")
        drawing.draw(CIRCLE)
        answer_with(drawing, "tree", "lamp", "fish", "snail")
        drawing.draw(LINE)
        expect(chips(drawing)).to_have_text(["tree", "fish", "lamp", "snail"])

    def test_settled_and_refused_ones_stay(self, drawing: DrawingPage):
        answer_with(drawing, "cup", "fish", "lamp")
        drawing.draw(CIRCLE)
        drawing.click("fish")
        drawing.click("Not lamp")
        away(drawing)
        answer_with(drawing, "tree")
        drawing.draw(LINE)
        expect(chips(drawing)).to_have_text(["tree", "fish", "lamp"])
        expect(drawing.button("fish")).to_have_attribute("aria-pressed", "true")

    def test_nothing_moves_under_the_pointer(self, drawing: DrawingPage):
        answer_with(drawing, "cup", "fish")
        drawing.draw(CIRCLE)
        drawing.button("cup").hover()
        answer_with(drawing, "a much longer name", "tree")
        drawing.page.keyboard.press("Control+z")
        drawing.page.keyboard.press("Control+Shift+z")
        drawing.settle()
        expect(chips(drawing)).to_have_text(["cup", "fish"])
        away(drawing)
        expect(chips(drawing)).to_have_text(["a much longer name", "tree"])

    def test_nothing_moves_under_the_keyboard(self, drawing: DrawingPage):
        answer_with(drawing, "cup", "fish")
        drawing.draw(CIRCLE)
        answer_with(drawing, "tree")
        drawing.button("Picture").focus()
        for _ in range(2):
            drawing.page.keyboard.press("Tab")  # to the first chip, and its cross
        drawing.page.keyboard.press("Enter")
        drawing.settle()
        expect(drawing.button("Not cup")).to_be_focused()
        expect(chips(drawing)).to_have_text(["cup", "fish"])
        drawing.sheet.focus()
        expect(chips(drawing)).to_have_text(["cup", "tree"])


class TestWord:
    def test_alone(self, drawing: DrawingPage):
        say_name(drawing, "Fish")
        expect(drawing.button("fish")).to_have_attribute("aria-pressed", "true")
        assert drawing.settle().names[0].startswith("fish")
        assert drawing.asked == {"name": "fish"}

    def test_a_synonym_with_the_button(self, drawing: DrawingPage):
        drawing.page.get_by_role("combobox", name="Name of").fill("Yacht")
        drawing.button("Find it").click()
        expect(drawing.button("sailboat")).to_have_attribute("aria-pressed", "true")
        expect(drawing.page.get_by_role("combobox", name="Name of")).to_have_value("")

    def test_completion(self, drawing: DrawingPage):
        drawing.page.get_by_role("combobox", name="Name of").press_sequentially("gl")
        options = drawing.page.locator("#name-list option")
        expect(options).to_have_count(2)
        values = options.evaluate_all("all => all.map(option => option.value)")
        assert values == ["glasses", "cup"]
        labels = options.evaluate_all("all => all.map(option => option.label)")
        assert labels == ["glasses, glass", "cup, mug, glass"]

    @pytest.mark.parametrize(
        ("word", "hint"), [("fihs", "Did you mean fish"), ("glass", "cup"), ("zzz", "Draw it")]
    )
    def test_what_is_not_known(self, drawing: DrawingPage, word: str, hint: str):
        say_name(drawing, word)
        expect(drawing.alert(hint)).to_be_visible()
        expect(drawing.start).to_be_visible()


class TestAlone:
    def test_the_drawing_alone(self, drawing: DrawingPage):
        drawing.draw(*CLOCK)
        found = drawing.similarities
        drawing.click("clock")
        drawing.click("Without names")
        expect(drawing.button("Without names")).to_have_attribute("aria-pressed", "true")
        away(drawing)
        expect(chips(drawing)).to_have_count(0)
        assert drawing.asked["names"] == "no"
        assert drawing.similarities != found
        drawing.page.reload()
        drawing.settle()
        expect(drawing.button("Without names")).to_have_attribute("aria-pressed", "true")
        drawing.click("Without names")
        assert drawing.similarities == found
        assert "clock" in names(drawing)

    def test_a_name_ends_it(self, drawing: DrawingPage):
        drawing.draw(CIRCLE, HANDS)
        drawing.click("Without names")
        say_name(drawing, "clock")
        expect(drawing.button("Without names")).to_have_attribute("aria-pressed", "false")


@pytest.fixture
def nameless_server(tmp_path: Path) -> Iterator[ServedGallery]:
    """A server whose model has no bank; it outlives the page."""
    encoder = HeldEncoder(OnnxEncoder.load("msedge-lite-sketchy21", threads=1))
    gallery = write_gallery(tmp_path / "photos.msedge", write_photos(tmp_path / "photos"), encoder)
    with ServedGallery(gallery, encoder) as server:
        yield server


def test_a_model_without_names_shows_nothing_of_it(nameless_server, open_page):
    drawing = open_page(address=nameless_server.address)
    drawing.draw(CIRCLE)
    expect(drawing.page.get_by_role("group", name="What it is")).to_be_hidden()


class TestEveryone:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_is_seen_heard_and_hit(
        self, open_page, named_server, scheme: str, screenshots: Path
    ):
        drawing = open_page(
            address=named_server.address,
            color_scheme=scheme,
            viewport={"width": 390, "height": 844},
        )
        answer_with(drawing, "clock", "cup", "glasses", "hot-air balloon", "a" * 200)
        drawing.draw(*CLOCK)
        drawing.click("clock")
        drawing.click("Not cup")
        away(drawing)
        assert drawing.page.evaluate(FAINT_TEXTS) == []
        assert drawing.page.evaluate(UNNAMED) == []
        small = drawing.page.eval_on_selector_all(
            ".names button, .names input",
            "all => all.map(one => [one.textContent, one.offsetWidth, one.offsetHeight])"
            ".filter(([, width, height]) => width < 40 || height < 40)",
        )
        assert small == []
        assert drawing.page.evaluate("document.documentElement.scrollWidth") <= 390
        group = drawing.page.get_by_role("group", name="What it is")
        expect(group.get_by_role("list", name="What the drawing may be of")).to_be_visible()
        drawing.page.wait_for_timeout(300)
        drawing.screenshot(screenshots / f"names-{scheme}.png")
