"""Building a gallery's indices: on vectors, to search; on ids and paths, to find single photos.

Photos may be put meanwhile; they are searched, too, without an index, until compacting adds them
to it. Tested in ``tests/search/lance/test_index_building.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from lance import LanceDataset, LanceOperation

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.search.encoder import Embeddings
from msedge.search.lance.datasets import told
from msedge.search.lance.moment import Moment
from msedge.search.lance.scanned import Scanned
from msedge.search.lance.schema import vectors_of
from msedge.search.lance.vector_index import KIND, NAME, Tuning
from msedge.search.locations import location
from msedge.search.sample_queries import aim_for, blends

if TYPE_CHECKING:
    from msedge.search.lance.gallery import LanceGallery

RECALL = 0.95
"""Share of the true first 20 that an index is to find, unless another is asked for."""

_PHOTOS_A_PARTITION = 2048
_SAMPLES_A_PARTITION = 64  # that centres are found from; Lance's 256 take four times as long
_QUERIES = 64
_FIRST = 20
_MOST_REFINED = 16
_SEED = 0


def build_index(
    gallery: LanceGallery,
    *,
    recall: float = RECALL,
    queries: Embeddings | None = None,
    telling: Callable[[str], None] | None = None,
) -> Tuning:
    """Build the indices, in place of those that there are, and find out how to ask them.

    Args:
        gallery: others may read and change it meanwhile.
        recall: share of the true first 20 that is to be found, in (0, 1].
        queries: unit vectors ``(n, dim)`` to measure that with; None for blends of photos.
        telling: told what is being done; may raise to make an end between two steps.

    Raises:
        ConfigError: the recall is no share.
        DataError: there are no photos, or the dataset cannot be read or written.
    """
    if not 0 < recall <= 1:
        raise ConfigError(f"recall {recall:g}: expected a share, as 0.95")
    tell = telling or (lambda _: None)
    begun = time.monotonic()
    photos = gallery.now(afresh=True).count()
    if not photos:
        raise DataError(f"gallery {one_line(location(gallery.path))} holds no photos to index")
    partitions = max(1, photos // _PHOTOS_A_PARTITION)
    tell("building the index on vectors")
    with told(gallery.path):
        dataset = gallery.own_dataset()
        _build(dataset, partitions)
        tell("building the indices on ids and paths")
        for column in ("id", "path"):
            dataset.create_scalar_index(column, "BTREE", replace=True)
    tell("measuring how much is found")
    moment = gallery.now(afresh=True)
    asked = _sample(moment) if queries is None else queries
    found = Tuning(KIND, partitions, 1, 1, 0.0, recall, len(asked), photos, 0.0)
    tuned = replace(_tuned(moment, asked, found), seconds=time.monotonic() - begun)
    setting = LanceOperation.UpdateMap({**tuned.setting()})
    gallery.change(lambda _: LanceOperation.UpdateConfig(config_updates=setting))
    return tuned


def _build(dataset: LanceDataset, partitions: int) -> None:
    dataset.create_index(
        "vector",
        KIND,
        NAME,
        metric="cosine",
        replace=True,
        num_partitions=partitions,
        sample_rate=_SAMPLES_A_PARTITION,
    )


def _sample(moment: Moment) -> Embeddings:
    """Blends of some photos, the same ones each time."""
    random, count = np.random.default_rng(_SEED), moment.count()
    some = random.choice(count, min(count, 2 * _QUERIES), replace=False)
    with told(moment.path):
        rows = moment.dataset.take(np.sort(some).tolist(), columns=["vector"])
    return blends(vectors_of(rows, moment.dim), random, _QUERIES)


def _tuned(moment: Moment, queries: Embeddings, tuning: Tuning) -> Tuning:
    """The least effort that finds the share that is wanted; all effort where none does."""
    truth = [
        set(Scanned(moment, None).nearest(each, _FIRST, None).ids.tolist()) for each in queries
    ]
    while True:
        tuning = replace(tuning, recall=_recall(moment, queries, truth, tuning))
        if tuning.recall >= aim_for(tuning.wanted):
            return tuning
        if tuning.probes < tuning.partitions:
            tuning = replace(tuning, probes=min(2 * tuning.probes, tuning.partitions))
        elif tuning.refine < _MOST_REFINED:
            tuning = replace(tuning, refine=2 * tuning.refine)
        else:
            return tuning


def _recall(moment: Moment, queries: Embeddings, truth: list[set[int]], tuning: Tuning) -> float:
    firsts = _firsts(Scanned(moment, tuning), queries)
    return sum(map(len, map(set.intersection, truth, firsts))) / sum(map(len, truth))


def _firsts(searched: Scanned, queries: Embeddings) -> list[set[int]]:
    return [set(searched.nearest(each, _FIRST, None).ids.tolist()) for each in queries]
