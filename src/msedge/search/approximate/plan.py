"""Which structure an index gets, by the number of photos and the recall that is wanted.

Of a million vectors of 512 numbers, with sketches as queries, on one core (``benchmarks/ann.py``,
``--choices`` for every structure):

* ``ivf-pq`` (lists, 4 bits for every two numbers, of what the list's centre leaves over) has 145
  bytes a vector and finds 0.9986 of the first 20 in 2.0 ms, ranking 800 vectors again: what a
  gallery gets, since memory is what runs out first;
* ``ivf-sq`` (lists, 8 bits a number) has 525 bytes a vector, and its candidates are so nearly in
  order that few need be ranked again: 0.991 in 1.2 ms, and recalls that ``ivf-pq`` reaches only by
  ranking thousands;
* ``hnsw`` (a graph over 8 bits a number, by arithmetic 655 bytes a vector) needs no training, and
  is the choice where there are too few photos to train lists on.

Lists: Jegou, Douze, Schmid, Product Quantization for Nearest Neighbor Search (PAMI 2011). Four
bits, sixteen centres held in a register: Andre, Kermarrec, Le Scouarnec, Cache locality is not
enough (VLDB 2015). Graph: Malkov, Yashunin, Efficient and robust approximate nearest neighbor
search using hierarchical navigable small world graphs (PAMI 2020). All of them in Faiss: Douze et
al. (2024), arXiv:2401.08281. Tested in ``tests/search/approximate/test_plan.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from msedge.errors import ConfigError

Kind = Literal["hnsw", "ivf-sq", "ivf-pq"]

LINKS = 16
"""Neighbours of a photo in the graph; twice as many on its lowest level."""

COARSE_LINKS = 32
"""The same of a list's centre, where centres form a graph."""

GRAPH_OF_CENTRES_FROM = 1024
"""Lists from which their centres form a graph; fewer are compared one by one."""

ROWS_A_LIST = 50
"""Photos that a list's centre is trained on."""

_GRAPH_BELOW = 50_000  # photos; a graph of so many is built in seconds
_PRECISE_FROM = 0.997  # wanted recall
_FEW_DIMS = 32  # two numbers of so few, in 4 bits, say too little of a vector
_MOST_LISTS = 65_536
_ROW_BYTES = 8  # the row's number, beside each code


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """What is to be built.

    Attributes:
        kind: of the structure.
        lists: that photos are divided among; 0 for a graph.
        training: photos that it is trained on.
        bytes_a_vector: of the structure, about.
        reason: why, in a few words.
    """

    kind: Kind
    lists: int
    training: int
    bytes_a_vector: float
    reason: str


def plan_for(count: int, dim: int, *, recall: float, kind: Kind | None = None) -> IndexPlan:
    """What to build for a gallery.

    Args:
        count: photos.
        dim: width of their vectors.
        recall: share of the true first 20 that a search is to find, in (0, 1).
        kind: the structure; None to choose.

    Raises:
        ConfigError: no such kind or recall.

    Example:
        >>> plan = plan_for(1_000_000, 512, recall=0.99)
        >>> plan.kind, plan.lists, round(plan.bytes_a_vector)
        ('ivf-pq', 2048, 141)
    """
    if not 0 < recall < 1:
        raise ConfigError(f"a recall of {recall:g}: expected a share below 1, such as 0.99")
    if kind is not None and kind not in get_args(Kind):
        raise ConfigError(f"no kind {kind!r}: expected {', '.join(get_args(Kind))}")
    chosen, reason = (kind, "asked for") if kind else _choice(count, dim, recall)
    if chosen == "hnsw":
        graph = 2 * LINKS * 4 + 4 * LINKS * 4 / LINKS + 12
        return IndexPlan(chosen, 0, min(count, 65_536), dim + graph, reason)
    lists = _lists(count)
    centre = 4 * dim + (2 * COARSE_LINKS * 4 + 16 if lists >= GRAPH_OF_CENTRES_FROM else 0)
    code = dim if chosen == "ivf-sq" else padded(dim) / 4
    size = code + _ROW_BYTES + lists * centre / max(count, 1)
    return IndexPlan(chosen, lists, min(count, ROWS_A_LIST * lists), size, reason)


def padded(dim: int) -> int:
    """The width with which the structures hold vectors of ``dim`` numbers: a multiple of 4."""
    return -(-dim // 4) * 4


def _choice(count: int, dim: int, recall: float) -> tuple[Kind, str]:
    if count < _GRAPH_BELOW:
        return "hnsw", f"fewer than {_GRAPH_BELOW:,} photos: too few to train lists on"
    if dim < _FEW_DIMS:
        return "ivf-sq", f"fewer than {_FEW_DIMS} numbers a vector: 8 bits each are not many"
    if recall >= _PRECISE_FROM:
        return "ivf-sq", f"a recall of {recall:g}: 8 bits a number leave the order nearly exact"
    return "ivf-pq", "the smallest, and quick"


def _lists(count: int) -> int:
    """About two a square root of the photos, a power of two."""
    wanted: int = 1 << round(math.log2(max(1.0, 2 * math.sqrt(count))))
    return max(1, min(wanted, count // 8, _MOST_LISTS))
