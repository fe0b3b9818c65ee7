"""What a telephone makes of a drawing on paper: light from one side, shadows, grain, JPEG."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = (600, 800)


def line_drawing(size: tuple[int, int] = SIZE, line: int = 5) -> Image.Image:
    """A house, black on white, of mode L: lines, corners, a dot and a gap in the roof."""
    sheet = Image.new("L", size, 255)
    pen, (width, height) = ImageDraw.Draw(sheet), size

    def at(*points: float) -> list[float]:
        return [value * (height if i % 2 else width) for i, value in enumerate(points)]

    pen.rectangle(at(0.3, 0.45, 0.7, 0.7), outline=0, width=line)
    pen.line(at(0.3, 0.45, 0.5, 0.3, 0.7, 0.45), fill=0, width=line, joint="curve")
    pen.rectangle(at(0.45, 0.55, 0.55, 0.7), outline=0, width=line)
    pen.ellipse(at(0.36, 0.5, 0.42, 0.545), outline=0, width=line)
    x, y = at(0.53, 0.63)
    pen.ellipse((x - line, y - line, x + line, y + line), fill=0)
    return sheet


def photographed(
    drawing: Image.Image,
    *,
    ink: tuple[float, float, float] = (0.35, 0.35, 0.36),
    paper: tuple[float, float, float] = (0.95, 0.9, 0.78),
    shadow: float = 0.35,
    ruled: bool = False,
    table: int = 0,
    seed: int = 0,
) -> Image.Image:
    """Photograph a drawing of mode L.

    Args:
        drawing: black on white.
        ink: what the ink reflects of red, green and blue, where the paper reflects 1.
        paper: what the paper reflects.
        shadow: share of the light that the shadow of a hand takes.
        ruled: light blue lines across.
        table: pixels of dark wood around the sheet.
        seed: of grain and noise.
    """
    random = np.random.default_rng(seed)
    drawn = 1 - np.asarray(drawing.filter(ImageFilter.GaussianBlur(1)), np.float32) / 255
    height, width = drawn.shape
    drawn = drawn * np.clip(1 + 0.3 * random.normal(size=drawn.shape), 0, 1.2)
    sheet = np.ones((height, width, 3))
    if ruled:
        for y in range(20, height, 28):
            sheet[y : y + 2] = (0.78, 0.88, 0.95)
    sheet *= 1 - drawn[..., None] * (1 - np.array(ink))
    sheet *= np.array(paper)
    if table:
        wood = np.ones((height, width), bool)
        wood[table:-table, table:-table] = False
        grain = random.normal(size=(int(wood.sum()), 1))
        sheet[wood] = np.array((0.3, 0.2, 0.13)) * (1 + 0.2 * grain)
    rows, columns = np.mgrid[0:height, 0:width]
    light = 1.1 - 0.5 * columns / width
    edge = (columns - 0.55 * width) + 0.4 * (rows - 0.5 * height)
    light = light * (1 - shadow / (1 + np.exp(-edge / 12)))
    seen = 225 * sheet * light[..., None] + 3 * random.normal(size=sheet.shape)
    stream = BytesIO()
    Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=80)
    return Image.open(stream).convert("RGB")
