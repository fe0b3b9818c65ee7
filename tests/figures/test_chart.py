"""Dots and intervals: where they stand, and that nothing is printed over anything else."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from msedge.errors import ShapeError
from msedge.figures.chart import (
    WIDTH,
    Curve,
    CurvePanel,
    Mark,
    Panel,
    curve_chart,
    interval_chart,
    text_width,
    wrapped,
)

NS = "{http://www.w3.org/2000/svg}"
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
NAMES = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)


def draw(*panels: Panel, title: str = "Title", **changes) -> ET.Element:
    text = interval_chart(title, panels, axis="mAP@all, percent", **changes)
    return ET.fromstring(text)


def boxes(root: ET.Element) -> list[tuple[str, float, float, float, float]]:
    """Each line of text with the room that it may take: left, top, right, bottom."""
    found = []
    for node in root.iter(f"{NS}text"):
        size = float(node.get("font-size", "14"))
        width = text_width(node.text or "", size) * (1.1 if node.get("font-weight") else 1)
        x, y = float(node.attrib["x"]), float(node.attrib["y"])
        left = x - {"end": width, "middle": width / 2}.get(node.get("text-anchor", ""), 0)
        found.append((node.text or "", left, y - 0.8 * size, left + width, y + 0.2 * size))
    return found


def circles(root: ET.Element, radius: str) -> list[tuple[float, float]]:
    nodes = [node for node in root.iter(f"{NS}circle") if node.get("r") == radius]
    return [(float(node.attrib["cx"]), float(node.attrib["cy"])) for node in nodes]


@st.composite
def panels(draw_one: st.DrawFn) -> Panel:
    value = st.floats(0, 100)
    marks = []
    for name in draw_one(st.lists(NAMES, min_size=1, max_size=12)):
        mean = draw_one(st.none() | value)
        half = draw_one(st.floats(0, 500))
        if mean is None:
            marks.append(Mark(name, None, text="failed"))
        else:
            marks.append(Mark(name, mean, (mean - half, mean + half), (mean,), f"{mean:.1f} ± 9.9"))
    return Panel(draw_one(NAMES), tuple(marks), draw_one(st.none() | value))


class TestRoom:
    @settings(deadline=None, max_examples=40)
    @given(st.lists(panels(), min_size=1, max_size=3), NAMES, NAMES)
    def test_no_text_over_another_nor_outside(self, drawn, title, caption):
        root = draw(*drawn, title=title, caption=caption)
        height = float(root.attrib["height"])
        found = boxes(root)
        for _, left, top, right, bottom in found:
            assert left >= 0
            assert top >= 0
            assert right <= WIDTH + 1
            assert bottom <= height
        for (one, l1, t1, r1, b1), (other, l2, t2, r2, b2) in combinations(found, 2):
            apart = r1 <= l2 + 0.2 or r2 <= l1 + 0.2 or b1 <= t2 + 0.2 or b2 <= t1 + 0.2
            assert apart, (one, other)

    def test_breaks_at_marks(self):
        lines = wrapped("vit_base_patch16_clip_224.openai, dim 512", 230)
        assert lines == ["vit_base_patch16_clip_224.", "openai, dim 512"]

    @settings(deadline=None)
    @given(NAMES, st.floats(40, 400))
    def test_wrapping_loses_nothing(self, text, width):
        lines = wrapped(text, width)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert all(text_width(line) <= width or len(line) == 1 for line in lines)


class TestPlaces:
    def test_values_rise_to_the_right_on_one_scale(self):
        marks = tuple(Mark(str(value), value) for value in (10.0, 20.0, 40.0))
        (a, _), (b, _), (c, _) = circles(draw(Panel("p", marks)), "5")
        assert (c - b) / (b - a) == pytest.approx(2, abs=0.01)

    def test_a_tick_says_where_it_stands(self):
        root = draw(Panel("p", (Mark("a", 31.0), Mark("b", 58.0))))
        ticks = {b[0]: (b[1] + b[3]) / 2 for b in boxes(root) if re.fullmatch(r"\d+(\.\d)?", b[0])}
        (first, x), (last, y) = min(ticks.items()), max(ticks.items())
        (a, _), (b, _) = circles(root, "5")
        share = [(place - x) / (y - x) for place in (a, b)]
        span = float(last) - float(first)
        assert share == pytest.approx([(v - float(first)) / span for v in (31, 58)], abs=0.01)
        assert 3 <= len(ticks) <= 7

    def test_interval_and_points(self):
        root = draw(Panel("p", (Mark("a", 50.0, (45.0, 55.0), (48.0, 52.0)),)))
        (mean, row) = circles(root, "5")[0]
        points = circles(root, "3")
        assert [point[0] for point in points] == pytest.approx(
            [2 * mean - points[1][0], points[1][0]], abs=0.11
        )
        thick = [n for n in root.iter(f"{NS}line") if n.get("stroke-width") == "2"]
        spans = [(float(n.attrib["x1"]), float(n.attrib["x2"])) for n in thick]
        assert sum(spans[0]) / 2 == pytest.approx(mean, abs=0.11)
        assert {float(n.attrib["y1"]) for n in thick[:1]} == {row}

    def test_what_lies_outside_the_limits_ends_in_an_arrow(self):
        inside = draw(Panel("p", (Mark("a", 50.0, (1.0, 99.0)),)))
        outside = draw(Panel("p", (Mark("a", 50.0, (-300.0, 400.0)),)))
        assert len(list(inside.iter(f"{NS}polyline"))) == 0
        assert len(list(outside.iter(f"{NS}polyline"))) == 2

    def test_a_row_without_a_figure_says_why(self):
        root = draw(Panel("p", (Mark("a", None, text="failed"), Mark("b", 3.0))))
        assert "failed" in [box[0] for box in boxes(root)]
        assert len(circles(root, "5")) == 1

    @pytest.mark.parametrize("value", [0.0, 50.0, 100.0])
    def test_a_single_value_has_a_scale(self, value):
        assert len(circles(draw(Panel("p", (Mark("a", value),))), "5")) == 1

    def test_the_reference_is_dashed(self):
        root = draw(Panel("p", (Mark("a", 3.0), Mark("b", 5.0)), reference=3.0))
        (line,) = [node for node in root.iter(f"{NS}line") if node.get("stroke-dasharray")]
        assert float(line.attrib["x1"]) == circles(root, "5")[0][0]


class TestCurves:
    """Marks along a scale."""

    @staticmethod
    def draw(*curves: Curve, title: str = "Title", **changes) -> ET.Element:
        panel = CurvePanel("p", curves)
        return ET.fromstring(curve_chart(title, [panel], across="n", axis="mAP", **changes))

    @settings(deadline=None, max_examples=40)
    @given(st.lists(panels(), min_size=1, max_size=3), NAMES, NAMES, st.data())
    def test_no_text_over_another_nor_outside(self, drawn, title, caption, data):
        places = st.floats(0, 1e6).map(lambda place: float(f"{place:g}"))
        curves = [
            Curve(panel.title, tuple(data.draw(places) for _ in panel.marks), panel.marks)
            for panel in drawn
        ]
        root = self.draw(*curves, title=title, caption=caption)
        found = boxes(root)
        for _, left, top, right, bottom in found:
            assert left >= 0
            assert top >= 0
            assert right <= WIDTH + 1
            assert bottom <= float(root.attrib["height"])
        for (one, l1, t1, r1, b1), (other, l2, t2, r2, b2) in combinations(found, 2):
            apart = r1 <= l2 + 0.2 or r2 <= l1 + 0.2 or b1 <= t2 + 0.2 or b2 <= t1 + 0.2
            assert apart, (one, other)

    def test_dots_stand_on_both_scales(self):
        marks = tuple(Mark("", value) for value in (10.0, 20.0, 40.0))
        root = self.draw(Curve("a", (0, 5, 20), marks))
        dots = circles(root, "5")[1:]  # the first is the key's
        (x1, y1), (x2, y2), (x3, y3) = dots
        assert (x3 - x2) / (x2 - x1) == pytest.approx(3, abs=0.02)
        assert (y2 - y3) / (y1 - y2) == pytest.approx(2, abs=0.01)
        (line,) = root.iter(f"{NS}polyline")
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert points == dots
        ticks = {box[0]: (box[1] + box[3]) / 2 for box in boxes(root)}
        assert [ticks[text] for text in ("0", "5", "20")] == pytest.approx([x1, x2, x3], abs=0.1)

    def test_curves_of_one_place_do_not_hide_each_other(self):
        mark = Mark("", 50.0, (45.0, 55.0), (48.0, 52.0))
        root = self.draw(Curve("a", (5,), (mark,)), Curve("b", (5,), (mark,)))
        (x1, y1), (x2, y2) = circles(root, "5")[2:]  # after the key's
        assert x2 - x1 >= 5
        assert y1 == y2
        assert len(circles(root, "3")) == 4
        colours = {n.get("stroke") for n in root.iter(f"{NS}line") if n.get("stroke-width") == "2"}
        assert len(colours) == 2
        assert {"a", "b"} <= {box[0] for box in boxes(root)}

    def test_what_is_still_to_do_is_left_out(self):
        root = self.draw(Curve("a", (0, 5), (Mark("", None, text="to do"), Mark("", 3.0))))
        assert len(circles(root, "5")) == 2

    def test_refuses_what_cannot_be_drawn(self):
        with pytest.raises(ShapeError):
            self.draw()
        with pytest.raises(ShapeError):
            self.draw(Curve("a", (1,), (Mark("", float("nan")),)))


class TestText:
    def test_names_are_not_markup(self):
        root = draw(Panel("<p>", (Mark("a & b", 3.0),)), title="1 < 2")
        assert {"<p>", "a & b", "1 < 2"} <= {box[0] for box in boxes(root)}

    @pytest.mark.parametrize(
        "panels",
        [
            (),
            (Panel("p", ()),),
            (Panel("p", (Mark("a", float("nan")),)),),
            (Panel("p", (Mark("a", 1.0, (0.0, float("inf"))),)),),
        ],
    )
    def test_refuses_what_cannot_be_drawn(self, panels):
        with pytest.raises(ShapeError):
            draw(*panels)


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="needs rsvg-convert")
def test_a_real_program_draws_it(tmp_path):
    marks = tuple(Mark(f"row {i}", 10.0 * i, (5.0 * i, 15.0 * i)) for i in range(1, 4))
    (tmp_path / "a.svg").write_text(interval_chart("t", [Panel("p", marks)], axis="x"))
    command = ["rsvg-convert", str(tmp_path / "a.svg"), "-o", str(tmp_path / "a.png")]
    subprocess.run(command, check=True, timeout=60)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == WIDTH
        levels = image.convert("L").getextrema()
    assert levels[0] < 60
    assert levels[1] == 255
