"""The hits of a search on standard output: as a table, as paths, as JSON.

File names may hold anything but a slash and a NUL, and need not be UTF-8. Paths go out as the bytes
that the file system has; what is meant for eyes and for JSON is made readable, and JSON has URIs,
which are exact, beside that. Tested in ``tests/cli/test_search_output.py``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.locations import is_remote, location, uri

if TYPE_CHECKING:
    from msedge.search.gallery import Gallery, Hit
    from msedge.search.names import Likely
    from msedge.search.where import Box

_UNBOUNDED = 10_000  # columns of what is not a terminal: nothing is cut there


def short_path(path: Path) -> str:
    """A path from the working directory where that is shorter; never like an option."""
    if is_remote(path):
        return location(path)
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the directory is gone; on Windows, another drive
        return str(path)
    if relative.startswith("-"):
        relative = os.path.join(os.curdir, relative)  # noqa: PTH118 (a Path would drop the dot)
    return min(relative, str(path), key=len)


def show_paths(hits: Sequence[Hit], *, null: bool) -> None:
    """Print paths as they are, best first, each ended by a line break or a NUL.

    Raises:
        DataError: a name holds a line break, and lines were asked for. Nothing is printed then.
    """
    end = b"\0" if null else b"\n"
    paths = [os.fsencode(short_path(hit.photo.path)) for hit in hits]
    for path in paths:
        if end in path:
            raise DataError(
                f"{one_line(os.fsdecode(path))} has a line break in its name: use --null, and "
                "xargs -0"
            )
    typer.echo(b"".join(path + end for path in paths), nl=False)


def told_names(names: Sequence[Likely]) -> str:
    """What a search made of its names, in a line.

    >>> from msedge.search.names import Likely
    >>> told_names([Likely("cat", 0.614), Likely("tiger", 0.2)])
    'drawn: cat 61 %, tiger 20 %'
    """
    settled = [one_line(each.name) for each in names if each.settled]
    if settled:
        return f"named: {', '.join(settled)}"
    likely = (f"{one_line(each.name)} {100 * each.likelihood:.0f} %" for each in names)
    return f"drawn: {', '.join(likely)}"


def show_json(
    hits: Sequence[Hit],
    gallery: Gallery,
    names: Sequence[Likely] = (),
    boxes: Mapping[int, Box] | None = None,
) -> None:
    """Print an answer as JSON, with the boxes of photos by their ids where they were asked for."""

    def box(photo: int) -> dict[str, object]:
        if boxes is None:
            return {}
        return {"box": boxes[photo].as_json() if photo in boxes else None}

    document = {
        "gallery": _readable(gallery.path),
        "model": gallery.model.name,
        "searched": gallery.photos,
        "names": [
            {"name": each.name, "likelihood": round(each.likelihood, 4), "settled": each.settled}
            for each in names
        ],
        "hits": [
            {
                "rank": hit.rank,
                "similarity": round(hit.similarity, 6),
                "score": round(hit.score, 6),
                **hit.photo.as_json(),
                **box(hit.photo.id),
                "copies": [copy.as_json() for copy in hit.copies],
            }
            for hit in hits
        ],
    }
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def show_table(hits: Sequence[Hit]) -> None:
    """Print rank, score and path; a click on a path opens it where a terminal can."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.style import Style
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _UNBOUNDED)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("photo", overflow="fold")
    for hit in hits:
        name = Text(one_line(short_path(hit.photo.path)), Style(link=uri(hit.photo.path)))
        if hit.copies:
            name.append(f"  (and {len(hit.copies)} like it)", Style(dim=True))
        table.add_row(str(hit.rank), f"{hit.score:.3f}", name)
    console.print(table)


def _readable(path: Path) -> str:
    """Valid Unicode, as JSON asks for; bytes that are none become U+FFFD."""
    return os.fsencode(location(path)).decode("utf-8", "replace")
