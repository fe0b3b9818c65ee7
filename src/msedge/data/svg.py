"""SVG drawings as pixels, by resvg, with nothing in them that reaches outside or goes on for ever.

resvg on its own opens the files that an SVG names, and a small document can keep it busy for hours
or overflow its stack, which ends the process. So the document is first read here: links to
anything but itself are taken out, entities and absurd nesting refused, the page brought to a fixed
size. What is left is drawn by a process of its own that may take so much memory and time and no
more. Needs the extra ``svg``. Tested in ``tests/data/test_svg.py``.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from io import BytesIO
from xml.etree import ElementTree

from PIL import Image

from msedge.errors import DataError
from msedge.quoting import named, plain

MAX_BYTES = 5_000_000
MAX_ELEMENTS = 50_000
MAX_DEPTH = 64
MAX_SECONDS = 5.0

_SIDE = 768  # three times what a network reads
_MEMORY = 2 << 30
_OUTSIDE = frozenset({"image", "feImage", "script", "foreignObject"})
_UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_LENGTH = re.compile(r"\s*([0-9]{0,20}\.?[0-9]{1,20}(?:e[+-]?[0-9]{1,3})?)\s*([a-z]*)\s*", re.I)
_DECLARED = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']([^\"'>]{0,200})"
)
_ENCODINGS = re.compile(rb"utf-?8|us-ascii|ascii|latin-?1|iso-8859-\d\d?|windows-125\d", re.I)
_NAMESPACE = "{http://www.w3.org/2000/svg}"

_RENDERER = f"""
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY}, {_MEMORY}))
except (ImportError, ValueError, OSError):
    pass
import resvg_py
page = sys.stdin.buffer.read().decode()
sys.stdout.buffer.write(resvg_py.svg_to_bytes(
    svg_string=page, skip_system_fonts=True))
"""


def looks_like_svg(content: bytes) -> bool:
    """Whether a file's head is that of an SVG document."""
    head = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<") and b"<svg" in content[:65_536]


def draw_svg(content: bytes, name: str) -> Image.Image:
    """Draw an SVG document.

    Args:
        content: the document in UTF-8 or what it declares, at most :data:`MAX_BYTES`,
            :data:`MAX_ELEMENTS` and :data:`MAX_DEPTH`.
        name: what an error calls it.

    Returns:
        A square sheet of mode ``RGBA``, transparent where nothing is drawn; the page lies
        centred in it, its aspect ratio kept. Images and text are left out; nothing is read from
        files or networks.

    Raises:
        DataError: the document is damaged, beyond a limit or takes longer than
            :data:`MAX_SECONDS`, or the extra ``svg`` is missing.
    """
    name = named(name)
    if importlib.util.find_spec("resvg_py") is None:
        raise DataError(
            f"cannot read drawing {name}: SVG needs a renderer: pip install 'msedge[svg]'"
        )
    return _render(harmless_svg(content, name), name)


def harmless_svg(content: bytes, name: str) -> bytes:
    """The same document without what reaches outside of it, its page of a fixed size.

    Args:
        content: as of :func:`draw_svg`.
        name: what an error calls it.

    Returns:
        A document in UTF-8.

    Raises:
        DataError: the document is damaged or beyond a limit.
    """
    name = named(name)
    try:
        return _harmless(content)
    except ElementTree.ParseError as error:
        raise DataError(f"cannot read drawing {name}: it is no well-formed SVG") from error
    except (ValueError, LookupError) as error:
        raise DataError(f"cannot read drawing {name}: {plain(error)}") from error


def _render(page: bytes, name: str) -> Image.Image:
    command = [sys.executable, "-P", "-c", _RENDERER]  # -P: no module of the current folder
    try:
        done = subprocess.run(
            command, input=page, capture_output=True, timeout=MAX_SECONDS, check=True
        )
        with Image.open(BytesIO(done.stdout), formats=("PNG",)) as sheet:
            return _darkened(sheet.convert("RGBA"))
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"cannot read drawing {name}: it takes longer than {MAX_SECONDS:g} s to draw; "
            "save it simpler, or as PNG"
        ) from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()
        last = words[-1] if words else "the renderer failed"
        raise DataError(f"cannot read drawing {name}: {plain(last)}") from error
    except OSError as error:
        raise DataError(f"cannot read drawing {name}: {plain(error)}") from error


def _darkened(sheet: Image.Image) -> Image.Image:
    """The same at full strength where the strongest mark is a shade, as smoothed hairlines are."""
    strongest = int(sheet.getchannel("A").getextrema()[1])  # type: ignore[arg-type]
    if 0 < strongest < 255:
        alpha = sheet.getchannel("A").point([level * 255 // strongest for level in range(256)])
        sheet.putalpha(alpha)
    return sheet


def _harmless(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES // 1_000_000} MB of SVG")
    if b"<!ENTITY" in content:
        raise ValueError("it defines entities, which are not followed; save it as plain SVG")
    if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):  # entities would hide
        raise ValueError("expected an SVG in UTF-8; save it as plain SVG")
    declared = _DECLARED.match(content)
    if declared and not _ENCODINGS.fullmatch(declared[1]):  # Python has stranger ones than text's
        raise ValueError(
            f"expected an SVG in UTF-8, not {plain(declared[1].decode('latin-1'), 40)}"
        )
    root = _parse(content)
    if root.tag not in (f"{_NAMESPACE}svg", "svg"):
        raise ValueError("its outermost element is not <svg>")
    _take_out_links(root)
    _fit(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8"))


def _parse(content: bytes) -> ElementTree.Element:
    root: ElementTree.Element | None = None
    depth = elements = 0
    for event, element in ElementTree.iterparse(BytesIO(content), events=("start", "end")):
        root = element if root is None else root
        depth += 1 if event == "start" else -1
        elements += event == "start"
        if depth > MAX_DEPTH:
            raise ValueError(f"its elements are nested deeper than {MAX_DEPTH}")
        if elements > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_ELEMENTS:,} elements; save it simpler, or as PNG")
    if root is None:
        raise ValueError("it is empty")
    return root


def _take_out_links(root: ElementTree.Element) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in _OUTSIDE:
                parent.remove(child)
        for key, value in list(parent.attrib.items()):
            if _local(key) == "href" and not value.strip().startswith("#"):
                del parent.attrib[key]


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
