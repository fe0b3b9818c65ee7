"""Runs of the index on a cluster, for tests: encoders that workers load by name, and results."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoders import ColourEncoder
from msedge.search.cluster.indexing import bring_up_to_date, opened
from msedge.search.cluster.plan import Choice
from msedge.search.cluster.shards import Listing, list_shard
from msedge.search.cluster.sources import find_sources
from msedge.search.cluster.summary import ClusterSummary
from msedge.search.cluster.wire import Part, PartResult
from msedge.search.cluster.worker import PartWorker, Work
from msedge.search.encoder import Embeddings, Pixels
from msedge.search.folders import FoundFile
from msedge.search.gallery_file import GalleryFile
from msedge.search.gallery_rows import NewPhoto
from msedge.search.lance.gallery import LanceGallery
from photo_files import picture

TESTS = str(Path(__file__).parent)
COLOURS = "cluster_runs:colours"
DEADLY = "cluster_runs:deadly"


def colours(model: str, device: str) -> ColourEncoder:
    """Loads the encoder of most tests; the model's name is its fingerprint."""
    assert device == "cpu"
    return ColourEncoder(model)


def deadly(model: str, device: str) -> ColourEncoder:
    """Loads an encoder whose process ends when it sees a black photo."""
    assert device == "cpu"
    return _Deadly(model)


class _Deadly(ColourEncoder):
    def photos(self, pixels: Pixels) -> Embeddings:
        if (pixels.reshape(len(pixels), -1).max(axis=1) == 0).any():
            os._exit(1)
        return super().photos(pixels)


class Here:
    """Parts are done in this process, one after the other, by the code that workers run."""

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers
        self.listed: list[str] = []
        self.parts: list[Part] = []

    def workers(self) -> int:
        return self._workers

    def list_shards(self, shards: Sequence[FoundFile], column: str | None) -> Iterable[Listing]:
        self.listed += [shard.path for shard in shards]
        return [list_shard(shard, column) for shard in shards]

    def results(
        self,
        parts: Sequence[Part],
        work: Work,
        alone: bool,  # noqa: ARG002
    ) -> Iterator[PartResult | None]:
        worker = PartWorker(work)
        for part in parts:
            self.parts.append(part)
            yield None
            yield PartResult.from_json(worker.do(Part.from_json(part.as_json())).as_json())


def index_here(
    sources: Sequence[Path | str],
    gallery: Path,
    engine: Here | None = None,
    *,
    stop: threading.Event | None = None,
    watcher: Any = None,
    **choice: Any,
) -> ClusterSummary:
    """Everything that `index_on_ray` does, without Ray."""
    encoder, chosen = colours("colours-1", "cpu"), Choice(**choice)
    found = find_sources(sources, exclude=chosen.exclude, hidden=chosen.hidden, without=gallery)
    with opened(gallery, encoder) as store:
        work = Work(gallery, COLOURS, "colours-1", encoder.fingerprint, encoder.dim)
        return bring_up_to_date(
            found, store, engine or Here(), work, chosen, watcher, stop or threading.Event()
        )


def rows_of(gallery: Path) -> dict[int, NewPhoto]:
    """Everything that a gallery of either kind holds, by id."""
    kind = LanceGallery if gallery.suffix == ".lance" else GalleryFile
    with kind.open(gallery) as store:
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
        assert _fields(photo) == _fields(other)
        np.testing.assert_array_equal(photo.vector, other.vector)


def _fields(photo: NewPhoto) -> tuple[Any, ...]:
    names = ("path", "size", "mtime_ns", "content_hash", "width", "height", "taken")
    return tuple(getattr(photo, name) for name in names)


def photo_bytes(content: int, kind: str = "PNG") -> bytes:
    """A small photo as a file's bytes."""
    stream = io.BytesIO()
    picture(content).save(stream, kind)
    return stream.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> Path:
    """A plain tar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(path, "w") as tar:
        for name, content in pairs:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def other_on_workers(model: str, device: str) -> ColourEncoder:
    """Loads another encoder in a worker than in the process that sees the tests as the program."""
    return colours("the worker's" if "default_worker" in sys.argv[0] else model, device)
