"""What a reader of an evaluation's figures has to know, a line each.

Tested in ``tests/cli/test_evaluation_notes.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from msedge.cli.evaluation_expansion import Expansion, Hubs
from msedge.cli.evaluation_inputs import Inputs
from msedge.data.features import Features
from msedge.data.images import one_line

if TYPE_CHECKING:
    from msedge.evaluation.evaluate import Evaluation

_BY_K = frozenset({"standard", "total"})
"""Conventions whose P@k is divided by k."""
_BY_PLACES = frozenset({"sake", "hits"})
"""Conventions whose P@k is divided by k, or by M where the gallery is smaller."""

_PLAIN = Expansion()


def notes_on(
    inputs: Inputs,
    evaluation: Evaluation,
    metric: str,
    *,
    binary: bool,
    expansion: Expansion = _PLAIN,
    hubs: Hubs | None = None,
) -> tuple[str, ...]:
    """Say what bounds or flatters the figures, and what was left out.

    Args:
        inputs: what was judged.
        evaluation: of its queries.
        metric: what made a photo near.
        binary: whether signs were judged instead of the vectors.
        expansion: what was done to the vectors before they were ranked.
        hubs: what took something off the scores of each photo.
    """
    codes = metric == "hamming" and not binary  # short codes are often equal, of different photos
    return (
        *_of_expansion(expansion),
        *(() if hubs is None else (str(hubs),)),
        *_of_absent(inputs),
        *_of_domains(inputs),
        *_of_themselves(inputs),
        *_of_bounds(evaluation),
        *(() if codes else _of_repeats(inputs.gallery)),
        *_of_other_gallery(inputs),
    )


def repeated(gallery: Features) -> int:
    """How many photos have the very vector of an earlier photo of their class."""
    first = {
        (int(label), hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest())
        for label, row in zip(gallery.labels, gallery.embeddings, strict=True)
    }
    return len(gallery) - len(first)


def _of_expansion(expansion: Expansion) -> Iterator[str]:
    if expansion:
        yield f"{expansion} (a neighbour weighs its cosine to the power {expansion.power:g})"


def _of_absent(inputs: Inputs) -> Iterator[str]:
    if inputs.left_out:
        one = inputs.left_out == 1
        counted = "1 query is" if one else f"{inputs.left_out:,} queries are"
        yield (
            f"{counted} left out, since the gallery has no photo of {'its' if one else 'their'} "
            f"class: {', '.join(inputs.absent)}"
        )


def _of_domains(inputs: Inputs) -> Iterator[str]:
    """A file of one domain is taken whole, which is right unless two files were swapped."""
    if inputs.queries.domain == "photo":
        yield f"the queries are photos: {one_line(inputs.queries.file)} holds no sketches"
    if inputs.gallery.domain == "sketch":
        yield f"the gallery is of sketches: {one_line(inputs.gallery.file)} holds no photos"


def _of_themselves(inputs: Inputs) -> Iterator[str]:
    """One file without domains in both places asks each vector for itself."""
    queries, gallery = inputs.queries, inputs.gallery
    if queries.file.resolve() == gallery.file.resolve():
        count = len(np.intersect1d(queries.rows, gallery.rows))
        if count:
            yield (
                f"{count:,} of {len(queries):,} queries are in the gallery themselves, as the same "
                f"rows of {one_line(queries.file)}, and are their own nearest: the figures are too "
                "high"
            )


def _of_bounds(evaluation: Evaluation) -> Iterator[str]:
    by_k = _BY_K.intersection(evaluation.values)
    if not by_k and not _BY_PLACES.intersection(evaluation.values):
        return
    classes, first = np.unique(evaluation.labels, return_index=True)
    photos = evaluation.relevant[first]
    for k in evaluation.at:
        short = np.count_nonzero(photos < k)
        places = k if by_k else min(k, evaluation.gallery)
        best = float(np.mean(np.minimum(evaluation.relevant, k) / places))
        if short and best < 1:
            divisor = "k" if places == k else "M"
            yield (
                f"P@{k} as h_k / {divisor} cannot exceed {100 * best:.1f} here: {short} of "
                f"{len(classes)} classes have fewer than {k} photos (mean of min(k, R) / {divisor})"
            )


def _of_repeats(gallery: Features) -> Iterator[str]:
    count = repeated(gallery)
    if count:
        photos = "1 photo" if count == 1 else f"{count:,} photos"
        yield (
            f"the gallery holds {photos} twice (a vector equal to that of an earlier photo "
            "of the class): use msedge data prepare, which leaves repeats out"
        )


def _of_other_gallery(inputs: Inputs) -> Iterator[str]:
    other = inputs.other_gallery
    if other is not None and not np.array_equal(
        np.unique(other.labels, return_counts=True),
        np.unique(inputs.gallery.labels, return_counts=True),
    ):
        yield (
            f"the systems compared rank different galleries, of {len(inputs.gallery):,} and "
            f"{len(other):,} photos: part of the difference may be the gallery's"
        )
