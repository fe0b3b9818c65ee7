"""``msedge gallery``: copying, checking and mending galleries, and making them quick or small.

What is done to a gallery itself names it first; what is done to a folder of photos in it takes
``--gallery``, as ``msedge index`` does.

Tested in ``tests/cli/test_gallery.py``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msedge.cli.search_options import DEFAULT_GALLERY, GalleryPath
from msedge.cli.signals import INTERRUPTED, stopped_by_signals
from msedge.search.locations import location

if TYPE_CHECKING:
    from msedge.search.stores.reports import Watcher

gallery_app = typer.Typer(
    name="gallery",
    help="Keep galleries: copy, check and mend, count, make small, make quick to search.",
    no_args_is_help=True,
)

Gallery = Annotated[
    Path,
    typer.Argument(
        metavar="GALLERY",
        help="A file that `msedge index` made, or a Lance dataset (.lance, also s3://...).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_LEFT = 1


@gallery_app.command("copy")
def copy_command(
    gallery: Gallery,
    copy: Annotated[
        Path,
        typer.Argument(
            metavar="COPY",
            help="What to make: NAME.lance (also s3://...) for a Lance dataset, else a file.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Copy a gallery, also into one of the other kind, and compare the two.

    Ids, everything known of the photos, and vectors stay as they are, to the bit. The gallery may
    be in use: the copy is of one moment. It is there whole or not at all.
    """
    from msedge.cli.gallery_output import show_copied
    from msedge.search.stores import copy_gallery

    with watched("nothing was made") as (watcher, stop):
        copied = copy_gallery(gallery, copy, watcher=watcher, stop=stop)
    if as_json:
        _print_json({"gallery": str(gallery), "copy": str(copy), **copied.as_dict()})
    else:
        show_copied(copied, copy)


@gallery_app.command("restore")
def restore_command(
    backup: Annotated[
        Path,
        typer.Argument(
            metavar="BACKUP", help="What `msedge gallery copy` made; it stays as it is."
        ),
    ],
    gallery: Annotated[
        Path, typer.Argument(metavar="GALLERY", help="What it is put in the place of.")
    ],
    as_json: AsJson = False,
) -> None:
    """Put a copy of a backup in a gallery's place, also while that is served.

    What was there is kept under another name, which is printed. Servers go on with the copy by
    themselves, within seconds.
    """
    from msedge.cli.gallery_output import show_restored
    from msedge.search.stores import restore_gallery

    with watched("the gallery is as it was") as (watcher, stop):
        restored = restore_gallery(backup, gallery, watcher=watcher, stop=stop)
    if as_json:
        _print_json({"gallery": str(gallery), "backup": str(backup), **restored.as_dict()})
    else:
        show_restored(restored, gallery)


@gallery_app.command("check")
def check_command(
    gallery: Gallery,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Mend what can be mended; without it, nothing is changed."),
    ] = False,
    photos: Annotated[
        bool,
        typer.Option("--photos", help="Look whether the photos' files are there and unchanged."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for damage, for what killed processes left, and for rows that no search can use.

    Exit status 0 when all is well or has been mended, 1 when something is left to do, 2 for bad
    input.
    """
    from msedge.cli.gallery_output import show_findings
    from msedge.search.stores import check_gallery

    with watched("what was mended stays so" if repair else "nothing was changed") as running:
        watcher, stop = running
        findings = check_gallery(gallery, repair=repair, photos=photos, watcher=watcher, stop=stop)
    is_sound = not any(finding.is_left for finding in findings)
    if as_json:
        listed = [finding.as_dict() for finding in findings]
        _print_json({"gallery": str(gallery), "is_sound": is_sound, "findings": listed})
    else:
        show_findings(findings, gallery, repaired=repair)
    if not is_sound:
        raise typer.Exit(_LEFT)


@gallery_app.command("stats")
def stats_command(gallery: Gallery, as_json: AsJson = False) -> None:
    """Print what a gallery holds, what it takes on disk, and how its search index does."""
    from msedge.cli.gallery_output import show_statistics
    from msedge.search.locations import whole
    from msedge.search.stores import open_store
    from msedge.search.stores.reports import Watched

    with watched("nothing was changed") as running, open_store(whole(gallery)) as store:
        statistics = store.statistics(Watched(*running))
    if as_json:
        _print_json(statistics.as_dict())
    else:
        show_statistics(statistics)


@gallery_app.command("compact")
def compact_command(gallery: Gallery, as_json: AsJson = False) -> None:
    """Give back the room of what was removed; searching goes on meanwhile."""
    from msedge.cli.gallery_output import show_compacted
    from msedge.search.locations import whole
    from msedge.search.stores import open_store
    from msedge.search.stores.reports import Watched

    told = "the gallery is whole; the same command goes on"
    with watched(told) as running, open_store(whole(gallery), writable=True) as store:
        compacted = store.compact(Watched(*running))
    if as_json:
        _print_json({"gallery": str(gallery), **compacted.as_dict()})
    else:
        show_compacted(compacted, gallery)


@gallery_app.command("approximate")
def approximate_command(
    gallery: Gallery,
    recall: Annotated[
        float,
        typer.Option(
            "--recall", help="Share of the true first 20 photos that a search is to find."
        ),
    ] = 0.99,
    kind: Annotated[
        str,
        typer.Option("--kind", help="auto, hnsw, ivf-sq or ivf-pq; of a Lance dataset auto alone."),
    ] = "auto",
    force: Annotated[
        bool, typer.Option("--force", help="Also where searching exactly is quick enough.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build an index for approximate search, and measure what it finds.

    Beside a file it is a cache, a folder that may be deleted at any time. What is indexed
    afterwards is found all the same; from time to time build it anew.
    """
    from msedge.cli.gallery_output import show_approximate
    from msedge.search.stores import build_approximate

    with watched("the index is as it was") as (watcher, stop):
        built = build_approximate(
            gallery, recall=recall, kind=kind, force=force, watcher=watcher, stop=stop
        )
    if as_json:
        _print_json({"gallery": str(gallery), **built.as_dict()})
    else:
        show_approximate(built, gallery)


@gallery_app.command("reroot")
def reroot_command(
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="The folder's name in the gallery; or a tar, or a URL."),
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Its name now.")],
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: AsJson = False,
) -> None:
    """Say that a folder of photos has another name now: its photos keep their ids.

    Every photo of OLD and below gets the same path under NEW; nothing is read or embedded. A photo
    that was indexed in NEW already is there once then.
    """
    from msedge.cli.gallery_output import show_rerooted
    from msedge.search.folders import reroot

    rerooted = reroot(gallery, old, new)
    if as_json:
        told = {"gallery": location(gallery), "old": location(old), "new": location(new)}
        _print_json({**told, **rerooted.as_dict()})
    else:
        show_rerooted(rerooted, old, new)


@gallery_app.command("forget")
def forget_command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Its name in the gallery; or a tar, or a URL."),
    ],
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: AsJson = False,
) -> None:
    """Take the photos of a folder, and of those below, out of a gallery.

    As of a disk that is gone for good: the folder need not be there. Files are not touched.
    """
    from msedge.cli.gallery_output import show_forgotten
    from msedge.search.folders import forget

    forgotten = forget(gallery, folder)
    if as_json:
        told = {"gallery": location(gallery), "folder": location(folder)}
        _print_json({**told, **forgotten.as_dict()})
    else:
        show_forgotten(forgotten, folder, gallery)


@contextmanager
def watched(when_stopped: str) -> Iterator[tuple[Watcher, threading.Event]]:
    """A bar that moves, and a way to be stopped, which says how things are then."""
    from msedge.cli.watcher import TerminalWatcher
    from msedge.search.stores.reports import StoppedError

    try:
        with stopped_by_signals() as stop, TerminalWatcher() as watcher:
            yield watcher, stop
    except StoppedError:
        typer.echo(f"msedge: stopped; {when_stopped}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=1))
