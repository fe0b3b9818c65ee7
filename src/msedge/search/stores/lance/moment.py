"""What is read from one version of a gallery's dataset: its photos, and its vectors for a search.

Where all vectors fit into memory they are held there and searched exactly: for 100,000 photos that
is twice as quick as letting Lance read them for every query, and an object store is asked once
(``benchmarks/lance_search.py``). Beyond that Lance finds candidates, by its vector index where
there is one, which are ranked again exactly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lance import LanceDataset
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from msedge.blas_threads import one_blas_thread
from msedge.models.bank import HUB_SHARE
from msedge.search.filters import Filters, condition
from msedge.search.photo import (
    LARGEST_ID,
    Block,
    Ids,
    Photo,
    Reals,
    check_finite,
    checked_hubness,
    photo_of,
)
from msedge.search.ranking import Candidates, Embeddings, aim_for, blends, nearest, unit_vectors
from msedge.search.stores.lance import dataset as stored
from msedge.search.stores.lance.dataset import FACTS, WHOLE, literal, there, told, vectors_of
from msedge.search.stores.reports import IndexState
from msedge.search.stores.store import HUBS
from msedge.search.stores.vectors import Kept, Resident, rows_of

_INDEX_NAME = "msedge_vectors"

# Parts of near vectors, each component in a byte: soon trained, nearly in order, and read from an
# object store as a few whole parts, where a graph is read node by node. What it costs is measured
# by ``benchmarks/lance_search.py`` and ``benchmarks/query_cost.py``.
_INDEX_KIND = "IVF_SQ"

_PHOTOS_A_PARTITION = 2048
_SAMPLES_A_PARTITION = 64  # that centres are found from; Lance's 256 take four times as long
_TUNING = "msedge.vector_index"  # in the dataset's configuration
_MOST = 2**31
_MORE = 100  # candidates beyond those asked for: Lance's distances round, and may swap neighbours
_DEEPER_FOR_HUBS = 8  # candidates by similarity, of each that is wanted by score
_ROUNDING = 1e-5  # of Lance's distances, and of a product
_QUERIES = 64
_FIRST = 20
_MOST_REFINED = 16
_SEED = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """One version of a gallery's dataset, or DataError; threads may share it."""

    path: Path
    dataset: LanceDataset
    dim: int

    @property
    def version(self) -> int:
        """The version's number."""
        return int(self.dataset.version)

    def table(self, columns: Sequence[str], where: str | None = None, **scan: Any) -> pa.Table:
        """Columns of the rows that match, without those that an earlier release did not write."""
        columns = there(self.dataset.schema, columns)
        with told(self.path):
            return self.dataset.scanner(columns=columns, filter=where, **scan).to_table()

    @property
    def hubs(self) -> str:
        """Of whose drawings the photos' hubness is; empty where it does not count."""
        return str(self.dataset.config().get(stored.NOTE + HUBS, ""))

    def least_hubness(self) -> float:
        """The smallest of any photo."""
        return float(hubness_in(self.table(["id", "hubness"])).min(initial=1.0))

    def count(self, where: str | None = None) -> int:
        """How many photos match."""
        with told(self.path):
            return int(self.dataset.count_rows(where))

    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, without those that are not there; None for all, by id."""
        if ids is None:
            every = map(photo_of, stored.rows_of(self.table(FACTS)))
            return sorted(every, key=lambda photo: photo.id)
        wanted = [int(number) for number in ids]
        possible = {number for number in wanted if 0 < number <= LARGEST_ID}
        with told(self.path):
            rows = stored.matching(self.dataset, FACTS, id=sorted(possible))
        found = {photo.id: photo for photo in map(photo_of, stored.rows_of(rows))}
        return [found[number] for number in wanted if number in found]

    def ids(self, filters: Filters) -> Ids:
        """The ids ``(M,)`` of the photos that match, rising."""
        return np.sort(self.table(["id"], _condition(filters))["id"].to_numpy())

    def blocks(self, rows: int) -> Iterator[Block]:
        """Everything, so many photos at a time, by rising id."""
        columns = there(self.dataset.schema, WHOLE)
        ids = self.table(["id"], scan_in_order=True)["id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        for start in range(0, len(ids), rows):
            with told(self.path):
                some = self.dataset.take(order[start : start + rows].tolist(), columns=columns)
            yield stored.block_of(some, self.dim)

    def unindexed(self) -> int:
        """How many photos the index on vectors does not know yet; 0 where there is no index."""
        index = self._index()
        if index is None:
            return 0
        known = {number for segment in index.segments for number in segment.fragment_ids}
        fragments = self.dataset.get_fragments()
        return sum(each.metadata.num_rows for each in fragments if each.fragment_id not in known)

    def parts(self) -> dict[str, int]:
        """How many ``fragments``, ``versions`` and ``unindexed`` photos there are."""
        with told(self.path):
            fragments, versions = self.dataset.get_fragments(), self.dataset.versions()
        counts = {"fragments": len(fragments), "versions": len(versions)}
        return counts | {"unindexed": self.unindexed()}

    def tuning(self) -> Tuning | None:
        """How the index on vectors is asked; None where there is none that we can ask."""
        words = self.dataset.config().get(_TUNING)
        if words is None or self._index() is None:
            return None
        try:
            return Tuning.model_validate_json(words)
        except ValidationError:
            return None

    def index_state(self) -> IndexState | None:
        """What is told of that index."""
        tuning = self.tuning()
        if tuning is None:
            return None
        return IndexState(
            kind=tuning.kind,
            recall=tuning.recall,
            recall_wanted=tuning.wanted,
            queries=tuning.queries,
            photos=tuning.photos,
            behind=self.unindexed(),
            seconds=tuning.seconds,
            bytes_a_vector=self._index().total_size_bytes / max(tuning.photos, 1),
            parameters=tuning.model_dump(include={"partitions", "probes", "refine"}),
        )

    def _index(self) -> Any:
        with told(self.path):
            every = self.dataset.describe_indices()
        return next((each for each in every if each.name == _INDEX_NAME), None)


def _condition(filters: Filters) -> str:
    """Filters as Lance writes them."""
    text, values = condition(filters)
    first, *parts = text.split("?")
    return first + "".join(literal(value) + part for value, part in zip(values, parts, strict=True))


class InMemory:
    """All vectors of one version, searched exactly; threads may share it."""

    def __init__(self, moment: Moment, before: InMemory | None = None) -> None:
        """Read a version; rows of fragments that an earlier one has too are not read again."""
        # Ids by what Lance says of their fragment: the same words, the same rows.
        self._fragments: dict[str, Ids] = {}
        ids: list[Ids] = [np.empty(0, np.int64)]
        vectors: list[Embeddings] = [np.empty((0, moment.dim), np.float32)]
        hubness: list[Reals] = [np.empty(0)]
        hubs = moment.hubs
        columns = ["id", "vector", *["hubness"] * bool(hubs)]
        if before and before._resident.hubs != hubs:
            before = None
        with told(moment.path):
            for fragment in moment.dataset.get_fragments():
                words = json.dumps(fragment.metadata.to_json(), sort_keys=True)
                if before and words in before._fragments:
                    numbers, old = before._fragments[words], before._resident
                    places = rows_of(old.ids, numbers)
                    vectors.append(old.rows[places])
                    hubness.append(old.hubness[places])
                else:
                    rows = fragment.to_table(columns=columns)
                    numbers, read = rows["id"].to_numpy(), vectors_of(rows, moment.dim)
                    check_finite(read, numbers)
                    vectors.append(unit_vectors(read))
                    hubness.append(hubness_in(rows))
                self._fragments[words] = numbers
                ids.append(numbers)
        every = np.concatenate(ids)
        order = np.argsort(every, kind="stable")
        resident = Resident(
            moment.version,
            every[order],
            np.concatenate(vectors)[order],
            np.concatenate(hubness)[order],
            hubs,
            "",
        )
        self._resident: Resident = resident
        self.version, self.vector = resident.version, resident.vector
        self._allowed = Kept(lambda filters: resident.allowed(moment.ids(filters)))

    def nearest(
        self, query: Embeddings, depth: int, filters: Filters | None, hub_share: float = 0.0
    ) -> Candidates:
        """The first photos that match, out of all."""
        return self._resident.first(query, depth, self._allowed.get(filters), hub_share)


class Tuning(BaseModel):
    """How an index is asked, and how good its answers were when that was chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: str = _INDEX_KIND
    partitions: int = Field(gt=0, lt=_MOST)
    probes: int = Field(default=1, gt=0, lt=_MOST)  # partitions that are looked through
    refine: int = Field(default=1, gt=0, lt=_MOST)  # candidates ranked again, of each asked for
    recall: float = 0.0
    wanted: float
    queries: int = Field(ge=0, lt=_MOST)
    photos: int = Field(ge=0, lt=_MOST)
    hubs: bool = False  # whether they counted when that was chosen
    seconds: float = 0.0

    def setting(self) -> dict[str, str]:
        """What the dataset's configuration says of it."""
        return {_TUNING: self.model_dump_json()}


class Scanned:
    """The vectors of one version, left where they lie; threads may share it."""

    def __init__(self, moment: Moment, tuning: Tuning | None) -> None:
        """Take a version, and how its index is asked; None reads all vectors for each query."""
        self._moment, self.version, self._tuning = moment, moment.version, tuning
        self._count = moment.count()
        self._matching = Kept(lambda filters: moment.count(_condition(filters)))
        self._has_hubs = bool(moment.hubs)
        self._least_hubness = lru_cache(moment.least_hubness)

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""
        if not 0 < photo <= LARGEST_ID:
            return None
        rows = self._moment.table(["vector"], f"id = {photo:d}")
        return next(iter(unit_vectors(vectors_of(rows, self._moment.dim))), None)

    def nearest(
        self, query: Embeddings, depth: int, filters: Filters | None, hub_share: float = 0.0
    ) -> Candidates:
        """The first photos that match; fewer than ``depth`` only where there are no more.

        Lance ranks by similarity. Where hubs are to count, many more are asked for: without an
        index as many as it takes until no other can be among the first, whatever its hubness.
        """
        where = None if filters is None else _condition(filters)
        matching = self._count if filters is None else self._matching.get(filters)
        hub_share = hub_share if self._has_hubs else 0.0
        for effort in self._efforts(depth + _MORE, matching, hub_share):
            candidates, least = self._scored(query, depth, where, effort, hub_share)
            if len(candidates.ids) < min(depth, matching):
                continue
            if not hub_share or "use_index" not in effort or effort["k"] >= matching:
                break
            if candidates.scores[-1] > least - hub_share * self._least_hubness() + _ROUNDING:
                break
        return candidates

    def _efforts(self, count: int, matching: int, hub_share: float) -> Iterator[dict[str, Any]]:
        """What Lance is asked for so many candidates, and what next where it gives fewer."""
        if self._tuning is not None:
            # How many are ranked again was chosen with hubs, or is not enough for these.
            deeper = _DEEPER_FOR_HUBS if hub_share and not self._tuning.hubs else 1
            # Photos that match lie scattered: as many of them are looked at as without filters.
            scarce = self._count / max(1, matching)
            probes = min(self._tuning.partitions, math.ceil(self._tuning.probes * scarce))
            by_index = {"k": count * deeper * self._tuning.refine, "minimum_nprobes": probes}
            yield by_index | {"maximum_nprobes": probes}
            yield by_index  # as many parts as it takes
        count *= _DEEPER_FOR_HUBS if hub_share else 1
        while True:
            yield {"k": count, "use_index": False}
            if count >= matching or not hub_share:
                return
            count *= _DEEPER_FOR_HUBS

    def _scored(
        self,
        query: Embeddings,
        depth: int,
        where: str | None,
        effort: dict[str, Any],
        hub_share: float,
    ) -> tuple[Candidates, float]:
        """The first of what Lance finds, and the least similarity of all that it finds."""
        rows = self._moment.table(
            ["id", "vector", *["hubness"] * bool(hub_share)],
            where,
            nearest={"column": "vector", "q": query, "metric": "cosine", **effort},
            prefilter=True,
            disable_scoring_autoprojection=True,
        )
        ids = rows["id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        vectors = unit_vectors(vectors_of(rows, self._moment.dim)[order])
        handicaps = hub_share * hubness_in(rows)[order] if hub_share else None
        with one_blas_thread:
            places, similarities = nearest(vectors, query, depth, handicaps=handicaps)
            least = float((vectors @ query).min(initial=1.0)) if hub_share else 1.0
        scores = similarities if handicaps is None else similarities - handicaps[places]
        return Candidates(ids[order][places], similarities, scores, vectors[places]), least


def hubness_in(rows: pa.Table) -> Reals:
    """The hubness of some photos, ``(n,)``; zeros where it was not asked for."""
    if "hubness" not in rows.schema.names:
        return np.zeros(rows.num_rows)
    return checked_hubness(rows["hubness"].to_pylist(), rows["id"].to_pylist())


def index_vectors(dataset: LanceDataset, photos: int) -> int:
    """Build the index on vectors, in place of the one that is there; gives its partitions."""
    partitions = max(1, photos // _PHOTOS_A_PARTITION)
    dataset.create_index(
        "vector",
        _INDEX_KIND,
        _INDEX_NAME,
        metric="cosine",
        replace=True,
        num_partitions=partitions,
        sample_rate=_SAMPLES_A_PARTITION,
    )
    return partitions


def tune(moment: Moment, partitions: int, recall: float, photos: int) -> Tuning:
    """The least effort that finds a share of the true first 20; all effort where none does."""
    queries = _sample(moment)

    def first(tuning: Tuning | None) -> list[set[int]]:
        asked = Scanned(moment, tuning)
        found = (asked.nearest(each, _FIRST, None, HUB_SHARE) for each in queries)
        return [set(each.ids.tolist()) for each in found]

    truth = first(None)
    tuning = Tuning(
        partitions=partitions,
        wanted=recall,
        queries=len(queries),
        photos=photos,
        hubs=bool(moment.hubs),
    )
    while True:
        found = sum(len(true & some) for true, some in zip(truth, first(tuning), strict=True))
        tuning = tuning.model_copy(update={"recall": found / sum(map(len, truth))})
        if tuning.recall >= aim_for(recall):
            return tuning
        if tuning.probes < partitions:
            tuning = tuning.model_copy(update={"probes": min(2 * tuning.probes, partitions)})
        elif tuning.refine < _MOST_REFINED:
            tuning = tuning.model_copy(update={"refine": 2 * tuning.refine})
        else:
            return tuning


def _sample(moment: Moment) -> Embeddings:
    """Blends of some photos, the same ones each time."""
    random, count = np.random.default_rng(_SEED), moment.count()
    some = random.choice(count, min(count, 2 * _QUERIES), replace=False)
    with told(moment.path):
        rows = moment.dataset.take(np.sort(some).tolist(), columns=["vector"])
    return blends(vectors_of(rows, moment.dim), random, _QUERIES)
