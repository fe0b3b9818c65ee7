"""Indexing on a cluster: a Lance gallery is brought to hold what lies in its sources.

As :mod:`msedge.search.indexing`, with many machines and more kinds of sources. Tested in
``tests/search/cluster/test_indexing*.py`` and ``tests/search/cluster/test_node_killed.py``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from msedge.errors import ConfigError, DataError
from msedge.search.cluster.plan import Choice, parts_of, plan_work, with_ids
from msedge.search.cluster.run import ClusterRun
from msedge.search.cluster.shards import Listing
from msedge.search.cluster.sidecars import (
    DeadLetters,
    ShardRecord,
    read_shard_records,
    write_shard_records,
)
from msedge.search.cluster.sources import Sources, find_sources
from msedge.search.cluster.started_ray import Cluster, StartedRay
from msedge.search.cluster.summary import ClusterSummary
from msedge.search.cluster.wire import Part, PartResult
from msedge.search.cluster.worker import Work, load_encoder
from msedge.search.encoder import Encoder
from msedge.search.folders import FoundFile
from msedge.search.gallery_rows import Model
from msedge.search.index_lock import sole_indexer
from msedge.search.index_summary import IndexWatcher, Skipped
from msedge.search.lance.datasets import no_gallery
from msedge.search.lance.gallery import LanceGallery
from msedge.search.locations import is_remote, whole
from msedge.search.onnx_encoder import providers_of
from msedge.search.open_store import LANCE_SUFFIX, is_lance

ONNX = "msedge.search.cluster.worker:onnx_encoder"
"""What loads the encoder in every process, unless told otherwise."""


def index_on_ray(
    sources: Sequence[Path | str],
    gallery: Path,
    model: str,
    *,
    cluster: Cluster | None = None,
    choice: Choice | None = None,
    watcher: IndexWatcher | None = None,
    stop: threading.Event | None = None,
    encoder: str = ONNX,
) -> ClusterSummary:
    """Bring a Lance gallery to hold the photos of some sources.

    Photos outside these sources stay as they are. A photo that is changed or moved keeps its id;
    what cannot be read is passed over, noted in ``<gallery>.unread.jsonl`` and tried again next
    time. Stopped or killed at any moment, the next run goes on from the last commit, a few seconds
    before.

    Args:
        sources: folders, photos, tars and Parquet files, as paths or as URLs that fsspec knows.
        gallery: the dataset, ``.lance``; made when it is missing. All machines must reach it, and
            the sources, by these names.
        model: a model's name, or a model's file, that every machine has.
        cluster: where and how; None for this machine.
        choice: which photos count; None for all.
        watcher: told how it goes.
        stop: set it to make an end; what has come in is committed.
        encoder: a function that takes ``model`` and a device and gives the encoder, as
            ``module:name``.

    Returns:
        What it came to.

    Raises:
        DataError: a source is missing, unreadable or suddenly without photos; another process
            indexes into the gallery; it is not a gallery, or damaged.
        WeightsError: the gallery was made by other weights; there is no such model.
        ConfigError: the gallery is no Lance dataset; a number is too small; there is no such
            cluster, or it lacks what is asked for.
    """
    cluster, choice = cluster or Cluster(), choice or Choice()
    check_options(gallery, cluster)
    begun = time.monotonic()
    gallery = whole(gallery)
    if cluster.gpus and cluster.address is None:
        providers_of("cuda")  # before anything is started; elsewhere the workers will say so
    own = load_encoder(encoder, model, "cpu")
    found = find_sources(sources, exclude=choice.exclude, hidden=choice.hidden, without=gallery)
    with ExitStack() as held:
        # Of a remote dataset, two that index at once are told apart by their commits alone.
        held.enter_context(nullcontext() if is_remote(gallery) else sole_indexer(gallery))
        store = held.enter_context(opened(gallery, own))
        ray = held.enter_context(StartedRay(cluster))
        device = "cuda" if cluster.gpus else "cpu"
        work = Work(gallery, encoder, model, own.fingerprint, own.dim, cluster.threads, device)
        summary = bring_up_to_date(
            found, store, ray, work, choice, watcher, stop or threading.Event()
        )
    summary.seconds = time.monotonic() - begun
    return summary


def check_options(gallery: Path, cluster: Cluster) -> None:
    """Refuse what cannot be, before anything is loaded.

    Raises:
        ConfigError: the gallery is no Lance dataset, or a number is too small.
    """
    if not is_lance(gallery):
        raise ConfigError(
            f"a cluster writes a Lance gallery, whose name ends in {LANCE_SUFFIX}, and not "
            f"{gallery}: give --gallery NAME{LANCE_SUFFIX}; `msedge gallery copy` brings over what "
            "another holds"
        )
    cluster.check()


class Engine(Protocol):
    """Who does the work: :class:`StartedRay`."""

    def workers(self) -> int:
        """How many workers there are."""

    def list_shards(self, shards: Sequence[FoundFile], column: str | None) -> Iterable[Listing]:
        """List shards, in any order."""

    def results(
        self, parts: Sequence[Part], work: Work, alone: bool
    ) -> Iterator[PartResult | None]:
        """Have parts done; each worker has one at a time where ``alone``. None is a tick."""


def bring_up_to_date(
    found: Sources,
    store: LanceGallery,
    engine: Engine,
    work: Work,
    choice: Choice,
    watcher: IndexWatcher | None,
    stop: threading.Event,
) -> ClusterSummary:
    """Bring an open gallery to hold what was found; see :func:`index_on_ray`."""
    places, records = store.places(), read_shard_records(store.path)

    def list_shards(shards: Sequence[FoundFile]) -> Iterable[Listing]:
        return engine.list_shards(shards, choice.column)

    def ask(parts: Sequence[Part], alone: bool) -> Iterator[PartResult | None]:
        return engine.results(parts, replace(work, elsewhere=frozenset(plan.gone)), alone)

    plan = plan_work(found, places, records, choice, list_shards)
    _record(store.path, records, plan.records)
    letters = DeadLetters(store.path)
    letters.keep([*plan.unread, *(file.path for file in plan.to_read)])
    for path, reason in plan.unread.items():
        letters.add(path, reason)
    items = with_ids(plan, places, store.reserve_ids)
    parts = parts_of(items, engine.workers()) if items else []
    summary = ClusterRun(store, plan.gone, letters, watcher, stop).run(parts, ask)
    summary.unchanged += plan.unchanged
    summary.skipped += [Skipped(Path(path), why) for path, why in plan.unread.items()]
    summary.skipped.sort(key=lambda skipped: os.fsencode(skipped.path))
    return summary


def _record(gallery: Path, before: Mapping[str, ShardRecord], now: Sequence[ShardRecord]) -> None:
    """Note what shards hold, where that is news."""
    after = {**before, **{record.path: record for record in now}}
    if after != before:
        write_shard_records(gallery, after.values())


def opened(gallery: Path, encoder: Encoder) -> LanceGallery:
    """A gallery open for writing, made where it is missing.

    Raises:
        DataError: it is something else, damaged, or cannot be made.
        WeightsError: other weights made it.
    """
    model = Model(encoder.name, encoder.fingerprint, encoder.dim)
    if not is_remote(gallery) and not os.path.lexists(gallery):
        return LanceGallery.create(gallery, model)
    try:
        store = LanceGallery.open(gallery, writable=True)
    except DataError as error:
        if str(error) != no_gallery(gallery):
            raise
        return LanceGallery.create(gallery, model)
    store.check_model(encoder)
    return store
