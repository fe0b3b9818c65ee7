"""Embeddings on disk: one ``.safetensors`` with vectors, labels and domains.

Class names and paths stand in its metadata, so that a file of vectors can be judged, drawn and
searched without the images' folders or the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from msedge.data.layouts import DOMAINS, Domain
from msedge.errors import DataError
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

    Raises:
        DataError: there is no such file, or it does not hold vectors of ours.
    """
    if not path.is_file():
        raise DataError(f"no vectors at {path}; msedge train writes them beside its weights")
    try:
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise DataError(f"{path} does not hold vectors of MSEdge (expected {FORMAT!r})")
            return Vectors(
                embeddings=opened.get_tensor("embeddings"),
                labels=opened.get_tensor("labels"),
                domains=opened.get_tensor("domains"),
                classes=tuple(json.loads(metadata["classes"])),
                paths=tuple(json.loads(metadata["paths"])),
            )
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"the vectors in {path} are damaged ({error}); write them anew") from error
