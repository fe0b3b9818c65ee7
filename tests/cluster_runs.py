"""Runs of the index on a cluster, for tests: encoders that workers load by name, and results."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from encoders import ColourEncoder
from msedge.search.cluster.indexing import Choice, ClusterSummary, index_on_ray
from msedge.search.cluster.worker import Part, PartResult, PartWorker, Work
from msedge.search.encoder import Embeddings, Pixels
from msedge.search.photo import NAMES, NewPhoto
from msedge.search.sources.objects import Item
from msedge.search.sources.shards import Listing, list_shard
from msedge.search.stores import open_store
from msedge.search.stores.reports import StoppedError

TESTS = str(Path(__file__).parent)


def colours(model: str, device: str) -> ColourEncoder:
    """Loads the encoder of most tests; the model's name is its fingerprint."""
    assert device == "cpu"
    return ColourEncoder(model)


def deadly(model: str, device: str) -> ColourEncoder:
    """Loads an encoder whose process ends when it sees a black photo."""

    class Deadly(ColourEncoder):
        def photos(self, pixels: Pixels) -> Embeddings:
            if (pixels.reshape(len(pixels), -1).max(axis=1) == 0).any():
                os._exit(1)
            return super().photos(pixels)

    assert device == "cpu"
    return Deadly(model)


def dies_once(model: str, device: str) -> ColourEncoder:
    """Loads an encoder that ends its process, unless there is a file of the model's name."""

    class DiesOnce(ColourEncoder):
        def photos(self, pixels: Pixels) -> Embeddings:
            if not Path(model).exists():
                Path(model).touch()
                os._exit(1)
            return super().photos(pixels)

    assert device == "cpu"
    return DiesOnce()


def hangs(model: str, device: str) -> ColourEncoder:
    """Loads an encoder that tells its process by a file beside the model, and gives no answer."""

    class Hangs(ColourEncoder):
        def photos(self, pixels: Pixels) -> Embeddings:  # noqa: ARG002
            Path(f"{model}-{os.getpid()}").touch()
            while True:
                time.sleep(1)

    assert device == "cpu"
    return Hangs()


def slow(model: str, device: str) -> ColourEncoder:
    """Loads an encoder that takes 20 ms for each photo."""

    class Slow(ColourEncoder):
        def photos(self, pixels: Pixels) -> Embeddings:
            time.sleep(0.02 * len(pixels))
            return super().photos(pixels)

    assert device == "cpu"
    return Slow(model)


def other_on_workers(model: str, device: str) -> ColourEncoder:
    """Loads another encoder in a worker than in the process that sees the tests as the program."""
    return colours("the worker's" if "default_worker" in sys.argv[0] else model, device)


class Here:
    """Parts are done in this process, one after the other, by the code that workers run."""

    def __init__(self, model: str = "colours-1") -> None:
        self._model = model
        self.listed: list[str] = []
        self.parts: list[Part] = []

    def workers(self) -> int:
        return 2

    def list_shards(
        self, shards: Sequence[Item], column: str | None, stop: threading.Event
    ) -> Iterator[Listing]:
        for shard in shards:
            if stop.is_set():
                raise StoppedError
            self.listed.append(shard.path)
            yield list_shard(shard, column)

    def results(
        self,
        parts: Sequence[Part],
        work: Work,
        alone: bool,  # noqa: ARG002
    ) -> Iterator[PartResult | None]:
        worker = PartWorker(replace(work, model=self._model))
        for part in parts:
            self.parts.append(part)
            yield None
            yield worker.do(part)


def index_here(
    sources: Sequence[Path | str],
    gallery: Path,
    engine: Here | None = None,
    *,
    stop: threading.Event | None = None,
    watcher: Any = None,
    **choice: Any,
) -> ClusterSummary:
    """`index_on_ray` without Ray."""
    engine = engine or Here()
    with mock.patch("msedge.search.cluster.indexing.RayEngine", return_value=engine):
        return index_on_ray(
            sources, gallery, "colours-1", choice=Choice(**choice), stop=stop, watcher=watcher,
            encoder=colours,
        )  # fmt: skip


def rows_of(gallery: Path) -> dict[int, NewPhoto]:
    """Everything that a gallery of either kind holds, by id."""
    with open_store(gallery) as store:
        blocks = list(store.blocks())
    rows = [pair for block in blocks for pair in zip(block.ids, block.photos, strict=True)]
    assert len(rows) == len(dict(rows)) == len({photo.path for _, photo in rows})
    return dict(rows)


def ids_of(gallery: Path) -> dict[str, int]:
    """The ids that a gallery holds, by file name."""
    return {photo.path.name: id for id, photo in rows_of(gallery).items()}


def assert_same_galleries(first: Path, second: Path) -> None:
    """Every field of every photo is the same, ids and vectors included."""
    ours, theirs = rows_of(first), rows_of(second)
    assert list(ours) == list(theirs)
    for id, photo in ours.items():
        other = theirs[id]
        for name in NAMES:
            assert getattr(photo, name) == getattr(other, name)
        np.testing.assert_array_equal(photo.vector, other.vector)
