"""From features to everything that ``msedge evaluate`` has to say, as values.

Printed by :mod:`msedge.cli.evaluation_table`, written by :mod:`msedge.cli.evaluation_files`.
Tested in ``tests/cli/test_evaluate.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from msedge.cli.evaluation_expansion import Expansion, Hubs, expanded
from msedge.cli.evaluation_inputs import Inputs, Ranked
from msedge.cli.evaluation_notes import notes_on
from msedge.data.features import UNKNOWN, Features, source_photos
from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.evaluation.evaluate import Evaluation, evaluate
from msedge.evaluation.fine_grained import FineGrained, fine_grained
from msedge.evaluation.scoring import sign_codes
from msedge.evaluation.significance import Comparison, bootstrap, check_draws, compare

if TYPE_CHECKING:
    from msedge.evaluation.scoring import Metric

Progress: TypeAlias = Callable[[int, int], None]

ACCURACY_AT = (1, 5, 10)
"""The k of fine-grained Acc@k."""


@dataclass(frozen=True)
class Choices:
    """What is asked for.

    Attributes:
        conventions: names, in the order to show.
        at: cut-offs.
        metric: what makes a photo near.
        binary: judge the signs of the vectors instead of the vectors.
        intervals: whether to give bootstrap intervals.
        resamples: of the bootstrap and of the paired test; None for the defaults of each.
        seed: of everything drawn.
        share: of the photos and queries of each seen class.
        per_class: whether to give the figures of each class.
        fine_grained: whether to look for each sketch's own photo.
        expansion: what is done to the vectors before they are ranked.
        hubs: what takes something off the scores of each photo; None for nothing.
    """

    conventions: tuple[str, ...]
    at: tuple[int, ...]
    metric: Metric
    binary: bool
    intervals: bool
    resamples: int | None
    seed: int
    share: float
    per_class: bool
    fine_grained: bool
    expansion: Expansion
    hubs: Hubs | None = None

    @property
    def drawn(self) -> dict[str, int]:
        """The options of whatever draws, for :mod:`msedge.evaluation.significance`."""
        chosen = {} if self.resamples is None else {"resamples": self.resamples}
        return {"seed": self.seed, **chosen}


@dataclass(frozen=True)
class Figure:
    """A mean over queries and its 95 % interval, all in [0, 1]; None where none was asked for."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Judged:
    """How well one set of queries does.

    Attributes:
        evaluation: all that was measured.
        figures: convention to measure to its mean.
    """

    evaluation: Evaluation
    figures: dict[str, dict[str, Figure]]


@dataclass(frozen=True)
class Report:
    """What came out.

    Attributes:
        inputs: what was judged, with expanded vectors where that was asked for.
        choices: what was asked for.
        queries: how the queries do.
        seen: how the queries of seen classes do.
        fine_grained: how often sketches find the photo that they were drawn from.
        comparison: convention to measure to the comparison with the other system.
        notes: what a reader of the figures has to know, a line each.
    """

    inputs: Inputs
    choices: Choices
    queries: Judged
    seen: Judged | None
    fine_grained: FineGrained | None
    comparison: dict[str, dict[str, Comparison]] | None
    notes: tuple[str, ...]

    def harmonic_mean(self, convention: str) -> float:
        """Of the mAP@all of unseen and seen queries, as in generalised zero-shot recognition.

        Xian et al., Zero-Shot Learning: A Comprehensive Evaluation (TPAMI 2019).
        """
        both = [self.queries] if self.seen is None else [self.queries, self.seen]
        return harmonic_mean([each.figures[convention]["mAP@all"].mean for each in both])


def judge(inputs: Inputs, choices: Choices, progress: Progress | None = None) -> Report:
    """Evaluate all that was given.

    Args:
        inputs: the features.
        choices: what is asked for.
        progress: called with (queries ranked, queries in all) for each set of queries.

    Raises:
        MSEdgeError: the vectors or the choices cannot be used.
    """
    if choices.intervals or inputs.other_queries is not None:
        check_draws(**choices.drawn)  # before the long work, not after it
    inputs = expanded(inputs, choices.expansion)
    photos = _vectors(inputs.ranked, choices)
    if choices.binary:
        _refuse_one_code(photos, inputs)
    queries = _judged(inputs.queries, photos, inputs.ranked, choices, progress)
    seen = (
        None
        if inputs.seen_queries is None
        else _judged(inputs.seen_queries, photos, inputs.ranked, choices, progress)
    )
    return Report(
        inputs=inputs,
        choices=choices,
        queries=queries,
        seen=seen,
        fine_grained=_fine_grained(inputs, photos, choices) if choices.fine_grained else None,
        comparison=_comparison(inputs, queries.evaluation, choices, progress),
        notes=notes_on(
            inputs,
            queries.evaluation,
            choices.metric,
            binary=choices.binary,
            expansion=choices.expansion,
            hubs=choices.hubs,
        ),
    )


def _handicaps(photos: NDArray[Any], choices: Choices) -> NDArray[np.float64] | None:
    return None if choices.hubs is None else choices.hubs.handicaps(photos)


def _vectors(features: Features | Ranked, choices: Choices) -> NDArray[Any]:
    return sign_codes(features.embeddings) if choices.binary else features.embeddings


def _refuse_one_code(photos: NDArray[Any], inputs: Inputs) -> None:
    """Refuse what has no values below 0, such as features after a ReLU, or codes of 0 and 1."""
    if len(photos) > 1 and (photos == photos[0]).all():
        raise DataError(
            f"all photos of {one_line(inputs.gallery.file)} have the same sign code, and nothing "
            "to be ranked by; leave out --binary, or give --metric hamming for codes of 0 and 1"
        )


def _evaluate(
    queries: Features,
    photos: NDArray[Any],
    gallery: Features | Ranked,
    choices: Choices,
    progress: Progress | None,
) -> Evaluation:
    return evaluate(
        _vectors(queries, choices),
        photos,
        queries.labels,
        gallery.labels,
        at=choices.at,
        conventions=choices.conventions,
        metric=choices.metric,
        handicaps=_handicaps(photos, choices),
        progress=progress,
    )


def _judged(
    queries: Features,
    photos: NDArray[Any],
    gallery: Features | Ranked,
    choices: Choices,
    progress: Progress | None,
) -> Judged:
    evaluation = _evaluate(queries, photos, gallery, choices, progress)
    figures = {name: _figures(evaluation, name, choices) for name in choices.conventions}
    return Judged(evaluation, figures)


def _figures(evaluation: Evaluation, name: str, choices: Choices) -> dict[str, Figure]:
    means = evaluation.means(name)
    if not choices.intervals:
        return {measure: Figure(mean) for measure, mean in means.items()}
    found = bootstrap(evaluation.values[name], **choices.drawn)
    return {
        measure: Figure(mean, found[measure].low, found[measure].high)
        for measure, mean in means.items()
    }


def _fine_grained(inputs: Inputs, photos: NDArray[Any], choices: Choices) -> FineGrained:
    drawn, shown = source_photos(inputs.queries, inputs.gallery)
    if not np.isin(drawn, shown).any():
        raise DataError(
            f"no sketch in {one_line(inputs.queries.file)} is named after a photo in "
            f"{one_line(inputs.gallery.file)}; --fine-grained needs names such as NAME-1.png for a "
            "sketch of NAME.jpg, in one class"
        )
    # No sketch asked was drawn from a seen photo, whatever that is called.
    seen = np.full(len(inputs.ranked.labels) - len(shown), UNKNOWN)
    return fine_grained(
        _vectors(inputs.queries, choices),
        photos,
        inputs.queries.labels,
        inputs.ranked.labels,
        drawn,
        np.concatenate([shown, seen]),
        at=ACCURACY_AT,
        metric=choices.metric,
        handicaps=_handicaps(photos, choices),
    )


def _comparison(
    inputs: Inputs, own: Evaluation, choices: Choices, progress: Progress | None
) -> dict[str, dict[str, Comparison]] | None:
    queries, gallery = inputs.other_queries, inputs.other_gallery
    if queries is None or gallery is None:
        return None
    other = _evaluate(queries, _vectors(gallery, choices), gallery, choices, progress)
    return {
        name: compare(own.values[name], other.values[name], **choices.drawn)
        for name in choices.conventions
    }
