"""How a gallery's vector index is asked, kept in its dataset's configuration.

Tested in ``tests/search/lance/test_index_building.py``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from msedge.search.lance.moment import Moment

KIND = "IVF_SQ"
"""Parts of near vectors, each component in a byte.

It needs no training but that of the parts' centres, and its candidates are nearly in order; in an
object store a query reads a few whole parts, where a graph is read node by node. What it costs is
measured by ``benchmarks/lance_search.py`` and ``benchmarks/query_cost.py``.
"""

NAME = "msedge_vectors"
_KEY = "msedge.vector_index"
_MOST = 2**31


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an index is asked, and how good its answers were when that was chosen.

    Attributes:
        kind: of the index.
        partitions: into which it parts the vectors.
        probes: partitions that are looked through.
        refine: candidates that are ranked again exactly, in multiples of what is asked for.
        recall: share of the true first 20 that it found.
        wanted: the share that was asked for.
        queries: over which that was measured.
        photos: that it was built of.
        seconds: that building took.
    """

    kind: str
    partitions: int
    probes: int
    refine: int
    recall: float
    wanted: float
    queries: int
    photos: int
    seconds: float

    def setting(self) -> dict[str, str]:
        """What the dataset's configuration says of it."""
        return {_KEY: json.dumps(asdict(self))}


def has_index(moment: Moment) -> bool:
    """Whether one version has an index that is ours."""
    return NAME in {index.name for index in moment.dataset.describe_indices()}


def read_tuning(moment: Moment) -> Tuning | None:
    """How the index of one version is asked; None where it has none that we can ask."""
    words = moment.dataset.config().get(_KEY)
    return _tuning_of(words) if words is not None and has_index(moment) else None


def _tuning_of(words: str) -> Tuning | None:
    """What a dataset says of its index; None where that is nothing of ours."""
    try:
        tuning = Tuning(**json.loads(words))
    except (ValueError, TypeError, RecursionError):
        return None
    wholes = (tuning.partitions, tuning.probes, tuning.refine, tuning.queries, tuning.photos)
    reals = (tuning.recall, tuning.wanted, tuning.seconds)
    usable = (
        all(type(number) is int and 0 <= number < _MOST for number in wholes)
        and all(type(number) in (int, float) for number in reals)
        and min(tuning.partitions, tuning.probes, tuning.refine) > 0
        and isinstance(tuning.kind, str)
    )
    return tuning if usable else None
