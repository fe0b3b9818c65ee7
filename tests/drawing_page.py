"""The page as a person uses it: what the browser's tests do and look at.

Shapes are strokes in shares of the sheet's side, so that they fit any screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import CDPSession, Locator, Page, expect

Stroke = Sequence[tuple[float, float]]


def circle(points: int) -> Stroke:
    turns = [index * math.tau / points for index in range(points + 1)]
    return [(0.5 + 0.3 * math.cos(turn), 0.5 + 0.3 * math.sin(turn)) for turn in turns]


CIRCLE = circle(14)
HANDS: Stroke = [(0.38, 0.34), (0.5, 0.5), (0.62, 0.44)]
LEGS: Stroke = [(0.34, 0.76), (0.28, 0.88)]
BELL: Stroke = [(0.26, 0.28), (0.3, 0.16), (0.42, 0.16)]
CLOCK: tuple[Stroke, ...] = (
    circle(48),
    HANDS,
    LEGS,
    [(0.66, 0.76), (0.72, 0.88)],
    BELL,
    [(1 - x, y) for x, y in BELL],
)
"""For the pictures: smooth, and seen to be a clock."""

LINE: Stroke = [(0.2, 0.2), (0.8, 0.2)]
# Every text's contrast with what lies under it; a half-transparent ground lies on the worst photo.
FAINT_TEXTS = """() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((v, i) => a * v + (1 - a) * under[i]);
  const level = (v) => v <= 10.31475 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * level(r) + 0.7152 * level(g) + 0.0722 * level(b);
  const ground = (element) => {
    if (!element) return [255, 255, 255];
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour.length === 4 && colour[3] === 0) return ground(element.parentElement);
    return colour.length === 4 ? over(colour, [255, 255, 255]) : colour;
  };
  const ownText = (element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const seen = element.checkVisibility({ visibilityProperty: true });
    if (!seen || !ownText(element) || element.closest(":disabled, .visually-hidden")) continue;
    const [one, other] = [numbers(getComputedStyle(element).color), ground(element)]
      .map((colour) => luminance(colour) + 0.05);
    const contrast = Math.max(one, other) / Math.min(one, other);
    if (contrast < 4.5) faint.push(`${element.textContent.trim()}: ${contrast.toFixed(2)}`);
  }
  return faint;
}"""

# What has no name for those who listen, and names that are given twice.
UNNAMED = """() => {
  const name = (element) => element.ariaLabel || element.textContent.trim() || element.title
    || element.labels?.[0]?.textContent.trim() || element.alt
    || document.getElementById(element.getAttribute("aria-labelledby"))?.textContent;
  const controls = document.querySelectorAll("button, a, select, input, canvas, dialog, section");
  const unnamed = [...controls].filter((element) => !name(element));
  const images = [...document.images].filter((image) => !image.hasAttribute("alt"));
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  const nowhere = [...document.querySelectorAll("[aria-describedby], [aria-controls]")]
    .flatMap((element) => ["aria-describedby", "aria-controls"].map((n) => element.getAttribute(n)))
    .filter((id) => id && !document.getElementById(id));
  return [...unnamed, ...images].map((element) => element.outerHTML).concat(twice, nowhere);
}"""

PATIENCE = 20_000  # milliseconds; far more than is needed, as machines are busy


class DrawingPage:
    """One open page."""

    def __init__(self, page: Page) -> None:
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        self.page = page
        self.sheet = page.get_by_role("application")
        self.grid = page.locator("#grid")
        self.cards = page.locator(".card")
        self.chips = page.locator(".chip")
        self.said = page.locator("#said")
        self.start = page.get_by_text("Draw something", exact=True)

    def open(self, address: str) -> DrawingPage:
        self.page.goto(address)
        self.settle()
        return self

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """A point of the sheet on the screen."""
        box = self.sheet.bounding_box()
        assert box is not None
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    def press_and_move(self, stroke: Stroke) -> None:
        """Draw with the mouse and do not let go."""
        mouse = self.page.mouse
        mouse.move(*self.place(stroke[0]))
        mouse.down()
        for point in stroke[1:]:
            mouse.move(*self.place(point))

    def draw(self, *strokes: Stroke) -> DrawingPage:
        """Draw with the mouse, and wait for the photos."""
        for stroke in strokes:
            self.press_and_move(stroke)
            self.page.mouse.up()
        return self.settle()

    def touch(self, touchscreen: CDPSession, stroke: Stroke) -> None:
        """Draw with a finger."""
        for kind, points in (
            ("touchStart", [self.place(stroke[0])]),
            *(("touchMove", [self.place(point)]) for point in stroke[1:]),
            ("touchEnd", []),
        ):
            places = [{"x": x, "y": y} for x, y in points]
            touchscreen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def settle(self) -> DrawingPage:
        """Wait until the question in force is answered."""
        expect(self.grid).not_to_have_attribute("aria-busy", "true")
        return self

    def alert(self, text: str) -> Locator:
        """What the page says is wrong, if it holds this."""
        return self.page.get_by_role("alert").filter(has_text=text)

    def click(self, name: str) -> DrawingPage:
        """Press the button of that name, and wait for the photos."""
        self.button(name).click()
        return self.settle()

    @property
    def ids(self) -> list[int]:
        """The photos that are shown, best first."""
        ids: list[int] = self.cards.evaluate_all("all => all.map(card => Number(card.dataset.id))")
        return ids

    @property
    def names(self) -> list[str]:
        """What the photos are called, best first."""
        labels: list[str] = self.page.locator(".card-photo").evaluate_all(
            "all => all.map(photo => photo.ariaLabel)"
        )
        return [label.partition(": ")[2].partition(", ")[0] for label in labels]

    @property
    def similarities(self) -> list[str]:
        return self.page.locator(".score-number").all_text_contents()

    @property
    def strokes(self) -> int:
        """How many strokes the sheet says that it has."""
        return int((self.sheet.get_attribute("aria-label") or "").split(", ")[1].split()[0])

    @property
    def ink(self) -> int:
        """How many pixels of the sheet are drawn on."""
        counted = self.page.evaluate(
            """() => new Promise((tell) => requestAnimationFrame(() => requestAnimationFrame(() => {
              const sheet = document.getElementById("sheet");
              const copy = new OffscreenCanvas(sheet.width, sheet.height);
              const looked = copy.getContext("2d", { willReadFrequently: true });
              looked.drawImage(sheet, 0, 0);
              const all = looked.getImageData(0, 0, sheet.width, sheet.height);
              tell(all.data.filter((level, i) => i % 4 === 3 && level > 127).length);
            })))"""
        )
        return int(counted)

    @property
    def asked(self) -> dict[str, str]:
        """What the address holds."""
        fields = parse_qs(urlsplit(self.page.url).fragment)
        return {name: values[0] for name, values in fields.items()}

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path, animations="disabled")
