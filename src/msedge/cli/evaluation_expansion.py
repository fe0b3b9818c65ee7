"""Neighbour expansion as ``msedge evaluate`` offers it: what was chosen, and the vectors it makes.

Tested in ``tests/cli/test_evaluation_expansion.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from msedge.cli.evaluation_inputs import Inputs
from msedge.data.features import Features
from msedge.errors import ConfigError
from msedge.evaluation.expansion import check_expansion, expand_queries, smooth_gallery

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
