"""The address holds the question: it can be shared, reloaded, and gone back from."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect

from drawing_page import CIRCLE, HANDS, LEGS, LINE, DrawingPage

CODE = "const code = await import('/page/stroke_code.js');"
LONGEST = 6000
AXIS = st.integers(0, 1023)
STROKE = st.lists(st.tuples(AXIS, AXIS), min_size=1, max_size=12).map(
    lambda points: {"xs": [x for x, _ in points], "ys": [y for _, y in points]}
)


class TestReload:
    def test_the_sketch_is_restored(self, drawing: DrawingPage):
        drawing.draw(CIRCLE, HANDS)
        before = drawing.ids, drawing.similarities, drawing.ink, drawing.strokes
        drawing.page.reload()
        drawing.settle()
        expect(drawing.cards).to_have_count(48)
        assert (drawing.ids, drawing.similarities, drawing.ink, drawing.strokes) == before

    def test_undo_goes_on_where_it_was(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        one = drawing.similarities
        drawing.draw(HANDS)
        drawing.page.reload()
        drawing.settle().click("Undo")
        assert drawing.similarities == one

    def test_in_another_browser(self, drawing: DrawingPage, open_page):
        drawing.draw(CIRCLE, LEGS)
        drawing.cards.nth(1).locator(".not").click()
        drawing.settle()
        other = open_page("#" + drawing.page.url.partition("#")[2])
        assert other.ids == drawing.ids
        assert other.similarities == drawing.similarities


class TestBack:
    def test_a_step_of_the_search_at_a_time(self, drawing: DrawingPage):
        drawing.draw(CIRCLE)
        one = drawing.similarities
        drawing.draw(HANDS)
        two = drawing.similarities
        drawing.cards.first.locator(".more").click()
        drawing.settle()
        drawing.page.go_back()
        assert drawing.settle().similarities == two
        drawing.page.go_back()
        assert drawing.settle().similarities == one
        drawing.page.go_back()
        expect(drawing.start).to_be_visible()
        drawing.page.go_forward()
        assert drawing.settle().similarities == one

    def test_undo_and_back_agree(self, drawing: DrawingPage):
        drawing.draw(CIRCLE, HANDS)
        drawing.page.go_back()
        expect(drawing.button("Redo")).to_be_enabled()
        drawing.settle().click("Redo")
        assert drawing.strokes == 2

    def test_unfinished_strokes_are_no_steps(self, drawing: DrawingPage):
        steps = drawing.page.evaluate("history.length")
        drawing.press_and_move(CIRCLE)
        expect(drawing.cards).to_have_count(48)
        assert drawing.page.evaluate("history.length") == steps
        drawing.page.mouse.up()
        drawing.settle()
        assert drawing.page.evaluate("history.length") == steps + 1


class TestBadAddresses:
    def test_a_damaged_drawing_is_said(self, open_page):
        for fragment in ("#draw=1pB", "#draw=9zz", "#draw=1%20", "#like=a"):
            drawing = open_page(fragment)
            alert = drawing.alert("could not be read")
            expect(alert).to_be_visible()
            drawing.draw(LINE)
            expect(alert).to_be_hidden()

    def test_nothing_of_it_becomes_markup(self, open_page, watch):
        watch.allow("422")
        drawing = open_page("#folder=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&like=3")
        expect(drawing.alert("lies in")).to_be_visible()
        expect(drawing.page.locator("img[src=x]")).to_have_count(0)

    def test_an_unknown_photo_is_said(self, open_page, watch):
        watch.allow("404")
        drawing = open_page("#like=99999")
        expect(drawing.alert("99999")).to_be_visible()


class TestStrokeCode:
    def test_every_drawing_comes_back(self, drawing: DrawingPage):
        @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(STROKE, max_size=6))
        def come_back(strokes):
            back = drawing.page.evaluate(
                f"async strokes => {{ {CODE} const {{ code: text, whole }} = "
                "code.encodeStrokes(strokes); return [code.decodeStrokes(text), whole, text]; }",
                strokes,
            )
            assert back[:2] == [strokes, True]
            assert set(back[2]) <= set(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            )

        come_back()

    def test_any_text_is_read_or_refused(self, drawing: DrawingPage):
        @settings(max_examples=40, deadline=None)
        @given(st.text(alphabet="1ABCghi-_9z", max_size=30).map(lambda text: "1" + text))
        def read(text):
            strokes = drawing.page.evaluate(
                f"async text => {{ {CODE} return code.decodeStrokes(text); }}", text
            )
            if strokes is not None:
                assert all(
                    len(stroke["xs"]) == len(stroke["ys"]) > 0
                    and all(0 <= value < 1024 for value in stroke["xs"] + stroke["ys"])
                    for stroke in strokes
                )

        read()

    def test_a_scribble_stays_within_bounds(self, drawing: DrawingPage):
        rng = random.Random(0)
        strokes = []
        for _ in range(60):
            walk = [[512, 512]]
            for _ in range(80):
                walk.append([min(1023, max(0, at + rng.randint(-40, 40))) for at in walk[-1]])
            strokes.append({"xs": [x for x, _ in walk], "ys": [y for _, y in walk]})
        length, whole, count = drawing.page.evaluate(
            f"async strokes => {{ {CODE} const {{ code: text, whole }} = "
            "code.encodeStrokes(strokes);"
            " return [text.length, whole, code.decodeStrokes(text).length]; }",
            strokes,
        )
        assert length <= LONGEST
        assert whole
        assert count == len(strokes)

    def test_a_coarser_code_stays_near(self, drawing: DrawingPage):
        strokes = [
            {"xs": list(range(0, 1000, 2)), "ys": [500 + i * 37 % 5 for i in range(500)]}
        ] * 12
        farthest = drawing.page.evaluate(
            f"""async strokes => {{ {CODE}
              const {{ distance }} = await import('/page/strokes.js');
              const back = code.decodeStrokes(code.encodeStrokes(strokes).code);
              return Math.max(...strokes[0].xs.map(
                (x, i) => distance(back[0], x, strokes[0].ys[i])));
            }}""",
            strokes,
        )
        assert 0 < farthest <= 3 + 1
