"""What ``msedge evaluate`` judges: features from files, brought together and checked by name.

Tested in ``tests/cli/test_evaluation_inputs.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msedge.data.features import Features, load_features, share_classes, stem_of
from msedge.data.images import one_line
from msedge.data.layouts import Domain
from msedge.errors import ConfigError, DataError
from msedge.evaluation.generalised import share_of, with_seen


@dataclass(frozen=True)
class Source:
    """A file of features and, where it has none of its own, one of labels."""

    file: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Files:
    """The files that were named.

    Attributes:
        queries: asked with.
        gallery: ranked; of unseen classes, where there are seen ones too.
        seen_gallery: photos of seen classes, added to the gallery.
        seen_queries: sketches of seen classes, asked too.
        other_queries: the same queries of the system to compare with.
        other_gallery: its gallery; None for the photos in the file of its queries.
    """

    queries: Source
    gallery: Source
    seen_gallery: Source | None = None
    seen_queries: Source | None = None
    other_queries: Source | None = None
    other_gallery: Source | None = None


@dataclass(frozen=True)
class Ranked:
    """Photos that are ranked, from one file or two: ``(M, D)`` numbers and ``(M,)`` class ids."""

    embeddings: NDArray[Any]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """Features that fit together; all have the same classes.

    Attributes:
        files: where they come from.
        queries: each with a photo of its class in the gallery.
        absent: classes of queries that were left out, since the gallery has no photo of them.
        left_out: how many queries those were.
        gallery: the photos of the queries' own side.
        ranked: all photos that are ranked: the gallery, followed by the seen photos.
        seen_queries: asked of the same photos; None for none.
        other_queries: row by row those of ``queries``, as another system sees them; or None.
        other_gallery: that system's photos; or None.
    """

    files: Files
    queries: Features
    absent: tuple[str, ...]
    left_out: int
    gallery: Features
    ranked: Ranked
    seen_queries: Features | None = None
    other_queries: Features | None = None
    other_gallery: Features | None = None

    def name(self, label: int) -> str:
        """A class as its file writes it, safe to print."""
        return one_line(self.queries.classes[label])


def load_inputs(
    files: Files, *, refuse_zeros: bool, drop_absent: bool, share: float, seed: int
) -> Inputs:
    """Read the files and bring them together.

    Args:
        files: what to read.
        refuse_zeros: whether a vector of zeros cannot be compared.
        drop_absent: leave out queries whose class has no photo, instead of refusing them.
        share: of the seen photos and seen queries of each class, in (0, 1].
        seed: of the draw of that share.

    Raises:
        MSEdgeError: a file cannot be used, or does not fit the others.
    """
    sets = _shared(files)
    for each in sets.values():
        each.check(refuse_zeros=refuse_zeros)
    queries, gallery = sets["queries"], sets["gallery"]
    other_queries, other_gallery = sets.get("other_queries"), sets.get("other_gallery")
    galleries = [gallery]
    if other_queries is not None and other_gallery is not None:
        _check_pairs(queries, other_queries)
        galleries.append(other_gallery)
    rows = _rows_present(queries, galleries, drop_absent=drop_absent)
    absent = np.setdiff1d(queries.labels, queries.labels[rows])
    inputs = Inputs(
        files=files,
        queries=queries.take(rows) if absent.size else queries,
        absent=tuple(one_line(queries.classes[label]) for label in absent),
        left_out=len(queries) - len(rows),
        gallery=gallery,
        ranked=Ranked(gallery.embeddings, gallery.labels),
        other_queries=None if other_queries is None else other_queries.take(rows),
        other_gallery=other_gallery,
    )
    return _generalised(inputs, sets, share, seed) if "seen_gallery" in sets else inputs


_DOMAINS: dict[str, Domain] = {
    "queries": "sketch",
    "gallery": "photo",
    "seen_gallery": "photo",
    "seen_queries": "sketch",
    "other_queries": "sketch",
    "other_gallery": "photo",
}


def _shared(files: Files) -> dict[str, Features]:
    """All features by their role, with classes in common."""
    sources = {role: getattr(files, role) for role in _DOMAINS}
    loaded = {
        role: load_features(source.file, labels=source.labels, domain=_DOMAINS[role])
        for role, source in sources.items()
        if source is not None
    }
    if files.other_queries is not None and files.other_gallery is None:
        loaded["other_gallery"] = _photos_beside(loaded["other_queries"], files.other_queries)
    return dict(zip(loaded, share_classes(list(loaded.values())), strict=True))


def _photos_beside(queries: Features, source: Source) -> Features:
    if not queries.both:
        raise ConfigError(
            f"{one_line(source.file)} does not hold both sketches and photos; name the photos to "
            "compare with by --compare-gallery"
        )
    return load_features(source.file, labels=source.labels, domain="photo")


def _rows_present(
    queries: Features, galleries: list[Features], *, drop_absent: bool
) -> NDArray[np.int64]:
    """The rows of queries whose class has a photo in each gallery."""
    present = np.ones(len(queries), bool)
    for gallery in galleries:
        present &= np.isin(queries.labels, gallery.labels)
    if not present.any():
        raise DataError("no query has a photo of its class in the gallery; check the labels")
    absent = np.unique(queries.labels[~present])
    if absent.size and not drop_absent:
        raise DataError(
            f"class {queries.classes[absent[0]]!r} has queries but no photo in the "
            f"gallery ({absent.size} such classes, {np.count_nonzero(~present):,} queries); add "
            "photos, or leave these queries out by --drop-absent"
        )
    return np.flatnonzero(present)


def _check_pairs(queries: Features, other: Features) -> None:
    """Refuse two sets that are not the same queries in the same order."""
    if len(queries) != len(other):
        raise DataError(
            f"{one_line(other.file)} holds {len(other):,} queries to compare with, but "
            f"{one_line(queries.file)} holds {len(queries):,}; a paired test needs the same ones"
        )
    differing = np.flatnonzero(queries.labels != other.labels)
    if differing.size:
        row = int(differing[0])
        one, two = (each.classes[each.labels[row]] for each in (queries, other))
        raise DataError(
            f"query {row} is of class {one!r} in {one_line(queries.file)} but {two!r} in "
            f"{one_line(other.file)}; a paired test needs the same queries in the same order"
        )
    for row, (path, match) in enumerate(zip(queries.paths or (), other.paths or (), strict=False)):
        if stem_of(path) != stem_of(match):
            raise DataError(
                f"query {row} is {stem_of(path)!r} in {one_line(queries.file)} but "
                f"{stem_of(match)!r} in {one_line(other.file)}; a paired test needs the "
                "same queries in the same order"
            )


def _generalised(inputs: Inputs, sets: dict[str, Features], share: float, seed: int) -> Inputs:
    """Photos of seen classes join the gallery, and their sketches the queries."""
    gallery, seen = inputs.gallery, sets["seen_gallery"]
    both = np.intersect1d(gallery.labels, seen.labels)
    if both.size:
        raise DataError(
            f"class {seen.classes[both[0]]!r} is in {one_line(seen.file)} and in "
            f"{one_line(gallery.file)}; a class is seen or unseen, not both ({both.size} are)"
        )
    vectors, labels = with_seen(
        gallery.embeddings, gallery.labels, seen.embeddings, seen.labels, share=share, seed=seed
    )
    ranked = Ranked(vectors, labels)
    asked = sets.get("seen_queries")
    if asked is None:
        return replace(inputs, ranked=ranked)
    _check_seen(asked, seen)
    kept = asked.take(share_of(asked.labels, share, seed))
    return replace(inputs, ranked=ranked, seen_queries=kept)


def _check_seen(queries: Features, photos: Features) -> None:
    absent = np.setdiff1d(queries.labels, photos.labels)
    if absent.size:
        raise DataError(
            f"class {queries.classes[absent[0]]!r} has queries in "
            f"{one_line(queries.file)} but no photo in {one_line(photos.file)}; give sketches of "
            "the seen classes alone"
        )
