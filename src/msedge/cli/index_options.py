"""The options of ``msedge index`` that only the engine ``ray`` has, and what they come to.

Tested in ``tests/cli/test_index_on_ray.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msedge.errors import ConfigError

if TYPE_CHECKING:
    from msedge.search.cluster.indexing import ClusterSummary
    from msedge.search.indexing import IndexWatcher

_PANEL = "On a cluster (--engine ray)"


class Engine(StrEnum):
    """What does the work."""

    LOCAL = "local"
    RAY = "ray"


EngineName = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="local: threads of this process. ray: processes on one or many machines, into a Lance "
        "dataset (--gallery NAME.lance).",
        rich_help_panel=_PANEL,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Join this Ray cluster. Its nodes must have this msedge, and reach the gallery and "
        "PHOTOS by the names given here (default: start Ray on this machine).",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that embed, each --threads photos at a time, 1 unless given (default: as "
        "many as there are CPUs, or GPUs, for).",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
GpusPerWorker = Annotated[
    float,
    typer.Option(
        "--gpus-per-worker",
        metavar="G",
        min=0.0,
        help="GPUs of each worker; 0.5 for two workers on one. Needs onnxruntime-gpu.",
        rich_help_panel=_PANEL,
    ),
]
ImageColumn = Annotated[
    str | None,
    typer.Option(
        "--image-column",
        metavar="NAME",
        help="Column of Parquet files that holds the images, or their URLs or paths (default: the "
        "one that looks so).",
        show_default=False,
    ),
]


def check_engine(
    engine: Engine, gallery: Path, *, rebuild: bool, only_ray: bool, recall: float | None
) -> None:
    """Refuse combinations that mean nothing, saying which would.

    Args:
        engine: what was asked for.
        gallery: where to.
        rebuild: whether everything is to be embedded anew.
        only_ray: whether an option was given that only the engine ``ray`` has.
        recall: of the index beside the gallery; None where none was asked for.

    Raises:
        ConfigError: the engine or the gallery cannot do what is asked for.
    """
    from msedge.search.stores import store_class

    is_shared = store_class(gallery).is_shared
    if engine is Engine.RAY and not is_shared:
        raise ConfigError(
            f"--engine ray writes a Lance dataset: give --gallery {gallery.stem}.lance instead "
            f"of {gallery} (`msedge gallery copy` brings over what that one holds)"
        )
    if only_ray and engine is not Engine.RAY:
        raise ConfigError(
            "--address, --workers and --gpus-per-worker are for --engine ray: give it, and "
            "--gallery NAME.lance"
        )
    if is_shared and recall is not None:
        raise ConfigError(
            "--recall is not for a Lance dataset: build its index afterwards with "
            "`msedge gallery approximate NAME.lance --recall R`"
        )
    if is_shared and rebuild:
        raise ConfigError(
            "--rebuild is not for a Lance dataset: index into another dataset with --gallery "
            "OTHER.lance, and put it in the place of this one"
        )


def model_for(asked: str | None, gallery: Path, *, rebuild: bool = False) -> str:
    """The model asked for, else the gallery's own, else the shipped one."""
    from msedge.models.shipped import DEFAULT_MODEL, edition_of
    from msedge.search.stores import open_store
    from msedge.search.stores.store import MissingGalleryError

    if asked is not None:
        return asked
    if rebuild:
        return DEFAULT_MODEL
    try:
        with open_store(gallery) as store:
            return edition_of(store.model.name, store.model.fingerprint)
    except MissingGalleryError:
        return DEFAULT_MODEL


def tell_of_edition(gallery: Path, asked: str | None, model: str) -> None:
    """Say how a gallery of a shipped model's earlier edition moves to the present one."""
    from msedge.models.shipped import DEFAULT_MODEL, EARLIER_EDITIONS
    from msedge.search.stores import store_class

    if asked is None and model in EARLIER_EDITIONS.values():
        way = "`msedge index --rebuild` moves it to the present one, and it answers meanwhile"
        if store_class(gallery).is_shared:
            way = (
                "index into another dataset with --gallery OTHER.lance --model "
                f"{DEFAULT_MODEL}, and put it in the place of this one"
            )
        typer.echo(f"msedge: this gallery is of an earlier edition, {model}; {way}", err=True)


def index_with_ray(
    sources: Sequence[Path],
    gallery: Path,
    model: str,
    *,
    exclude: Sequence[str],
    hidden: bool,
    allow_empty: bool,
    column: str | None,
    address: str | None,
    workers: int | None,
    threads: int | None,
    gpus: float,
    watcher: IndexWatcher,
    stop: threading.Event,
) -> ClusterSummary:
    """Index as the options say; see :func:`msedge.search.cluster.indexing.index_on_ray`."""
    if find_spec("ray") is None:  # of all that is missing then, the extra that brings the rest
        raise ModuleNotFoundError("No module named 'ray'", name="ray")
    from msedge.search.cluster.indexing import Choice, Cluster, index_on_ray

    return index_on_ray(
        sources,
        gallery,
        model,
        cluster=Cluster(address, workers, threads or 1, gpus),
        choice=Choice(tuple(exclude), hidden, column, allow_empty),
        watcher=watcher,
        stop=stop,
    )


def worker_lines(summary: ClusterSummary) -> list[str]:
    """What each worker did, a line each."""
    return [
        f"worker {name}: {pace.photos:,} photos, {pace.photos_per_second:.1f} photos/s"
        for name, pace in sorted(summary.workers.items())
    ]
