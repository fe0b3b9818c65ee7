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
from msedge.search.locations import is_remote, location

if TYPE_CHECKING:
    from msedge.search.cluster.indexing import ClusterSummary
    from msedge.search.index_summary import IndexWatcher

_PANEL = "On a cluster (--engine ray)"


class Engine(StrEnum):
    """What does the work."""

    LOCAL = "local"
    RAY = "ray"


EngineName = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="local: threads of this process, into a file. ray: processes on one or many machines, "
        "into a Lance dataset (--gallery NAME.lance), also from tars (WebDataset), Parquet files "
        "and URLs (s3://, gs://, https:// ...).",
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
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]


def check_engine(
    engine: Engine,
    gallery: Path,
    sources: Sequence[Path],
    *,
    rebuild: bool,
    only_ray: bool,
    only_local: bool,
) -> None:
    """Refuse combinations that mean nothing, saying which would.

    Args:
        engine: what was asked for.
        gallery: where to.
        sources: what to index.
        rebuild: whether everything is to be embedded anew.
        only_ray: whether an option was given that only the engine ``ray`` has.
        only_local: whether one was given that only the engine ``local`` has.

    Raises:
        ConfigError: the engine cannot do what is asked for.
    """
    is_lance = gallery.suffix == ".lance"
    if engine is Engine.RAY:
        if not is_lance:
            raise ConfigError(
                f"--engine ray writes a Lance dataset: give --gallery {gallery.stem}.lance instead "
                f"of {gallery} (`msedge gallery copy` brings over what that one holds)"
            )
        if only_local:
            raise ConfigError(
                "--recall is not for --engine ray: build the dataset's index afterwards with "
                "`msedge gallery approximate NAME.lance --recall R`"
            )
        if rebuild:
            raise ConfigError(
                "--rebuild is not for --engine ray: index into another dataset with --gallery "
                "OTHER.lance, and put it in the place of this one"
            )
        return
    if is_lance:
        raise ConfigError(
            f"{location(gallery)} is a Lance dataset: give --engine ray too, or index into a file "
            "and bring it over with `msedge gallery copy`"
        )
    if only_ray:
        raise ConfigError(
            "--address, --workers, --gpus-per-worker and --image-column are for --engine ray: "
            "give it, and --gallery NAME.lance"
        )
    for source in sources:
        if is_remote(source):
            raise ConfigError(
                f"{location(source)} is a URL: give --engine ray, and --gallery NAME.lance, to "
                "index from there"
            )


def model_of_dataset(asked: str | None, gallery: Path) -> str:
    """The model asked for, else the dataset's own, else the shipped one."""
    from msedge.models.shipped import DEFAULT_MODEL

    if asked is not None:
        return asked
    from msedge.errors import DataError
    from msedge.search.lance.datasets import no_gallery
    from msedge.search.lance.gallery import LanceGallery
    from msedge.search.locations import whole

    try:
        with LanceGallery.open(gallery) as dataset:
            return dataset.model.name
    except DataError as error:
        if str(error) != no_gallery(whole(gallery)):
            raise
        return DEFAULT_MODEL


def index_with_ray(
    sources: Sequence[Path],
    gallery: Path,
    model: str | None,
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
        model_of_dataset(model, gallery),
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
