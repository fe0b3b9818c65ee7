"""Formats as documents: bytes that are well formed become trees, and trees become bytes again.

A tree that was changed is still well formed, so that what it says is looked at, where most changes
to bytes end at the first check.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from fuzzing.mutation import Document, mutated

_MOST_BRACKETS = 60


@dataclass(frozen=True, slots=True)
class Form:
    """A format.

    Attributes:
        read: a document out of bytes; raises ``ValueError`` or ``RecursionError`` if it is none.
        write: bytes of a document, well formed whatever the document is.
        names: what keys may be called.
    """

    read: Callable[[bytes], Document]
    write: Callable[[Document], bytes]
    names: tuple[str, ...] = ()

    def mutated(self, content: bytes, random: Random) -> bytes | None:
        """Well formed bytes near these; None where these are not well formed."""
        try:
            return self.write(mutated(self.read(content), random, self.names))
        except (ValueError, RecursionError, ElementTree.ParseError, csv.Error):
            return None


def _written_json(document: Document) -> bytes:
    return json.dumps(document).encode()


def _read_lines(content: bytes) -> Document:
    return [json.loads(line) for line in content.splitlines() if line]


def _written_lines(document: Document) -> bytes:
    lines = document if isinstance(document, list) else [document]
    return b"".join(_written_json(line) + b"\n" for line in lines)


def _read_yaml(content: bytes) -> Document:
    import yaml

    if content.count(b"[") + content.count(b"{") > _MOST_BRACKETS:  # PyYAML would take seconds
        raise ValueError
    try:
        return yaml.safe_load(content)
    except Exception as error:  # as the parser under test says
        raise ValueError from error


def _written_yaml(document: Document) -> bytes:
    return json.dumps(document, default=str).encode()  # which YAML reads


def _read_toml(content: bytes) -> Document:
    return tomllib.loads(content.decode())


def _written_toml(document: Document) -> bytes:
    if not isinstance(document, dict):
        return f"value = {_toml(document)}\n".encode(errors="replace")
    lines = [f"{json.dumps(key)} = {_toml(value)}\n" for key, value in document.items()]
    return "".join(lines).encode(errors="replace")


def _toml(value: Document) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(str(value) if value is None else value)


def _read_csv(content: bytes) -> Document:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def _written_csv(document: Document) -> bytes:
    stream = io.StringIO(newline="")
    rows = document if isinstance(document, list) else [document]
    csv.writer(stream).writerows(row if isinstance(row, list) else [row] for row in rows)
    return stream.getvalue().encode(errors="replace")


def _read_xml(content: bytes) -> Document:
    return _tree(ElementTree.fromstring(content))


def _tree(element: ElementTree.Element) -> Document:
    held = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    return [element.tag.rpartition("}")[2], held, element.text or "", [*map(_tree, element)]]


def _written_xml(document: Document) -> bytes:
    return _xml(document, 0).encode(errors="replace")


def _xml(node: Document, depth: int) -> str:
    if depth > 80 or not isinstance(node, list):
        return escape(str(node)[:200])
    tag, attributes, text, children = (*node, "g", {}, "", [])[:4]
    name = str(tag).rpartition("}")[2] or "g"
    held = attributes if isinstance(attributes, dict) else {}
    said = "".join(f" {key.rpartition('}')[2]}={quoteattr(str(v))}" for key, v in held.items())
    head = ' xmlns="http://www.w3.org/2000/svg"' if depth == 0 else ""
    below = children if isinstance(children, list) else [children]
    inside = escape(str(text)) + "".join(_xml(child, depth + 1) for child in below)
    return f"<{name}{head}{said}>{inside}</{name}>"


_SVG_NAMES = (
    "d", "points", "transform", "viewBox", "width", "height", "x", "y", "cx", "cy", "r", "rx",
    "stroke", "stroke-width", "stroke-dasharray", "stroke-miterlimit", "fill", "filter", "mask",
    "clip-path", "marker-start", "href", "id", "class", "style", "opacity", "stdDeviation",
    "gradientTransform", "preserveAspectRatio", "patternUnits", "offset", "result", "in",
)  # fmt: skip

JSON = Form(json.loads, _written_json)
LINES = Form(_read_lines, _written_lines)
YAML = Form(_read_yaml, _written_yaml)
TOML = Form(_read_toml, _written_toml)
CSV = Form(_read_csv, _written_csv)
SVG = Form(_read_xml, _written_xml, _SVG_NAMES)

FORMS: dict[str, Form] = {
    **dict.fromkeys(
        ("strokes", "stroke_drawing", "card", "checkpoint", "vectors", "run_record", "marker",
         "approximate", "request", "shard_notes", "synonyms"), JSON,
    ),
    "run_log": LINES,
    **dict.fromkeys(("configuration", "plan"), YAML),
    "protocol": TOML,
    "table": CSV,
    **dict.fromkeys(("svg", "svg_drawing"), SVG),
}  # fmt: skip
"""The format of each parser's documents; those of the others are known as bytes alone."""
