"""The average precision of every query of a finished run, from the vectors that it stored.

Ranking takes seconds to minutes, so the answers are kept beside the vectors and used again as long
as those do not change. Tested in ``tests/benchmark/test_queries.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from msedge.benchmark.cells import Cell
from msedge.data.vectors import load_vectors
from msedge.errors import DataError
from msedge.evaluation.evaluate import evaluate
from msedge.storage import atomic_path

MEASURE = "mAP@all"
_NAME = "queries.safetensors"


@dataclass(frozen=True, eq=False)
class QueryValues:
    """What each query of a run came to, in the order of the dataset.

    Attributes:
        average_precision: ``(Q,)`` float64 in [0, 1], over the whole ranking, ``standard``.
        relevant: ``(Q,)`` int64, photos of the query's class in the gallery.
        labels: ``(Q,)`` int64, the class of each query.
    """

    average_precision: NDArray[np.float64]
    relevant: NDArray[np.int64]
    labels: NDArray[np.int64]


def query_values(cell: Cell) -> QueryValues:
    """The queries of a finished run, from its vectors or as they were kept.

    Raises:
        DataError: the vectors cannot be read, or the answers not be kept.
    """
    vectors, kept = cell.file("vectors.safetensors"), cell.file(_NAME)
    stamp = _stamp(vectors)
    found = _read(kept, stamp)
    if found is None:
        found = _judge(vectors)
        tensors = {name: np.ascontiguousarray(value) for name, value in vars(found).items()}
        with atomic_path(kept) as temporary:
            temporary.write_bytes(save(tensors, {"vectors": stamp}))
    return found


def ceiling(values: QueryValues, k: int) -> float:
    """The largest P@k that any ranking could reach on these queries, in percent.

    >>> of_25 = QueryValues(np.zeros(4), np.full(4, 25), np.zeros(4, np.int64))
    >>> ceiling(of_25, 100)
    25.0
    """
    return float(100 * np.minimum(values.relevant, k).mean() / k)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"no vectors at {path} ({error.strerror}); remove the folder to run it anew"
        ) from error
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def _read(path: Path, stamp: str) -> QueryValues | None:
    try:
        with safe_open(path, framework="numpy") as opened:
            if (opened.metadata() or {}).get("vectors") != stamp:
                return None
            found = QueryValues(*(opened.get_tensor(n) for n in QueryValues.__dataclass_fields__))
    except (OSError, SafetensorError, TypeError, AttributeError):  # damaged: ranked again
        return None
    return found if _is_whole(found) else None


def _is_whole(found: QueryValues) -> bool:
    precision, relevant, labels = found.average_precision, found.relevant, found.labels
    return (
        precision.dtype == np.float64
        and relevant.dtype == np.int64
        and labels.dtype == np.int64
        and precision.ndim == 1
        and precision.shape == relevant.shape == labels.shape
        and bool(np.isfinite(precision).all())
    )


def _judge(path: Path) -> QueryValues:
    vectors = load_vectors(path)
    asked, kept = vectors.of("sketch"), vectors.of("photo")
    found = evaluate(
        vectors.embeddings[asked],
        vectors.embeddings[kept],
        vectors.labels[asked],
        vectors.labels[kept],
        at=(),
    )
    return QueryValues(found.values["standard"][MEASURE], found.relevant, found.labels)
