"""Pictures that are the same to a person: copies, resized, recompressed.

A gallery holds many of them, and a page of hits that shows one photo ten times shows nine too few.
They are told by their vectors alone: equal content has equal vectors, and an embedding hardly moves
when a picture is scaled or compressed again. Tested in ``tests/search/test_near_duplicates.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.search.encoder import Embeddings

NEAR_DUPLICATE = 0.985
"""Cosine similarity from which two photos count as one.

Of 3,125 different photos no two reach it with the shipped model (the most alike: 0.982), and all
their copies that were saved again as JPEG of quality 75 or doubled in size do (the least: 0.993);
see ``benchmarks/search_choices.py``. To hide a photo is worse than to show one twice, so copies
that lost detail or margins, which overlap with different photos, may stay apart.
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Places in a ranking that show one picture.

    Attributes:
        first: the best of them.
        others: the near-duplicates of the first, by falling rank.
    """

    first: int
    others: tuple[int, ...]


def collapse(vectors: Embeddings, k: int, *, threshold: float = NEAR_DUPLICATE) -> list[Group]:
    """Part a ranking into groups of near-duplicates, best first.

    Each photo belongs to the first group whose best photo it is a near-duplicate of. Compared is
    with a group's best only: chains of likeness, as a film's frames make them, would otherwise
    swallow a whole folder.

    Args:
        vectors: unit vectors ``(n, dim)`` by rank.
        k: groups to form at most; what belongs to none of them is left out.
        threshold: cosine similarity from which two count as one.

    Returns:
        At most ``k`` groups.

    Example:
        >>> collapse(np.array([[1, 0], [0, 1], [1, 0]], np.float32), k=2)
        [Group(first=0, others=(2,)), Group(first=1, others=())]
    """
    free: npt.NDArray[np.bool_] = np.ones(len(vectors), np.bool_)
    groups: list[Group] = []
    for first in range(len(vectors)):
        if len(groups) == k:
            break
        if not free[first]:
            continue
        like = free & (vectors @ vectors[first] >= threshold)
        like[: first + 1] = False
        free &= ~like
        groups.append(Group(first, tuple(np.flatnonzero(like).tolist())))
    return groups
