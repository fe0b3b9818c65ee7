"""Embeddings on disk: one ``.safetensors`` with vectors, labels and domains.

Class names and paths stand in its metadata, so that a file of vectors can be judged, drawn and
searched without the images' folders or the network. Tested in ``tests/data/test_vectors.py`` and
``tests/artefacts/test_vectors.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from msedge.data.layouts import DOMAINS, Domain
from msedge.errors import DataError
from msedge.quoting import named, plain, quoted
from msedge.storage import atomic_path

FORMAT = "msedge-vectors-1"


@dataclass(frozen=True)
class Vectors:
    """A set of embeddings.

    Attributes:
        embeddings: ``(N, D)`` float32, rows of length 1.
        labels: ``(N,)`` int64, positions in ``classes``.
        domains: ``(N,)`` int64, 0 for a sketch and 1 for a photo.
        classes: class names.
        paths: one a row.
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    domains: NDArray[np.int64]
    classes: tuple[str, ...]
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        rows = (len(self.paths),)
        if self.embeddings.ndim != 2 or not (
            rows == self.embeddings.shape[:1] == self.labels.shape == self.domains.shape
        ):
            raise DataError(
                f"vectors of shape {self.embeddings.shape} need as many labels, domains and paths; "
                f"got {self.labels.shape}, {self.domains.shape} and {len(self.paths)}"
            )

    def of(self, domain: Domain) -> NDArray[np.int64]:
        """The rows of ``sketch`` or ``photo``."""
        return np.flatnonzero(self.domains == DOMAINS.index(domain))


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Write the vectors to ``path``, in place of what was there.

    Raises:
        DataError: the file cannot be written.
    """
    tensors: dict[str, NDArray[Any]] = {
        "embeddings": np.ascontiguousarray(vectors.embeddings, dtype=np.float32),
        "labels": np.ascontiguousarray(vectors.labels, dtype=np.int64),
        "domains": np.ascontiguousarray(vectors.domains, dtype=np.int64),
    }
    metadata = {
        "format": FORMAT,
        "classes": json.dumps(vectors.classes),
        "paths": json.dumps(vectors.paths),
        "domains": json.dumps(DOMAINS),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def load_vectors(path: Path) -> Vectors:
    """Read vectors from ``path``.

    Memory and time are bounded by the size of the file, whatever it says of itself.

    Raises:
        DataError: there is no such file, it does not hold vectors of ours, or what it holds does
            not fit together. Numbers that are not finite are for who compares them to refuse.
    """
    name = named(path)
    if not path.is_file():
        raise DataError(f"no vectors at {name}; msedge train writes them beside its weights")
    try:
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            _check_format(metadata.get("format"), name)
            vectors = Vectors(
                embeddings=opened.get_tensor("embeddings"),
                labels=opened.get_tensor("labels"),
                domains=opened.get_tensor("domains"),
                classes=_texts(metadata, "classes"),
                paths=_texts(metadata, "paths"),
            )
        _check_values(vectors)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # safetensors and NumPy raise whatever a damaged file brings about
        reason = plain(str(error) or type(error).__name__)
        raise DataError(f"the vectors in {name} are damaged ({reason}); write them anew") from error
    return vectors


def _check_format(found: str | None, name: str) -> None:
    if found == FORMAT:
        return
    if found is not None and found.startswith(FORMAT.rstrip("0123456789")):
        raise DataError(
            f"the vectors in {name} are of another release (format {quoted(found)}, this one "
            f"reads {FORMAT!r}): update msedge, or write them anew"
        )
    raise DataError(f"{name} does not hold vectors of MSEdge (expected {FORMAT!r})")


def _texts(metadata: Mapping[str, str], what: str) -> tuple[str, ...]:
    texts = json.loads(metadata[what])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"its {what} are no list of texts")
    return tuple(texts)


def _check_values(vectors: Vectors) -> None:
    for what, values, count in (
        ("label", vectors.labels, len(vectors.classes)),
        ("domain", vectors.domains, len(DOMAINS)),
    ):
        if values.dtype.kind not in "iu":
            raise ValueError(f"its {what}s are {values.dtype} instead of whole numbers")
        outside = np.flatnonzero((values < 0) | (values >= count))
        if outside.size:
            row = outside[0]
            raise ValueError(f"row {row} has {what} {values[row]}, and there are {count} names")
    if vectors.embeddings.dtype.kind != "f":
        raise ValueError(f"its vectors are {vectors.embeddings.dtype} instead of real numbers")
