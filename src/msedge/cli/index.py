"""``msedge index``: a gallery of the photos in some folders.

Tested in ``tests/cli/test_index.py`` and ``tests/cli/test_index_on_ray.py``.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    worker_lines,
)
from msedge.cli.search_options import DEFAULT_GALLERY
from msedge.search.locations import location

if TYPE_CHECKING:
    from msedge.search.index_summary import IndexSummary


_SKIPS_SHOWN = 20
_INTERRUPTED = 130


def index_command(
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTOS...", help="Folders, with all that lies below.")
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
    from msedge.search.indexing import index
    from msedge.search.onnx_encoder import OnnxEncoder

    only_ray = any((address, workers, gpus_per_worker, image_column))
    check_engine(engine, gallery, photos, rebuild=rebuild, only_ray=only_ray)
    if engine is Engine.RAY:
        with _stopped_by_signals() as stop, IndexTerminal() as watcher:
            done = index_with_ray(
                photos,
                gallery,
                model,
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
        _tell(done, gallery, as_json, worker_lines(done))
        return
    # One thread a photo, several photos at a time: nothing waits for anything then.
    encoder = OnnxEncoder.load(_model(model, gallery, rebuild), threads=1)
    with _stopped_by_signals() as stop, IndexTerminal() as watcher:
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
        )
    _tell(summary, gallery, as_json)


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
        raise typer.Exit(_INTERRUPTED)


def _model(asked: str | None, gallery: Path, rebuild: bool) -> str:
    """The model asked for, else the gallery's own, else the shipped one."""
    from msedge.models.shipped import DEFAULT_MODEL
    from msedge.search.gallery_file import GalleryFile

    if asked is not None:
        return asked
    if rebuild or not gallery.exists():
        return DEFAULT_MODEL
    with GalleryFile.open(gallery) as file:
        return file.model.name


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, or a request to end, sets; the second one ends at once."""
    stop = threading.Event()

    def ask(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {}
    if threading.current_thread() is threading.main_thread():  # others cannot set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(summary: IndexSummary, gallery: Path) -> None:
    from msedge.data.images import one_line

    for skipped in summary.skipped[:_SKIPS_SHOWN]:
        typer.echo(f"skipped {one_line(skipped.path)}: {skipped.reason}")
    if (more := len(summary.skipped) - _SKIPS_SHOWN) > 0:
        typer.echo(f"and {more:,} more skipped; --json lists all")
    names = ("new", "changed", "moved", "removed", "unchanged")
    counts = ", ".join(f"{getattr(summary, name):,} {name}" for name in names)
    pace = f" ({summary.photos_per_second:.1f} photos/s)" if summary.embedded else ""
    typer.echo(f"{counts}, {len(summary.skipped):,} skipped in {summary.seconds:.1f} s{pace}")
    typer.echo(f"{one_line(location(gallery))} holds {summary.photos:,} photos")
