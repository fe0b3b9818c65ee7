"""What indexing on a cluster tells at its end: as on one machine, and what each worker did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msedge.search.index_summary import IndexSummary


@dataclass(slots=True)
class WorkerPace:
    """What one worker did.

    Attributes:
        node: the machine's address.
        photos: that it embedded.
        seconds: that it worked on them, reading and writing included.
    """

    node: str
    photos: int = 0
    seconds: float = 0.0

    @property
    def photos_per_second(self) -> float:
        """While it worked."""
        return self.photos / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class ClusterSummary(IndexSummary):
    """What indexing on a cluster came to.

    Attributes:
        workers: what each did, by address and process; one that died is among them as far as it
            came.
        parts_again: parts of the work that were done again, since a worker was lost with them.
    """

    workers: dict[str, WorkerPace] = field(default_factory=dict)
    parts_again: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        workers = [
            {
                "worker": name,
                "node": pace.node,
                "photos": pace.photos,
                "seconds": round(pace.seconds, 3),
                "photos_per_second": round(pace.photos_per_second, 1),
            }
            for name, pace in sorted(self.workers.items())
        ]
        told = IndexSummary.as_dict(self)
        return {**told, "workers": workers, "parts_again": self.parts_again}
