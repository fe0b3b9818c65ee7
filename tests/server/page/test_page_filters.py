"""Filters: folders with their counts, shapes and dates."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from drawing_page import CIRCLE, DrawingPage
from drawn_gallery import EACH, FOLDERS, PHOTOS, names_in

AT_HOME = names_in("at home")
ANIMALS = names_in("outside/animals")
OUTSIDE = names_in("outside") + ANIMALS


def choose(drawing: DrawingPage, label: str, text: Callable[[str], bool]) -> None:
    """Choose the option whose text passes."""
    select = drawing.page.get_by_label(label)
    texts = select.locator("option").all_text_contents()
    select.select_option(index=next(i for i, option in enumerate(texts) if text(option)))
    drawing.settle()


class TestFolders:
    def test_a_tree_with_counts(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        texts = drawing.page.get_by_label("Folder").locator("option").all_text_contents()
        assert [text.strip() for text in texts] == [
            f"All ({PHOTOS} photos)",
            f"photos ({PHOTOS})",
            f"at home ({len(AT_HOME)})",
            f"outside ({len(OUTSIDE)})",
            f"animals ({len(ANIMALS)})",
            f"things ({3 * EACH})",
        ]
        depths = [len(text) - len(text.lstrip("\u2003")) for text in texts[1:]]
        assert depths == [0, 1, 1, 2, 1]

    def test_a_folder_and_below(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        choose(drawing, "Folder", lambda text: "outside" in text)
        assert sorted(drawing.names) == sorted(OUTSIDE)
        choose(drawing, "Folder", lambda text: "animals" in text)
        assert sorted(drawing.names) == sorted(ANIMALS)
        drawing.page.reload()
        assert sorted(drawing.settle().names) == sorted(ANIMALS)
        expect(drawing.page.get_by_label("Folder")).to_have_value(drawing.asked["folder"])
        drawing.page.go_back()
        assert sorted(drawing.settle().names) == sorted(OUTSIDE)
        drawing.click("No filters")
        expect(drawing.cards).to_have_count(48)

    def test_a_name_with_a_space(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        choose(drawing, "Folder", lambda text: "at home" in text)
        drawing.page.reload()
        assert sorted(drawing.settle().names) == sorted(AT_HOME)

    def test_paths_of_other_systems(self, drawing: DrawingPage):
        tree = drawing.page.evaluate(
            r"""async () => (await import('/page/folders.js')).folderTree([
              { folder: 'C:\\photos\\b', photos: 2 }, { folder: 'C:\\photos', photos: 1 },
              { folder: 'C:\\photos\\b\\c', photos: 4 }])"""
        )
        assert [(row["folder"], row["depth"], row["photos"]) for row in tree] == [
            ("C:\\photos", 0, 7),
            ("C:\\photos\\b", 1, 6),
            ("C:\\photos\\b\\c", 2, 4),
        ]


class TestShapesAndDates:
    def test_shapes(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        by_shape = {}
        for shape in ("Landscape", "Portrait", "Square"):
            drawing.page.get_by_label("Shape").select_option(shape)
            by_shape[shape] = set(drawing.settle().names)
        assert by_shape["Landscape"] == {
            name for name in names_in(*FOLDERS) if name.endswith((" 2.jpg", " 5.jpg"))
        }
        assert sum(map(len, by_shape.values())) == PHOTOS

    def test_days_are_inclusive(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.page.get_by_label("From").fill("2020-01-03")
        drawing.settle()
        drawing.page.get_by_label("To", exact=True).fill("2020-01-05")
        assert sorted(drawing.settle().names) == ["clock 3.jpg", "clock 4.jpg", "clock 5.jpg"]
        assert (drawing.asked["after"], drawing.asked["before"]) == ("2020-01-03", "2020-01-05")

    def test_no_match_is_said(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        drawing.page.get_by_label("From").fill("2031-01-01")
        drawing.settle()
        expect(drawing.page.get_by_text("No photo matches the filters").first).to_be_visible()
        drawing.click("Remove the filters")
        expect(drawing.cards).to_have_count(48)
