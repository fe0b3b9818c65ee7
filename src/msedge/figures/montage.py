"""The retrieval figure: a sketch a row, and the photos that it finds, right and wrong.

Every paper on sketch-based retrieval prints this figure, so it is drawn to be printed: at twice
the nominal size, in a green and a red that colour-blind readers can tell apart (bluish green from
Okabe and Ito's palette, red from Tol's), and with a cross on wrong results, which a grey-scale
printer keeps.
Pillow only. Tested in ``tests/figures/test_montage.py``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont, ImageOps

from msedge.errors import MSEdgeError, ShapeError
from msedge.storage import atomic_path

Colour: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[int, int, int, int]

RIGHT: Colour = (0, 158, 115)
WRONG: Colour = (204, 51, 17)
QUERY: Colour = (188, 192, 198)
INK: Colour = (26, 29, 33)
FAINT: Colour = (118, 123, 130)
PAPER: Colour = (255, 255, 255)

SCALE = 2  # drawn pixels for one of `thumb`
DPI = (200, 200)

# Distances and letter sizes, in drawn pixels.
_MARGIN = 28
_FRAME = 6
_QUERY_FRAME = 3
_GAP = 16
_QUERY_GAP = 44
_CAPTION = 34
_ROW_GAP = 22
_LINE = 40
_TEXT = 21
_SMALL = 19


@dataclass(frozen=True)
class Result:
    """One photo of a ranking.

    Attributes:
        image: The photo, of any mode and size.
        class_name: Its class; underscores are shown as spaces.
        similarity: Cosine similarity to the query, in [-1, 1].
        relevant: Whether its class is the query's.
    """

    image: Image.Image
    class_name: str
    similarity: float
    relevant: bool


@dataclass(frozen=True)
class Row:
    """One query and its first results.

    Attributes:
        image: The sketch, of any mode and size.
        class_name: Its class; underscores are shown as spaces.
        results: Best first. Rows may differ in length; a shorter one leaves its last cells blank.
    """

    image: Image.Image
    class_name: str
    results: tuple[Result, ...]


def retrieval_montage(rows: Sequence[Row], *, title: str = "", thumb: int = 96) -> Image.Image:
    """Draw queries and their results as a grid: a row a query, a column a rank.

    Right results have a green frame, wrong ones a red frame and a cross. Under each picture stands
    its class name, shortened where it does not fit, and under each result its similarity too.
    Pictures are fitted whole into squares, on white. The font has ASCII letters: accents are
    dropped, and letters of other scripts become question marks.

    Args:
        rows: The queries, top to bottom; at least one result among them.
        title: A line above the grid; left out when empty.
        thumb: Side of a picture, 48 or more; drawn with twice as many pixels.

    Returns:
        The figure, RGB, meant for 200 dots an inch.

    Raises:
        ShapeError: There is no result to show, or ``thumb`` is too small for the captions.

    >>> photo = Image.new("RGB", (60, 40), "tan")
    >>> hit = Result(photo, "camel", 0.82, relevant=True)
    >>> retrieval_montage([Row(photo, "camel", (hit, hit, hit))]).size
    (948, 382)
    """
    columns = max((len(row.results) for row in rows), default=0)
    if columns == 0:
        raise ShapeError("a montage needs at least one row with a result, got none")
    if thumb < 48:
        raise ShapeError(f"thumb must be at least 48 for captions to be readable, got {thumb}")
    grid = _Grid(thumb * SCALE + 2 * _FRAME, _MARGIN + (_LINE if title else 0))
    right = grid.cell(0, columns)[2]
    bottom = grid.cell(len(rows) - 1, 0)[3] + _CAPTION + _ROW_GAP
    legend = _legend_places(right)
    height = bottom + legend[-1][1] + _LINE + _MARGIN // 2
    figure = Image.new("RGB", (right + _MARGIN, height), PAPER)
    draw = ImageDraw.Draw(figure)

    if title:
        _text(draw, (_MARGIN, _MARGIN), title, right - _MARGIN, INK, _TEXT, "lt")
    for column in range(columns + 1):
        left, top, end, _ = grid.cell(0, column)
        heading = str(column) if column else "Query"
        middle = ((left + end) // 2, top - _LINE // 2)
        _text(draw, middle, heading, end - left, FAINT, _SMALL, "mm")
    for index, row in enumerate(rows):
        _picture(figure, row.image, grid.cell(index, 0), QUERY, _QUERY_FRAME)
        _caption(draw, grid.cell(index, 0), row.class_name, "")
        for rank, result in enumerate(row.results, start=1):
            box = grid.cell(index, rank)
            colour = RIGHT if result.relevant else WRONG
            _picture(figure, result.image, box, colour, _FRAME)
            if not result.relevant:
                _cross(figure, box)
            _caption(draw, box, result.class_name, _two_decimals(result.similarity))
    for (label, swatch), (x, y) in zip(_LEGEND, legend, strict=True):
        _legend_entry(figure, (x, bottom + y), label, swatch)
    return figure


def save_montage(image: Image.Image, path: str | Path) -> None:
    """Write a figure as PNG at 200 dots an inch, wholly or not at all.

    Raises:
        DataError: The file cannot be written; the message says why.
    """
    with atomic_path(Path(path)) as temporary:
        image.save(temporary, format="PNG", dpi=DPI, optimize=True)


@dataclass(frozen=True)
class _Grid:
    """Where the cells are; column 0 holds the queries."""

    side: int  # of a picture with its frame
    top: int  # of the header line

    def cell(self, row: int, column: int) -> Box:
        """Left, top, right, bottom of a framed picture; right and bottom are outside it."""
        left = _MARGIN + column * (self.side + _GAP) + (_QUERY_GAP - _GAP if column else 0)
        top = self.top + _LINE + row * (self.side + _CAPTION + _ROW_GAP)
        return left, top, left + self.side, top + self.side


def _picture(figure: Image.Image, image: Image.Image, box: Box, colour: Colour, frame: int) -> None:
    """A framed square with the whole picture in it, on white; as large under any frame."""
    left, top, right, bottom = box
    side = right - left - 2 * _FRAME
    ImageDraw.Draw(figure).rectangle((left, top, right - 1, bottom - 1), PAPER, colour, frame)
    fitted = ImageOps.contain(image.convert("RGBA"), (side, side), Image.Resampling.LANCZOS)
    x = left + _FRAME + (side - fitted.width) // 2
    y = top + _FRAME + (side - fitted.height) // 2
    figure.paste(fitted, (x, y), fitted)


def _cross(figure: Image.Image, box: Box) -> None:
    """A white cross on a red tab in the frame's upper right corner."""
    size = 34
    tab = _cross_tab(size)
    figure.paste(tab, (box[2] - size, box[1]))


@cache
def _cross_tab(size: int) -> Image.Image:
    big = size * 4  # Pillow does not smooth slanted lines; shrinking does
    tab = Image.new("RGB", (big, big), WRONG)
    draw = ImageDraw.Draw(tab)
    low, high = big * 31 // 100, big * 69 // 100
    for line in ((low, low, high, high), (low, high, high, low)):
        draw.line(line, PAPER, big * 11 // 100)
    return tab.resize((size, size), Image.Resampling.LANCZOS)


def _caption(draw: ImageDraw.ImageDraw, box: Box, name: str, value: str) -> None:
    """The class name at the left under a picture, a number at the right."""
    left, _, right, bottom = box
    baseline = bottom + _CAPTION - 9
    room = right - left
    if value:
        draw.text((right, baseline), value, FAINT, _font(_SMALL), anchor="rs")
        room -= int(draw.textlength(value, _font(_SMALL))) + 10
    _text(draw, (left, baseline), name.replace("_", " "), room, INK, _TEXT, "ls")


def _two_decimals(value: float) -> str:
    """A similarity as ``0.82``, and never as ``-0.00``."""
    return f"{round(value, 2) + 0.0:.2f}"


_LEGEND: tuple[tuple[str, Colour | None], ...] = (
    ("same class as the query", RIGHT),
    ("another class", WRONG),
    ("number: cosine similarity", None),
)


def _legend_places(right: int) -> list[tuple[int, int]]:
    """Left and top of each legend entry, relative to the legend; a new line where one is full."""
    places: list[tuple[int, int]] = []
    x, y = _MARGIN, 0
    for label, colour in _LEGEND:
        width = int(_font(_SMALL).getlength(label)) + (30 if colour else 0)
        if x > _MARGIN and x + width > right:
            x, y = _MARGIN, y + _LINE - 8
        places.append((x, y))
        x += width + 34
    return places


def _legend_entry(
    figure: Image.Image, place: tuple[int, int], label: str, colour: Colour | None
) -> None:
    x, y = place
    middle = y + _LINE // 2
    draw = ImageDraw.Draw(figure)
    if colour:
        draw.rectangle((x, middle - 10, x + 19, middle + 9), PAPER, colour, 4)
        if colour == WRONG:
            figure.paste(_cross_tab(20), (x, middle - 10))
        x += 30
    draw.text((x, middle), label, FAINT, _font(_SMALL), anchor="lm")


def _text(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    room: int,
    colour: Colour,
    size: int,
    anchor: str,
) -> None:
    """One line of text, shortened with an ellipsis to at most ``room`` pixels."""
    font = _font(size)
    shown = text = _drawable(text)
    while text and draw.textlength(shown, font) > room:
        text = text[:-1].rstrip()
        shown = text + "…"
    draw.text(place, shown, colour, font, anchor=anchor)


def _drawable(text: str) -> str:
    """Text in the letters that the font has, ASCII's: accents are dropped, the rest becomes ?."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(plain.encode("ascii", "replace").decode("ascii").split())


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font (Aileron), the same on every machine."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MSEdgeError("this Pillow was built without FreeType; install Pillow from a wheel")
    return font
