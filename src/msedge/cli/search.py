"""``msedge search``: photos that look like a drawing.

Tested in ``tests/cli/test_search.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from msedge.cli import search_options as options

if TYPE_CHECKING:
    from msedge.search.filters import Filters, Orientation
    from msedge.search.gallery import Gallery, Hit
    from msedge.search.names import Wanted
    from msedge.search.query import Query
    from msedge.search.where import Box

_STANDARD_INPUT = Path("-")


def search_command(
    sketches: options.Sketches = None,
    gallery: options.GalleryPath = options.DEFAULT_GALLERY,
    k: options.K = 20,
    model: options.Model = None,
    like: options.Like = None,
    unlike: options.Unlike = None,
    not_sketch: options.NotSketch = None,
    name: options.NameGiven = None,
    not_name: options.NotName = None,
    no_names: options.NoNames = False,
    names: options.NamesFile = None,
    folder: options.Folder = None,
    after: options.After = None,
    before: options.Before = None,
    orientation: options.OrientationName = None,
    every_copy: options.EveryCopy = False,
    exact: options.Exact = False,
    paths: options.Paths = False,
    null: options.Null = False,
    as_json: options.AsJson = False,
    sheet: options.Sheet = None,
    where: options.Where = False,
    open_it: options.Open = False,
) -> None:
    """Find the photos of a gallery that look like a drawing.

    Several drawings and photos are one query: the mean of what is wanted, less a share of what is
    not. What the drawing is likely of, where the model knows names, draws it there; a name that is
    given is certain, and will do without a drawing. Near-duplicates are one hit.
    """
    from msedge.cli.search_output import show_json, show_paths, show_table, told_names
    from msedge.search.gallery import Gallery

    _check_outputs(paths=paths, null=null, as_json=as_json)
    _check_where(where=where, is_shown=as_json or sheet is not None)
    _check_not_names(bool(not_name), is_drawn=bool(sketches or name))
    wanted_names = _wanted_names(name or [], no_names=no_names)
    filters = _filters(folder, after, before, orientation)
    wanted, unwanted = _drawings(sketches or [], not_sketch or [])
    with Gallery.open(gallery, model=model, exact=exact, names=names) as opened:

        def make() -> Query:
            return opened.query(
                wanted,
                like=like or [],
                unlike=unlike or [],
                not_sketch=unwanted,
                names=wanted_names,
                not_names=not_name or [],
            )

        query, hits = opened.answer(make, k=k, filters=filters, collapse=not every_copy)
        if query.names:
            typer.echo(f"msedge: {told_names(query.names)}", err=True)
        if not hits:
            _say_why(opened)
        boxes = _boxes(opened, query, hits) if where else None
        if paths or null:
            show_paths(hits, null=null)
        elif as_json:
            show_json(hits, opened, query.names, boxes)
        elif hits:
            show_table(hits)
        if sheet is not None:
            from msedge.cli.search_sheet import NOT_LIKE, write_sheet

            drawn = [("sketch", each) for each in wanted]
            drawn += [(NOT_LIKE, each) for each in unwanted]
            photos = [("like", each) for each in like or []]
            photos += [(NOT_LIKE, each) for each in unlike or []]
            write_sheet(
                sheet,
                hits,
                opened,
                sketches=drawn,
                photos=photos,
                names=query.names,
                boxes=boxes,
            )
    if open_it and (sheet is not None or hits):
        _open(hits[0].photo.path if sheet is None else sheet)


def _check_outputs(*, paths: bool, null: bool, as_json: bool) -> None:
    from msedge.errors import ConfigError

    if as_json and (paths or null):
        raise ConfigError("--json does not go with --paths or --null: choose one")


def _check_where(*, where: bool, is_shown: bool) -> None:
    from msedge.errors import ConfigError

    if where and not is_shown:
        raise ConfigError("--where is shown by --json and --html: give one of them with it")


def _check_not_names(given: bool, *, is_drawn: bool) -> None:
    from msedge.errors import ConfigError

    if given and not is_drawn:
        raise ConfigError("--not-name says what a drawing is not: give a drawing with it")


def _boxes(gallery: Gallery, query: Query, hits: Sequence[Hit]) -> dict[int, Box]:
    from msedge.data.images import one_line

    if hits and not gallery.tells_places:
        name = one_line(Path(gallery.model.name).name)
        typer.echo(f"msedge: {name} does not tell where in a photo a thing is", err=True)
    return gallery.boxes(query, [hit.photo.id for hit in hits])


def _wanted_names(given: Sequence[str], *, no_names: bool) -> Wanted:
    from msedge.errors import ConfigError

    if given and no_names:
        raise ConfigError("--name does not go with --no-names: choose one")
    return given or not no_names


def _filters(
    folder: Path | None, after: datetime | None, before: datetime | None, orientation: str | None
) -> Filters | None:
    if not (folder or after or before or orientation):
        return None
    from msedge.search.filters import Filters

    return Filters(
        folder,
        None if after is None else after.date(),
        None if before is None else before.date(),
        cast("Orientation | None", orientation),  # Filters refuses what is none
    )


def _drawings(
    wanted: Sequence[Path], unwanted: Sequence[Path]
) -> tuple[list[Path | bytes], list[Path | bytes]]:
    """Drawings as paths; the one that is ``-`` as the bytes of standard input."""
    from msedge.errors import ConfigError

    given = [*wanted, *unwanted].count(_STANDARD_INPUT)
    if given > 1:
        raise ConfigError("- is standard input, which holds one drawing: give it once")
    content = _standard_input() if given else b""
    return (
        [content if path == _STANDARD_INPUT else path for path in wanted],
        [content if path == _STANDARD_INPUT else path for path in unwanted],
    )


def _standard_input() -> bytes:
    from msedge.data.drawings import MAX_BYTES
    from msedge.errors import ConfigError, DataError

    if sys.stdin.isatty():
        raise ConfigError("- is standard input, and that is this terminal: pipe a drawing into it")
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"standard input is longer than {MAX_BYTES // 1_000_000} MB: scale it down")
    return content


def _say_why(gallery: Gallery) -> None:
    from msedge.data.images import one_line

    name = one_line(gallery.path)
    if gallery.photos:
        typer.echo(f"msedge: no photo of {name} is left by the filters", err=True)
    else:
        typer.echo(
            f"msedge: {name} holds no photo yet: fill it with `msedge index PHOTOS`", err=True
        )


def _open(path: Path) -> None:
    from msedge.data.images import one_line
    from msedge.errors import ConfigError

    whole = path.absolute()
    if typer.launch(str(whole)) != 0:
        raise ConfigError(f"no program was found to open {one_line(whole)}: open it by hand")
