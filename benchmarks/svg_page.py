"""The frame of a figure that a benchmark draws: its size, its letters, its title."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH = 760
MARGIN = 16
SIZE = 14
INK = "#1a1a1a"


def svg_page(title: str, parts: Sequence[str], bottom: float) -> str:
    """The text of an SVG file.

    Args:
        title: for who cannot see it.
        parts: what is drawn.
        bottom: where the lowest part ends.
    """
    height = math.ceil(bottom + MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="{SIZE}" '
        f'fill="{INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    )
    return "\n".join([*head, *parts, "</svg>", ""])
