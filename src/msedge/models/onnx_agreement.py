"""How far a file's vectors may lie from those of the network it was made from, and how far they do.

Tested in ``tests/models/test_onnx_agreement.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cosine distances between two networks' vectors of the same images: 0 where they agree.

    Attributes:
        mean: over the images.
        worst: of an image.
        images: how many were compared.
    """

    mean: float
    worst: float
    images: int


@dataclass(frozen=True, slots=True)
class Bound:
    """The largest distances with which a file is kept."""

    mean: float
    worst: float

    def holds(self, found: Agreement) -> bool:
        """Whether an agreement is within it; one that is not a number is not."""
        return found.mean <= self.mean and found.worst <= self.worst


BOUNDS = {
    "float32": Bound(1e-6, 1e-5),  # rounding gives about 1e-7
    "float16": Bound(1e-4, 1e-3),
    "int8": Bound(0.01, 0.1),  # about 0.003 and 0.03 through EfficientNet-Lite0
}
"""By precision. Unlike photos lie about 1 apart, a hundred times what int8 may move one by."""


def agreement(
    pairs: Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
) -> Agreement:
    """Compare vectors of the same images, batch by batch.

    Args:
        pairs: ``(B, dim)`` and ``(B, dim)`` of any length but 0, at least one image in all.

    Raises:
        ValueError: there is no image.

    Example:
        >>> agreement([(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1])])
        Agreement(mean=1.0, worst=1.0, images=2)
    """
    distances = np.concatenate([_distances(*pair) for pair in pairs])
    return Agreement(float(distances.mean()), float(distances.max()), len(distances))


def _distances(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    # half a squared difference keeps the digits that 1 - cosine loses
    return np.square(_unit(one) - _unit(other)).sum(axis=1) / 2  # type: ignore[no-any-return]


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    return exact / np.linalg.norm(exact, axis=1, keepdims=True)  # type: ignore[no-any-return]
