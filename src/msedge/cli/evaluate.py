"""``msedge evaluate``: anyone's features, judged under any convention.

Tested in ``tests/cli/test_evaluate.py``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from msedge.cli import evaluation_options as options
from msedge.cli.progress import progress_bar

if TYPE_CHECKING:
    from msedge.cli.evaluation_inputs import Source
    from msedge.evaluation.scoring import Metric

_OWN_LABELS = Path("-")
"""In place of a file of labels: the features bring their own."""


def evaluate_command(
    queries: options.Queries,
    gallery: options.Gallery,
    labels: options.Labels = None,
    conventions: options.Conventions = None,
    at: options.At = None,
    metric: options.MetricName = None,
    binary: options.Binary = False,
    fine_grained: options.FineGrained = False,
    drop_absent: options.DropAbsent = False,
    seed: options.Seed = 0,
    seen_gallery: options.SeenGallery = None,
    seen_labels: options.SeenLabels = None,
    seen_queries: options.SeenQueries = None,
    seen_query_labels: options.SeenQueryLabels = None,
    seen_share: options.SeenShare = None,
    smooth_gallery: options.SmoothGallery = 0,
    expand_queries: options.ExpandQueries = 0,
    expansion_power: options.ExpansionPower = None,
    hubs: options.Hubs = None,
    compare: options.Compare = None,
    compare_gallery: options.CompareGallery = None,
    compare_labels: options.CompareLabels = None,
    per_class: options.PerClass = False,
    intervals: options.Intervals = True,
    resamples: options.Resamples = None,
    per_query: options.PerQuery = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge features of sketches and photos: mAP, P@k and recall under any convention.

    A photo is relevant when its class is the query's. Names of classes are compared without regard
    to case, hyphens and underscores.
    """
    from msedge.cli.evaluation_expansion import chosen_expansion, chosen_hubs
    from msedge.cli.evaluation_files import document, write_queries
    from msedge.cli.evaluation_inputs import Files, Source, load_inputs
    from msedge.cli.evaluation_report import Choices, judge
    from msedge.cli.evaluation_table import show
    from msedge.data.images import one_line

    _check_companions(seen_gallery, seen_labels, seen_queries, seen_query_labels, seen_share)
    _check_comparison(compare, compare_gallery, compare_labels, seen_gallery)
    share = 1.0 if seen_share is None else seen_share
    chosen_metric = _chosen_metric(metric, binary=binary)
    choices = Choices(
        conventions=_chosen_conventions(conventions or ["standard"]),
        at=tuple(dict.fromkeys(at or (100, 200))),
        metric=chosen_metric,
        binary=binary,
        intervals=intervals,
        resamples=resamples,
        seed=seed,
        share=share,
        per_class=per_class,
        fine_grained=fine_grained,
        expansion=chosen_expansion(smooth_gallery, expand_queries, expansion_power, chosen_metric),
        hubs=chosen_hubs(hubs, chosen_metric),
    )
    own, other = _label_files(labels), _label_files(compare_labels)
    files = Files(
        queries=Source(queries, own[0]),
        gallery=Source(gallery, own[1]),
        seen_gallery=_source(seen_gallery, seen_labels),
        seen_queries=_source(seen_queries, seen_query_labels),
        other_queries=_source(compare, other[0]),
        other_gallery=_source(compare_gallery, other[1]),
    )
    inputs = load_inputs(
        files,
        refuse_zeros=binary or choices.metric == "cosine",
        drop_absent=drop_absent,
        share=share,
        seed=seed,
    )
    with progress_bar("Ranking") if sys.stderr.isatty() else nullcontext() as progress:
        report = judge(inputs, choices, progress)
    if per_query is not None:
        write_queries(per_query, report)
    if as_json:
        typer.echo(json.dumps(document(report), indent=2, allow_nan=False))
    else:
        show(report)
        if per_query is not None:
            typer.echo(f"Written to {one_line(per_query)}.")


def _chosen_conventions(names: Sequence[str]) -> tuple[str, ...]:
    """Names without repeats; ``all`` stands for each of the table."""
    from msedge.errors import ConfigError
    from msedge.evaluation.conventions import CONVENTIONS

    unknown = [name for name in names if name not in (*CONVENTIONS, "all")]
    if unknown:
        raise ConfigError(
            f"unknown convention {unknown[0]!r}: expected one of {', '.join(CONVENTIONS)}, or all"
        )
    return tuple(CONVENTIONS) if "all" in names else tuple(dict.fromkeys(names))


def _chosen_metric(name: str | None, *, binary: bool) -> Metric:
    from msedge.errors import ConfigError
    from msedge.evaluation.scoring import METRICS

    if binary and name not in (None, "hamming"):
        raise ConfigError(
            f"--binary compares sign codes by hamming, not by {name!r}; leave out one of the two"
        )
    wanted = name or ("hamming" if binary else "cosine")
    for metric in METRICS:
        if metric == wanted:
            return metric
    raise ConfigError(f"unknown metric {name!r}: expected one of {', '.join(METRICS)}")


def _label_files(pair: tuple[Path, Path] | None) -> tuple[Path | None, Path | None]:
    first, second = (None if file == _OWN_LABELS else file for file in pair or (None, None))
    return first, second


def _source(file: Path | None, labels: Path | None) -> Source | None:
    from msedge.cli.evaluation_inputs import Source

    return None if file is None else Source(file, labels)


def _check_companions(
    gallery: Path | None,
    labels: Path | None,
    queries: Path | None,
    query_labels: Path | None,
    share: float | None,
) -> None:
    """Refuse options that another one would have to go with."""
    _refuse_without("--seen-gallery", gallery, ("--seen-labels", labels))
    _refuse_without("--seen-gallery", gallery, ("--seen-queries", queries))
    _refuse_without("--seen-gallery", gallery, ("--seen-share", share))
    _refuse_without("--seen-queries", queries, ("--seen-query-labels", query_labels))


def _check_comparison(
    compare: Path | None,
    gallery: Path | None,
    labels: tuple[Path, Path] | None,
    seen_gallery: Path | None,
) -> None:
    from msedge.errors import ConfigError

    _refuse_without("--compare", compare, ("--compare-gallery", gallery))
    _refuse_without("--compare", compare, ("--compare-labels", labels))
    if compare is not None and seen_gallery is not None:
        raise ConfigError(
            "--compare does not go with --seen-gallery, which would be one system's alone; put the "
            "seen photos into the gallery files of both"
        )


def _refuse_without(needed: str, given: object, option: tuple[str, object]) -> None:
    from msedge.errors import ConfigError

    if option[1] is not None and given is None:
        raise ConfigError(f"{option[0]} has no use without {needed}; give both")
