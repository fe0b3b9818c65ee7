"""An evaluation as tables in a terminal, in percent with one decimal.

Tested in ``tests/cli/test_evaluation_table.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from msedge.cli.evaluation_files import class_rows
from msedge.cli.evaluation_report import Figure, Judged, Report
from msedge.data.features import Features
from msedge.data.images import one_line
from msedge.evaluation.fine_grained import FineGrained
from msedge.evaluation.significance import Comparison

_UNBOUNDED = 10_000  # columns: wider than any table, to learn how wide one would like to be
_NAME = 24  # characters of a class's name, of which the longest published ones have 20


@dataclass(frozen=True)
class Grid:
    """A table that can be folded: wide where it fits, otherwise with intervals on lines below.

    Attributes:
        title: printed above.
        labels: headings of the columns that say what a row is.
        columns: headings of the figures.
        rows: texts of the labels, and text by column; a column may be missing.
    """

    title: str
    labels: tuple[str, ...]
    columns: Sequence[str]
    rows: Sequence[tuple[tuple[str, ...], Mapping[str, str]]]

    def folded(self, width: int, console: Console) -> list[Table]:
        """As few tables as stay within a width."""
        for fold in (False, True):
            for parts in range(1, len(self.columns) + 1 if fold else 2):
                groups = np.array_split(np.array(self.columns), parts)
                tables = [self._table(group.tolist(), fold=fold) for group in groups]
                if all(_width(console, table) <= width for table in tables):
                    return tables
        return tables

    def _table(self, columns: Sequence[str], *, fold: bool) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
        for index, label in enumerate(self.labels):
            table.add_column(label, justify="right" if index else "left", no_wrap=True)
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        for labels, figures in self.rows:
            shown = (figures.get(column, "") for column in columns)
            cells = (text.replace(" (", "\n(") if fold else text for text in shown)
            table.add_row(*map(Text, labels), *cells)
        return table


def show(report: Report) -> None:
    """Print an evaluation to standard output."""
    console = Console(highlight=False)
    for label, text in _head(report):
        console.print(Text(f"{label:10}{text}"), soft_wrap=True)
    for grid in _grids(report):
        console.print()
        console.print(Text(grid.title, style="bold"), soft_wrap=True)
        for index, table in enumerate(grid.folded(console.width, console)):
            if index:
                console.print()
            console.print(table)
    if report.notes:
        console.print()
    for note in report.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def percent(value: float) -> str:
    """A value in [-1, 1] as percent with one decimal.

    >>> percent(0.4866), percent(1.0)
    ('48.7', '100.0')
    """
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f}"  # adding zero turns -0.0 into 0.0


def _head(report: Report) -> Iterator[tuple[str, str]]:
    inputs, evaluation = report.inputs, report.queries.evaluation
    yield "queries", _told(inputs.queries, "queries")
    yield "gallery", _told(inputs.gallery, "photos")
    if inputs.files.seen_gallery is not None:
        count, share = (
            len(inputs.ranked.labels) - len(inputs.gallery),
            percent(report.choices.share),
        )
        file = one_line(inputs.files.seen_gallery.file)
        yield "+ seen", f"{count:,} photos, {share} % of each class, {file}"
    binary = " on sign codes" if report.choices.binary else ""
    yield (
        "vectors",
        f"{inputs.queries.embeddings.shape[1]:,} dimensions, {evaluation.metric}{binary}",
    )
    if report.choices.expansion:
        yield "expansion", str(report.choices.expansion)
    if report.choices.hubs is not None:
        yield "hubs", str(report.choices.hubs)
    fewest, most = evaluation.relevant.min(), evaluation.relevant.max()
    counted = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    yield "relevant", f"{counted} photos for a query (R)"


def _told(features: Features, unnamed: str) -> str:
    """How many of what, of how many classes, from where."""
    noun = {None: unnamed, "sketch": "sketches", "photo": "photos"}[features.domain]
    classes = len(np.unique(features.labels))
    counted = f"{classes:,} {'class' if classes == 1 else 'classes'}"
    return f"{len(features):,} {noun} of {counted}, {one_line(features.file)}"


def _grids(report: Report) -> Iterator[Grid]:
    yield _main(report)
    if report.choices.per_class:
        for name in report.choices.conventions:
            yield _classes(report, report.queries, name, "unseen " if report.seen else "")
            if report.seen is not None:
                yield _classes(report, report.seen, name, "seen ")
    if report.fine_grained is not None:
        yield _accuracy(report.fine_grained)
    for name, compared in (report.comparison or {}).items():
        yield _comparison(report, name, compared)


def _main(report: Report) -> Grid:
    """A row a convention; with seen queries three: unseen, seen and their harmonic mean."""
    interval = " and 95 % intervals over queries" if report.choices.intervals else ""
    rows: list[tuple[tuple[str, ...], Mapping[str, str]]] = []
    for name in report.choices.conventions:
        figures = report.queries.figures[name]
        if report.seen is None:
            rows.append(((name,), _cells(figures)))
            continue
        harmonic = {"mAP@all": Figure(report.harmonic_mean(name))}
        rows.append(((name, "unseen"), _cells(figures)))
        rows.append((("", "seen"), _cells(report.seen.figures[name])))
        rows.append((("", "harmonic mean"), _cells(harmonic)))
    labels = ("convention",) if report.seen is None else ("convention", "queries")
    return Grid(f"Percent{interval}", labels, list(figures), rows)


def _cells(figures: Mapping[str, Figure]) -> dict[str, str]:
    return {
        measure: percent(figure.mean)
        if figure.low is None or figure.high is None
        else f"{percent(figure.mean)} ({percent(figure.low)}-{percent(figure.high)})"
        for measure, figure in figures.items()
    }


def _classes(report: Report, judged: Judged, name: str, side: str) -> Grid:
    measures = list(judged.figures[name])
    rows = [
        (
            (_cut(row["class"]), f"{row['queries']:,}", f"{row['relevant']:,}"),
            {measure: percent(row[measure]) for measure in measures},
        )
        for row in class_rows(judged, name, report.inputs)
    ]
    title = f"Percent by {side}class, {name}, rising by mAP@all"
    return Grid(title, ("class", "queries", "R"), measures, rows)


def _accuracy(found: FineGrained) -> Grid:
    sides = (("photos of its class", found.within_class), ("all photos", found.whole_gallery))
    rows = [
        ((among,), {f"Acc@{k}": percent(value) for k, value in accuracy.items()})
        for among, accuracy in sides
    ]
    title = f"Percent of {found.queries:,} queries that find their own source photo"
    if found.left_out:
        title += f" ({found.left_out:,} left out: theirs is not known or not in the gallery)"
    return Grid(title, ("among",), [f"Acc@{k}" for k in found.within_class], rows)


def _comparison(report: Report, name: str, compared: Mapping[str, Comparison]) -> Grid:
    other = report.inputs.files.other_queries
    rows = [
        (
            (measure,),
            {
                "queries": percent(each.first),
                "other": percent(each.second),
                "difference": f"{_signed(each.difference)} "
                f"({_signed(each.low)} to {_signed(each.high)})",
                "p": f"{each.p_value:.2g}",
            },
        )
        for measure, each in compared.items()
    ]
    file = "" if other is None else one_line(other.file)
    title = f"Percent against {file}, {name}: difference, 95 % interval, p of the paired test"
    return Grid(title, ("measure",), ("queries", "other", "difference", "p"), rows)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."


def _width(console: Console, table: Table) -> int:
    """How wide a table would be without any limit."""
    options = console.options.update(max_width=_UNBOUNDED)
    return console.measure(table, options=options).maximum
