"""How much a search looks at: more finds more, and takes longer.

Tested in ``tests/search/approximate/test_effort.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MEASURED_AT = 20
"""How many photos are asked for where recall is measured."""

_WIDER = 0.25  # power of the ranks; see benchmarks/ann.py, recall@500
_DEEPER = 2  # candidates for every photo wanted beyond the first 20


@dataclass(frozen=True, slots=True)
class Effort:
    """What is looked at where 20 photos are wanted.

    Attributes:
        width: lists, or the beam of the walk through a graph.
        depth: candidates that are ranked again exactly, at least 20.
    """

    width: int
    depth: int

    def of(self, k: int, share: float) -> Effort:
        """What is to be looked at where ``k`` photos are wanted and a share of all counts.

        The last of them stands at about rank ``k / share`` of all photos, which lie in more lists;
        but there are no more that count to be told apart.
        """
        ranks = k / max(share, 1e-9)
        wider = max(1.0, ranks / MEASURED_AT) ** _WIDER
        return Effort(math.ceil(self.width * wider), self.depth + _DEEPER * max(0, k - MEASURED_AT))
