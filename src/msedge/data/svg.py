"""SVG drawings as pixels, by resvg, with nothing in them that reaches outside.

resvg on its own opens files that an SVG names, follows references without end and can be brought
down by deep nesting. So the document is first read here: what could load (images, style imports),
multiply (entities, patterns, references) or take long (filters) is left out or refused, and what
is left is drawn on a sheet of fixed size. Needs the extra ``svg``. Tested in
``tests/data/test_svg.py``.
"""

from __future__ import annotations

import re
from io import BytesIO
from xml.etree import ElementTree

from PIL import Image

from msedge.data.images import one_line
from msedge.errors import DataError

MAX_BYTES = 5_000_000
MAX_ELEMENTS = 20_000
"""Most elements that are drawn, those counted again that a ``use`` draws again."""

MAX_DEPTH = 64
"""Deepest nesting, references followed; resvg recurses, and overflows its stack at hundreds."""

_SIDE = 1024  # enough for any line that a drawing can hold and be seen at 192 to 256 px
_LEFT_OUT = frozenset({"image", "feImage", "filter", "pattern", "script", "foreignObject"})
_UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_LENGTH = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_NAMESPACE = "{http://www.w3.org/2000/svg}"


def looks_like_svg(content: bytes) -> bool:
    """Whether a file's head is that of an SVG document."""
    head = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<") and b"<svg" in content[:65_536]


def draw_svg(content: bytes, name: str) -> Image.Image:
    """Draw an SVG document.

    Args:
        content: the document, at most :data:`MAX_BYTES`, :data:`MAX_ELEMENTS` and
            :data:`MAX_DEPTH`.
        name: what an error calls it.

    Returns:
        A square sheet of mode ``RGBA``, transparent where nothing is drawn; the page lies
        centred in it, its aspect ratio kept. Embedded and linked images, filters, patterns and
        text are left out; nothing is read from files or networks.

    Raises:
        DataError: the document is damaged or beyond a limit, or the extra ``svg`` is missing.
    """
    name = one_line(name)
    try:
        import resvg_py
    except ImportError as error:
        raise DataError(
            f"cannot read drawing {name}: SVG needs a renderer: pip install 'msedge[svg]'"
        ) from error
    try:
        page = _harmless(content)
        drawn = resvg_py.svg_to_bytes(svg_string=page, skip_system_fonts=True)
        with Image.open(BytesIO(drawn), formats=("PNG",)) as sheet:
            return sheet.convert("RGBA")
    except (ValueError, ElementTree.ParseError, LookupError) as error:
        cause = "it is no well-formed SVG" if isinstance(error, ElementTree.ParseError) else error
        raise DataError(f"cannot read drawing {name}: {one_line(cause)}") from error


def _harmless(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES // 1_000_000} MB of SVG")
    if b"<!ENTITY" in content:
        raise ValueError("it defines entities, which are not followed; save it as plain SVG")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("expected an SVG in UTF-8; save it as plain SVG")
    root = _parse(content)
    if root.tag not in (f"{_NAMESPACE}svg", "svg"):
        raise ValueError("its outermost element is not <svg>")
    _leave_out(root)
    _check_references(root)
    _fit(root)
    ElementTree.register_namespace("", _NAMESPACE[1:-1])
    return ElementTree.tostring(root, encoding="unicode")


def _parse(content: bytes) -> ElementTree.Element:
    events = ElementTree.iterparse(BytesIO(content), events=("start", "end"))
    depth = elements = 0
    for event, _ in events:
        depth += 1 if event == "start" else -1
        elements += event == "start"
        if depth > MAX_DEPTH:
            raise ValueError(f"its elements are nested deeper than {MAX_DEPTH}")
        if elements > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_ELEMENTS:,} elements; draw it simpler")
    root: ElementTree.Element = events.root  # type: ignore[attr-defined]
    return root


def _leave_out(root: ElementTree.Element) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or _local(child.tag) in _LEFT_OUT:
                parent.remove(child)
        for key, value in list(parent.attrib.items()):
            outside = _local(key) == "href" and not value.strip().startswith("#")
            if outside or key == "filter" or key.startswith("on"):
                del parent.attrib[key]


def _check_references(root: ElementTree.Element) -> None:
    """Refuse documents whose references multiply them, or lead in a circle."""
    by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
    known: dict[ElementTree.Element, tuple[int, int]] = {}

    def measure(element: ElementTree.Element, depth: int) -> tuple[int, int]:
        """How many elements one draws, and how deep they lie."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its references are nested deeper than {MAX_DEPTH} or in a circle")
        if element not in known:
            drawn = [measure(child, depth + 1) for child in element]
            drawn += [measure(by_id[name], depth + 1) for name in _refers(element) & by_id.keys()]
            count = 1 + sum(found[0] for found in drawn)
            known[element] = (count, 1 + max((found[1] for found in drawn), default=0))
        if depth + known[element][1] > MAX_DEPTH + 1:
            raise ValueError(f"its references are nested deeper than {MAX_DEPTH}")
        return known[element]

    if measure(root, 0)[0] > MAX_ELEMENTS:
        raise ValueError(f"its references draw more than {MAX_ELEMENTS:,} elements")


def _refers(element: ElementTree.Element) -> set[str | None]:
    names: set[str | None] = set()
    for key, value in element.attrib.items():
        if _local(key) == "href":
            names.add(value.strip().removeprefix("#"))
        names.update(re.findall(r"url\(\s*['\"]?#([^'\")\s]+)", value))
    return names


def _fit(root: ElementTree.Element) -> None:
    """Give the page a fixed size, so that neither a metre nor a pixel of it matters."""
    if "viewBox" not in root.attrib:
        width, height = (_pixels(root.get(side, "")) for side in ("width", "height"))
        if width and height:
            root.set("viewBox", f"0 0 {width} {height}")
    for side in ("width", "height"):
        root.set(side, str(_SIDE))
    for key in ("preserveAspectRatio", "style"):
        root.attrib.pop(key, None)


def _pixels(length: str) -> float:
    match = _LENGTH.fullmatch(length)
    return float(match[1]) * _UNITS.get(match[2].lower(), 0.0) if match else 0.0


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
