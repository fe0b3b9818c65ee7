"""An evaluation as JSON, with everything that is printed, and as CSV with a row a query.

Figures are in [0, 1] and whole, where the tables print percent. Tested in
``tests/cli/test_evaluation_files.py``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import msedge
from msedge.cli.evaluation_expansion import Expansion, Hubs
from msedge.cli.evaluation_inputs import Inputs
from msedge.cli.evaluation_report import Judged, Report
from msedge.data.features import Features
from msedge.evaluation.conventions import CONVENTIONS
from msedge.storage import atomic_path


def document(report: Report) -> dict[str, Any]:
    """Everything about an evaluation, ready for ``json``."""
    inputs, choices = report.inputs, report.choices
    return {
        "msedge": msedge.__version__,
        "files": _files(inputs),
        "metric": choices.metric,
        "binary": choices.binary,
        "expansion": _expansion(choices.expansion),
        "hubs": _hubs(choices.hubs),
        "dimensions": int(inputs.queries.embeddings.shape[1]),
        "seed": choices.seed,
        "at": list(choices.at),
        "conventions": {name: _formulas(name) for name in choices.conventions},
        "gallery": len(inputs.ranked.labels),
        **_asked(report, report.queries),
        "left_out": {"queries": inputs.left_out, "classes": list(inputs.absent)},
        "generalised": _generalised(report),
        "fine_grained": None if report.fine_grained is None else asdict(report.fine_grained),
        "comparison": None
        if report.comparison is None
        else {
            name: {measure: asdict(one) for measure, one in compared.items()}
            for name, compared in report.comparison.items()
        },
        "notes": list(report.notes),
    }


def class_rows(judged: Judged, convention: str, inputs: Inputs) -> list[dict[str, Any]]:
    """The figures of each class, rising by mAP@all.

    Each row has ``class``, ``queries``, ``relevant`` (photos of the class in the gallery), and the
    means of all measures, in [0, 1].
    """
    evaluation = judged.evaluation
    rows = [
        {
            "class": inputs.name(label),
            "queries": int(np.count_nonzero(evaluation.labels == label)),
            "relevant": int(evaluation.relevant[evaluation.labels == label][0]),
            **means,
        }
        for label, means in evaluation.by_class(convention).items()
    ]
    return sorted(rows, key=lambda row: (row["mAP@all"], row["class"]))


def write_queries(path: Path, report: Report) -> None:
    """Write a CSV with a row a query: where it stands in its file, its class, all measures.

    Rows count from 0. With seen queries, a column tells the two sets apart. What UTF-8 cannot hold
    is escaped.

    Raises:
        DataError: the file cannot be written.
    """
    inputs = report.inputs
    measures = [(name, m) for name, each in report.queries.figures.items() for m in each]
    header = ["row", "path", "class", "relevant", *(f"{name} {m}" for name, m in measures)]
    sets = [("unseen", inputs.queries, report.queries)]
    if report.seen is not None and inputs.seen_queries is not None:
        sets.append(("seen", inputs.seen_queries, report.seen))
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["queries", *header] if len(sets) > 1 else header)
        for title, queries, judged in sets:
            for row in _query_rows(queries, judged, measures):
                writer.writerow([title, *row] if len(sets) > 1 else row)


def _query_rows(
    queries: Features, judged: Judged, measures: Sequence[tuple[str, str]]
) -> Iterator[list[Any]]:
    columns = [judged.evaluation.values[name][measure] for name, measure in measures]
    for i, row in enumerate(queries.rows.tolist()):
        path = "" if queries.paths is None else queries.paths[i]
        class_ = queries.classes[queries.labels[i]]
        relevant = int(judged.evaluation.relevant[i])
        yield [row, path, class_, relevant, *(float(column[i]) for column in columns)]


def _files(inputs: Inputs) -> dict[str, Any]:
    """Role to file and file of labels; roles that were not given are left out."""
    return {
        role: {part: None if path is None else str(path) for part, path in source.items()}
        for role, source in asdict(inputs.files).items()
        if source is not None
    }


def _formulas(name: str) -> dict[str, str]:
    chosen = CONVENTIONS[name]
    return {"ap": chosen.ap_formula, "p": chosen.p_formula, "used_by": chosen.used_by}


def _expansion(expansion: Expansion) -> dict[str, Any] | None:
    return {**asdict(expansion), "says": str(expansion)} if expansion else None


def _hubs(hubs: Hubs | None) -> dict[str, Any] | None:
    if hubs is None:
        return None
    return {"file": str(hubs.file), "drawings": len(hubs.drawings), "says": str(hubs)}


def _asked(report: Report, judged: Judged) -> dict[str, Any]:
    """What one set of queries came to."""
    evaluation = judged.evaluation
    told: dict[str, Any] = {
        "queries": len(evaluation.labels),
        "classes": len(np.unique(evaluation.labels)),
        "relevant": {
            "fewest": int(evaluation.relevant.min()),
            "most": int(evaluation.relevant.max()),
        },
        "results": {
            name: {measure: asdict(figure) for measure, figure in figures.items()}
            for name, figures in judged.figures.items()
        },
    }
    if report.choices.per_class:
        told["per_class"] = {
            name: class_rows(judged, name, report.inputs) for name in judged.figures
        }
    return told


def _generalised(report: Report) -> dict[str, Any] | None:
    inputs = report.inputs
    if inputs.files.seen_gallery is None:
        return None
    told: dict[str, Any] = {
        "share": report.choices.share,
        "seen_photos": len(inputs.ranked.labels) - len(inputs.gallery),
        "seen_queries": None,
        "harmonic_mean": None,
    }
    if report.seen is not None:
        told["seen_queries"] = _asked(report, report.seen)
        told["harmonic_mean"] = {
            name: {"mAP@all": report.harmonic_mean(name)} for name in report.choices.conventions
        }
    return told
