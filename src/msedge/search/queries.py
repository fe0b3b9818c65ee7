"""What is asked: drawings and photos, for and against, as one vector.

Rocchio's relevance feedback (in Salton, The SMART Retrieval System, 1971): the mean of what is
wanted, less a share of the mean of what is not. Tested in ``tests/search/test_queries.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeGuard, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from msedge.data.sketches import Strokes
from msedge.errors import ConfigError
from msedge.search.encoder import Embeddings

AGAINST = 0.25
"""Weight of what is not wanted, beside 1 for what is.

It is what the SMART experiments settled on (4 against 16), and among what does best here: after one
photo was marked as wrong, precision of the first 20 others is 21.4 % on classes that training never
saw, against 20.4 with a weight of 0; with a right one marked too 32.3, against 28.5. From 0.5 on it
does harm (``benchmarks/search_choices.py --model msedge-lite-sketchy21``).
"""

Drawing: TypeAlias = str | Path | bytes | Image.Image | Strokes
"""A drawing: a file (picture, SVG, stroke JSON), the content of one, an image, or strokes."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for.

    Attributes:
        vector: unit length, ``(dim,)``, float32.
        without: ids of photos that were said not to be wanted; no hit shows them.
    """

    vector: Embeddings
    without: tuple[int, ...] = ()


def drawings_of(given: Drawing | Sequence[Drawing]) -> list[Drawing]:
    """One drawing or several, as a list.

    A sequence of ``(xs, ys)`` is the strokes of one drawing.

    Raises:
        ConfigError: it holds something that is no drawing.
    """
    several = [given] if _is_drawing(given) else given
    if not isinstance(several, Sequence):
        raise ConfigError(_unknown(given))
    for each in several:
        if not _is_drawing(each):
            raise ConfigError(_unknown(each))
    return cast(list[Drawing], list(several))


def combine(wanted: Embeddings, unwanted: Embeddings) -> Embeddings:
    """One unit vector for several, by Rocchio's formula.

    Args:
        wanted: unit vectors ``(n, dim)``, at least one.
        unwanted: unit vectors ``(m, dim)``, or none.

    Returns:
        The mean of the wanted less :data:`AGAINST` times the mean of the unwanted, brought to
        length 1: ``(dim,)``, float32.

    Raises:
        ConfigError: nothing is wanted, or nothing is left after the subtraction.

    Example:
        >>> combine(np.array([[1, 0], [0, 1]]), np.empty((0, 2))).round(3).tolist()
        [0.7070000171661377, 0.7070000171661377]
    """
    if not len(wanted):
        raise ConfigError("nothing to look for: give a sketch, or a photo to be like")
    vector: npt.NDArray[np.float64] = wanted.astype(np.float64).mean(axis=0)
    if len(unwanted):
        vector = vector - AGAINST * unwanted.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(vector))
    if not length > 1e-6:
        raise ConfigError("the queries cancel each other out: leave one of them out")
    return (vector / length).astype(np.float32)


def _is_drawing(given: object) -> TypeGuard[Drawing]:
    return isinstance(given, str | Path | bytes | Image.Image) or _is_strokes(given)


def _is_strokes(given: object) -> bool:
    return (
        isinstance(given, Sequence)
        and len(given) > 0
        and all(
            isinstance(stroke, Sequence | np.ndarray)
            and not isinstance(stroke, str | bytes)
            and len(stroke) >= 2
            and all(_is_axis(axis) for axis in stroke[:2])
            for stroke in given
        )
    )


def _is_axis(given: object) -> bool:
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | np.ndarray):
        return False
    return not len(given) or not hasattr(given[0], "__len__")


def _unknown(given: object) -> str:
    return (
        f"a drawing cannot be a {type(given).__name__}: give a path, the bytes of a file, an image "
        "or strokes"
    )
