"""``msedge index``: a gallery of the photos in some folders.

Tested in ``tests/cli/test_index.py`` and ``tests/cli/test_index_on_ray.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msedge.cli.index_options import (
    Address,
    Engine,
    EngineName,
    GpusPerWorker,
    ImageColumn,
    Workers,
    check_engine,
    index_with_ray,
    model_for,
    tell_of_edition,
    worker_lines,
)
from msedge.cli.search_options import DEFAULT_GALLERY
from msedge.cli.signals import INTERRUPTED, stopped_by_signals
from msedge.search.locations import location

if TYPE_CHECKING:
    from msedge.search.indexing import IndexSummary


_SKIPS_SHOWN = 20


def index_command(
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTOS...",
            help="Folders, with all that lies below; photos, tars, Parquet files; URLs.",
        ),
    ],
    gallery: Annotated[
        Path, typer.Option("--gallery", metavar="FILE", help="The gallery; made when missing.")
    ] = DEFAULT_GALLERY,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A shipped model's name, or a model's file (default: the gallery's, or the "
            "shipped one).",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out files and folders whose name, or path below PHOTOS, matches: "
            "'*.png', 'drafts', '2019/*'. Give it several times for several.",
        ),
    ] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Look at names that begin with a dot, too.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Embed every photo of the gallery anew, as with other weights."
        ),
    ] = False,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Believe that a folder is without photos now; else a missing disk is suspected.",
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Photos at a time (default: one a CPU)."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what it came to as JSON, all skips included.")
    ] = False,
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall",
            min=0.0,
            max=1.0,
            help="Bring the approximate index up to date afterwards, so that it finds this share "
            "of the true first 20 photos (default: 0.99 from a million photos on, no index below; "
            "1: none).",
            show_default=False,
        ),
    ] = None,
    engine: EngineName = Engine.LOCAL,
    address: Address = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = 0.0,
    image_column: ImageColumn = None,
) -> None:
    """Make a gallery of photos, or bring it up to date.

    New, changed, moved and removed photos are noticed, and nothing else is read again. It can be
    stopped at any moment: the same command goes on from there.

    Exit status 0 even if files were skipped, 2 for bad input, 130 when stopped.
    """
    from msedge.cli.index_watcher import IndexTerminal
    from msedge.search.encoder import OnnxEncoder
    from msedge.search.indexing import index

    only_ray = any((address, workers, gpus_per_worker))
    check_engine(engine, gallery, rebuild=rebuild, only_ray=only_ray, recall=recall)
    named = model_for(model, gallery, rebuild=rebuild)
    if engine is Engine.RAY:
        with stopped_by_signals() as stop, IndexTerminal() as watcher:
            done = index_with_ray(
                photos,
                gallery,
                named,
                exclude=exclude or (),
                hidden=hidden,
                allow_empty=allow_empty,
                column=image_column,
                address=address,
                workers=workers,
                threads=threads,
                gpus=gpus_per_worker,
                watcher=watcher,
                stop=stop,
            )
        tell_of_edition(gallery, model, named)
        _tell(done, gallery, as_json, worker_lines(done))
        return
    # One thread a photo, several photos at a time: nothing waits for anything then.
    encoder = OnnxEncoder.load(named, threads=1)
    with stopped_by_signals() as stop, IndexTerminal() as watcher:
        summary = index(
            photos,
            gallery,
            encoder,
            exclude=exclude or (),
            hidden=hidden,
            allow_empty=allow_empty,
            rebuild=rebuild,
            watcher=watcher,
            workers=threads,
            stop=stop,
            column=image_column,
        )
    if not summary.stopped:
        _keep_quick(gallery, recall, quiet=as_json)
    tell_of_edition(gallery, model, named)
    _tell(summary, gallery, as_json)


def _keep_quick(gallery: Path, recall: float | None, *, quiet: bool) -> None:
    """Build the approximate index where it is asked for or due."""
    from msedge.search.stores import open_store
    from msedge.search.stores.store import APPROXIMATE_FROM, RECALL

    if recall == 1:
        return
    with open_store(gallery) as store:
        if not store.is_index_due(APPROXIMATE_FROM if recall is None else 1):
            return
    if recall is None and find_spec("faiss") is None:
        typer.echo(
            f"msedge: from {APPROXIMATE_FROM:,} photos on an approximate index makes searching "
            "quick: pip install 'msedge[ann]', then `msedge gallery approximate`",
            err=True,
        )
        return
    from msedge.cli.gallery import watched
    from msedge.cli.gallery_output import show_approximate
    from msedge.search.stores import build_approximate

    with watched("the photos are in the gallery, its index is as it was") as (watcher, stop):
        built = build_approximate(
            gallery, recall=recall or RECALL, force=True, watcher=watcher, stop=stop
        )
    if not quiet:
        show_approximate(built, gallery)


def _tell(
    summary: IndexSummary, gallery: Path, as_json: bool, more_lines: Sequence[str] = ()
) -> None:
    """Print what it came to; exits with 130 where it was stopped."""
    if as_json:
        told = {"gallery": location(gallery), **summary.as_dict()}
        typer.echo(json.dumps(told, indent=1))
    else:
        for line in more_lines:
            typer.echo(line)
        _show(summary, gallery)
    if summary.stopped:
        typer.echo(
            f"msedge: stopped with {summary.left:,} photos left; the same command goes on from "
            "there",
            err=True,
        )
        raise typer.Exit(INTERRUPTED)


def _show(summary: IndexSummary, gallery: Path) -> None:
    from msedge.cli.gallery_output import show_moved_folders
    from msedge.data.images import one_line

    for skipped in summary.skipped[:_SKIPS_SHOWN]:
        typer.echo(f"skipped {one_line(skipped.path)}: {skipped.reason}")
    if (more := len(summary.skipped) - _SKIPS_SHOWN) > 0:
        typer.echo(f"and {more:,} more skipped; --json lists all")
    names = ("new", "changed", "moved", "removed", "unchanged")
    counts = ", ".join(f"{getattr(summary, name):,} {name}" for name in names)
    pace = f" ({summary.photos_per_second:.1f} photos/s)" if summary.embedded else ""
    typer.echo(f"{counts}, {len(summary.skipped):,} skipped in {summary.seconds:.1f} s{pace}")
    if summary.hubs:
        typer.echo(f"{summary.hubs:,} photos got their hubs from the vectors that were there")
    typer.echo(f"{one_line(location(gallery))} holds {summary.photos:,} photos")
    show_moved_folders(summary.moved_folders, gallery, DEFAULT_GALLERY)
