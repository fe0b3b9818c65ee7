"""Re-ranking as ``msedge evaluate`` offers it: what was chosen, and what it makes of vectors.

Neighbour expansion draws vectors towards what lies near them; hubs are photos that are near to
every drawing, and are set back.

Tested in ``tests/cli/test_evaluation_expansion.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msedge.cli.evaluation_inputs import Inputs
from msedge.data.features import Features, load_features
from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.evaluation.expansion import check_expansion, expand_queries, smooth_gallery
from msedge.evaluation.scoring import unit_vectors
from msedge.models.bank import (
    HUB_SHARE,
    NEIGHBOURS,
    SUFFIX,
    Vectors,
    choose_drawings,
    hubness,
    read_bank,
)

if TYPE_CHECKING:
    from msedge.evaluation.scoring import Metric

_POWER = 3.0


@dataclass(frozen=True)
class Expansion:
    """How vectors are drawn towards their neighbours before anything is ranked.

    Attributes:
        smooth_gallery: photos in the mean that replaces each photo; 0 for the photos as they are.
        expand_queries: photos added to each query; 0 for the queries as they are.
        power: of the cosine, which makes the weight of a neighbour.
    """

    smooth_gallery: int = 0
    expand_queries: int = 0
    power: float = _POWER

    def __bool__(self) -> bool:
        return self.smooth_gallery > 0 or self.expand_queries > 0

    def __str__(self) -> str:
        """What was done, and what the figures must not be set beside; empty where nothing was."""
        done = []
        if self.smooth_gallery:
            done.append(f"gallery smoothed over {_neighbours(self.smooth_gallery)}")
        if self.expand_queries:
            count = self.expand_queries
            done.append(f"queries expanded by {count if done else _neighbours(count)}")
        return (
            f"{'; '.join(done)}: not comparable with published figures without it" if self else ""
        )


def chosen_expansion(smooth: int, expand: int, power: float | None, metric: Metric) -> Expansion:
    """The expansion that the options ask for.

    Args:
        smooth: neighbours of ``--smooth-gallery``, 0 for off.
        expand: neighbours of ``--expand-queries``, 0 for off.
        power: of ``--expansion-power``; None for 3.
        metric: what is to make a photo near.

    Raises:
        ConfigError: an option is out of range, has nothing to act on, or does not go with the
            metric.
    """
    for option, neighbours in (("--smooth-gallery", smooth), ("--expand-queries", expand)):
        if neighbours < 0:
            raise ConfigError(
                f"{option} must be a number of neighbours such as 10, or 0 for off, "
                f"got {neighbours}"
            )
    expansion = Expansion(smooth, expand, _POWER if power is None else power)
    if not expansion:
        if power is not None:
            raise ConfigError(
                "--expansion-power has no use without --smooth-gallery or --expand-queries; give "
                "one of them too"
            )
        return expansion
    check_expansion(power=expansion.power)
    if metric != "cosine":
        option = "--smooth-gallery" if smooth else "--expand-queries"
        raise ConfigError(
            f"{option} averages what is near by cosine, which does not go with a ranking by "
            f"{metric} (--metric, --binary); leave out one of the two"
        )
    return expansion


@dataclass(frozen=True, eq=False)
class Hubs:
    """Drawings from which each photo's hubness follows, half of which is taken off its scores.

    Attributes:
        file: that they come from.
        drawings: their unit vectors ``(n, D)``.
    """

    file: Path
    drawings: Vectors

    def __str__(self) -> str:
        """What was done, and what the figures must not be set beside."""
        near, count = min(NEIGHBOURS, len(self.drawings)), len(self.drawings)
        return (
            f"each photo's similarity less {HUB_SHARE:g} of its mean similarity to its {near} "
            f"nearest of {count:,} drawings ({one_line(self.file)}): not comparable with published "
            "figures without it"
        )

    def handicaps(self, photos: NDArray[Any]) -> NDArray[np.float64]:
        """What is taken off the scores of each photo."""
        if photos.shape[1] != self.drawings.shape[1]:
            raise DataError(
                f"the drawings in {one_line(self.file)} have {self.drawings.shape[1]} dimensions, "
                f"and the photos {photos.shape[1]}: give drawings as the same network sees them"
            )
        # At length 1 first, as they are ranked: of any length, numbers might be beyond a float.
        return HUB_SHARE * hubness(unit_vectors(photos, "gallery"), self.drawings)


def chosen_hubs(bank: Path | None, metric: Metric) -> Hubs | None:
    """The drawings of ``--hubs``: of a bank, or at most 1,000 of a file of features.

    Raises:
        ConfigError: photos are not ranked by cosine.
        MSEdgeError: the file cannot be used.
    """
    if bank is None:
        return None
    if metric != "cosine":
        raise ConfigError(
            f"--hubs takes something off a cosine, which does not go with a ranking by {metric} "
            "(--metric, --binary); leave out one of the two"
        )
    if bank.name.endswith(SUFFIX):
        drawings = read_bank(bank).drawings
    else:
        features = load_features(bank, domain="sketch")
        features.check(refuse_zeros=True)
        labels = [str(features.classes[label]) for label in features.labels]
        drawings = choose_drawings(features.embeddings, labels)
    if not len(drawings):
        raise DataError(f"{one_line(bank)} holds no drawings: give a bank that has some")
    return Hubs(bank, drawings)


def expanded(inputs: Inputs, expansion: Expansion) -> Inputs:
    """The same inputs with expanded vectors in all that is ranked and asked, of both systems.

    The gallery is smoothed first, seen and unseen photos together, and queries are expanded by its
    smoothed photos. ``gallery`` stays as its file has it, which the notes on the file go by.
    """
    if not expansion:
        return inputs
    photos = _smoothed(inputs.ranked.embeddings, expansion)
    own = replace(
        inputs,
        ranked=replace(inputs.ranked, embeddings=photos),
        queries=_asked(inputs.queries, photos, expansion),
        seen_queries=None
        if inputs.seen_queries is None
        else _asked(inputs.seen_queries, photos, expansion),
    )
    if inputs.other_queries is None or inputs.other_gallery is None:
        return own
    others = _smoothed(inputs.other_gallery.embeddings, expansion)
    return replace(
        own,
        other_gallery=replace(inputs.other_gallery, embeddings=others),
        other_queries=_asked(inputs.other_queries, others, expansion),
    )


def _smoothed(photos: NDArray[Any], expansion: Expansion) -> NDArray[Any]:
    if not expansion.smooth_gallery:
        return photos
    return smooth_gallery(photos, neighbours=expansion.smooth_gallery, power=expansion.power)


def _asked(queries: Features, photos: NDArray[Any], expansion: Expansion) -> Features:
    if not expansion.expand_queries:
        return queries
    vectors = expand_queries(
        queries.embeddings, photos, neighbours=expansion.expand_queries, power=expansion.power
    )
    return replace(queries, embeddings=vectors)


def _neighbours(count: int) -> str:
    return "1 neighbour" if count == 1 else f"{count:,} neighbours"
