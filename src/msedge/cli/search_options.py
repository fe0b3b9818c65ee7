"""The options of ``msedge search`` and their help.

Tested, as everything about the command, in ``tests/cli/test_search.py``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_GALLERY = Path("photos.msedge")

_QUERY = "What to look for, and what not"
_FILTERS = "Which photos count"
_OUTPUT = "How the answer comes (a table, unless one of these is given)"

Sketches = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[SKETCH]...",
        help="Drawings: pictures, SVG or stroke JSON; - for standard input. Several are one query.",
        show_default=False,
    ),
]
GalleryPath = Annotated[
    Path, typer.Option("--gallery", metavar="FILE", help="What `msedge index` wrote.")
]
K = Annotated[int, typer.Option("-k", metavar="K", help="Hits at most.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Name or file of the model that the gallery was made with, where that moved.",
        show_default=False,
    ),
]
Like = Annotated[
    list[Path] | None,
    typer.Option(
        "--like",
        metavar="PHOTO",
        help="A photo to be like, in the gallery or not; can be given again.",
        rich_help_panel=_QUERY,
        show_default=False,
    ),
]
Unlike = Annotated[
    list[Path] | None,
    typer.Option(
        "--unlike",
        metavar="PHOTO",
        help="A photo to be unlike, likewise; one of the gallery is no hit, nor are its copies.",
        rich_help_panel=_QUERY,
        show_default=False,
    ),
]
NotSketch = Annotated[
    list[Path] | None,
    typer.Option(
        "--not-sketch",
        metavar="SKETCH",
        help="A drawing of what is not wanted; can be given again.",
        rich_help_panel=_QUERY,
        show_default=False,
    ),
]
NameGiven = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="WORD",
        help="What is drawn, or without a drawing what is looked for; can be given again.",
        rich_help_panel=_QUERY,
        show_default=False,
    ),
]
NotName = Annotated[
    list[str] | None,
    typer.Option(
        "--not-name",
        metavar="WORD",
        help="What is not drawn; can be given again.",
        rich_help_panel=_QUERY,
        show_default=False,
    ),
]
NoNames = Annotated[
    bool,
    typer.Option(
        "--no-names",
        help="Go by the drawing alone, not by what it is likely of.",
        rich_help_panel=_QUERY,
    ),
]
NamesFile = Annotated[
    Path | None,
    typer.Option(
        "--names",
        metavar="FILE",
        help="Your own names (default: those of MSEDGE_NAMES, or of your data directory).",
        show_default=False,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Photos in this folder and below.",
        rich_help_panel=_FILTERS,
        show_default=False,
    ),
]
After = Annotated[
    datetime | None,
    typer.Option(
        "--after",
        metavar="YYYY-MM-DD",
        formats=["%Y-%m-%d"],
        help="Photos taken on this day or later.",
        rich_help_panel=_FILTERS,
        show_default=False,
    ),
]
Before = Annotated[
    datetime | None,
    typer.Option(
        "--before",
        metavar="YYYY-MM-DD",
        formats=["%Y-%m-%d"],
        help="Photos taken on this day or earlier.",
        rich_help_panel=_FILTERS,
        show_default=False,
    ),
]
OrientationName = Annotated[
    str | None,
    typer.Option(
        "--orientation",
        metavar="NAME",
        help="landscape, portrait or square.",
        rich_help_panel=_FILTERS,
        show_default=False,
    ),
]
EveryCopy = Annotated[
    bool,
    typer.Option("--all", help="Near-duplicates as hits of their own.", rich_help_panel=_FILTERS),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Compare with every photo, whatever index there is.",
        rich_help_panel=_FILTERS,
    ),
]
Paths = Annotated[
    bool,
    typer.Option("--paths", help="Paths alone, one a line.", rich_help_panel=_OUTPUT),
]
Null = Annotated[
    bool,
    typer.Option(
        "--null", help="Paths alone, each ended by a NUL, for xargs -0.", rich_help_panel=_OUTPUT
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_OUTPUT)]
Sheet = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page with thumbnails too, which needs no other file.",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]
Where = Annotated[
    bool,
    typer.Option(
        "--where",
        help="With --json or --html: where in each photo it is, where the model can tell.",
        rich_help_panel=_OUTPUT,
    ),
]
Open = Annotated[
    bool,
    typer.Option(
        "--open",
        help="Open that page, or without --html the first photo, as the desktop does.",
        rich_help_panel=_OUTPUT,
    ),
]
