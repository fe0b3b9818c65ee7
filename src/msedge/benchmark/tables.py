"""What a benchmark came to, as a page of Markdown.

The first table has the shape of the published ones: a row a network, four figures a dataset. It is
HTML, since Markdown has no headings that span columns. Tested in
``tests/benchmark/test_tables.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from msedge.benchmark.differences import RESAMPLES, Difference
from msedge.benchmark.intervals import SeedMean
from msedge.benchmark.outcomes import Outcome
from msedge.benchmark.plan import Plan
from msedge.benchmark.queries import ceiling, query_values
from msedge.benchmark.rows import METRICS, Row, columns, labels, short_label
from msedge.data.images import one_line
from msedge.evaluation.significance import Interval

HELD_OUT = "held-out mAP@all"
_CHOSEN = {
    "seen": "on held-out seen classes",
    "last": "by taking the last epoch",
    "test": "ON THE TEST CLASSES",
}
_READING = """\
Metrics are in percent, on unseen classes, under the convention {convention}; ties go by gallery
order. A figure is the mean over the row's seeds ± half the 95 % t-interval of that mean, with the
standard deviation s of the seeds; of a single seed it stands alone. {choosing}"""
_CHOOSE = f"""\
"{HELD_OUT}" is measured on seen classes that were not trained on: choose between rows by it, and by
nothing else here."""
_NO_CHOICE = """\
No row was measured on held-out seen classes, so nothing here is a ground to choose between rows."""
_STANDARD = "`standard` (AP@k is divided by min(k, relevant photos))"
_PAIRED = f"""\
Each row less the row that differs from it by being the baseline, over the seeds that both have
finished; above 0 the row is better. ± is half the 95 % t-interval over seeds: it speaks of other
seeds. The last column is the 95 % bootstrap interval of the same difference over queries (each
query's average precision is first averaged over the seeds; whole queries are drawn with
replacement, over all classes together, {RESAMPLES:,} times): it speaks of other sketches of these
classes. Neither covers the other."""


def page(plan: Plan, rows: Sequence[Row], paired: Sequence[Difference]) -> str:
    """The whole page.

    Args:
        plan: what was to be run.
        rows: what it came to so far.
        paired: differences to the baselines.

    Raises:
        DataError: the vectors of a finished run cannot be read.
    """
    outcomes = [outcome for row in rows for outcome in row.outcomes]
    parts = [f"# {one_line(plan.name)}", _progress(outcomes)]
    conventions = {str(o.record["convention"]) for o in outcomes if o.record}
    told = _STANDARD if conventions <= {"standard"} else ", ".join(sorted(conventions))
    held_out = any(o.cell.config.select == "seen" for o in outcomes)
    choosing = _CHOOSE if held_out else _NO_CHOICE
    parts.append(_paragraph(_READING.format(convention=told, choosing=choosing)))
    by_dataset = {name: [r for r in rows if r.dataset == name] for name in _datasets(rows)}
    parts.append("\n".join(_dataset_line(name, each) for name, each in by_dataset.items()))
    parts += _warnings(rows)
    parts.append("\n".join(_table(by_dataset)))
    for baseline in plan.baselines:
        parts.append(f"## Differences to {one_line(baseline)}")
        if baseline == plan.baselines[0]:
            parts.append(_paragraph(_PAIRED))
        parts.append(_differences([d for d in paired if d.baseline.key.variant == baseline], rows))
    failures = [o for o in outcomes if o.failed]
    if failures:
        lines = [f"- {_plain(o.cell.label)}: failed: {_plain(o.error or '')}" for o in failures]
        parts += ["## Failures", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def mean_text(found: SeedMean | None, *, sign: bool = False, deviation: bool = True) -> str:
    """A mean over seeds in words.

    >>> mean_text(SeedMean(3, 48.7, 0.68, 1.69))
    '48.7 ± 1.7 (s 0.7)'
    >>> mean_text(SeedMean(1, -0.04, None, None), sign=True)
    '+0.0'
    """
    if found is None:
        return "-"
    text = _number(found.mean, sign=sign)
    if found.half is None or found.deviation is None:
        return text
    spread = f" (s {found.deviation:.1f})" if deviation else ""
    return f"{text} ± {found.half:.1f}{spread}"


def _number(value: float, *, sign: bool) -> str:
    rounded = round(value, 1) + 0.0  # no sign before a zero
    return f"{rounded:+.1f}" if sign else f"{rounded:.1f}"


def _progress(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.state for outcome in outcomes)
    rest = [f"{count} {state}" for state, count in counts.items() if state != "done"]
    told = f" ({', '.join(rest)})" if rest else ""
    return f"{counts['done']} of {len(outcomes)} runs are done{told}."


def _datasets(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.dataset for row in rows))


def _dataset_line(name: str, rows: Sequence[Row]) -> str:
    """Protocol, sizes, seeds, and how the checkpoint was chosen."""
    outcomes = [outcome for row in rows for outcome in row.outcomes]
    seeds = ", ".join(map(str, dict.fromkeys(o.cell.config.seed for o in outcomes)))
    selects = dict.fromkeys(o.cell.config.select for o in outcomes)
    chosen = "checkpoint chosen " + " or ".join(_CHOSEN.get(s, s) for s in selects)
    planned = outcomes[0].cell.dataset.protocol
    finished = [o for o in outcomes if o.state == "done"]
    protocols = dict.fromkeys(o.data["protocol"] or "not noted" for o in finished)
    facts = ["protocol " + (" or ".join(protocols) or planned or "not known yet")]
    sizes = dict.fromkeys(
        f"{len(o.data['unseen_classes']):,} unseen classes, {o.data['unseen_sketches']:,} sketches "
        f"against {o.data['unseen_photos']:,} photos"
        for o in finished
    )
    facts += [" or ".join(sizes)] if sizes else []
    facts += [f"{'seeds' if ',' in seeds else 'seed'} {seeds}", chosen]
    line = f"- **{_plain(name)}**: {'; '.join(facts)}."
    highest = _ceilings(rows)
    if highest and highest[100] < 100:
        line += (
            f" P@100 cannot exceed {highest[100]:.1f} here, nor P@200 {highest[200]:.1f}: "
            "some classes have fewer photos. P@10 and P@25 stand beside them."
        )
    return line


def _ceilings(rows: Sequence[Row]) -> dict[int, float] | None:
    """The largest P@100 and P@200 that can be reached; None before a run is finished."""
    finished = [outcome for row in rows for outcome in row.finished]
    if not finished:
        return None
    values = query_values(finished[0].cell)
    return {k: ceiling(values, k) for k in (100, 200)}


def _warnings(rows: Sequence[Row]) -> list[str]:
    chosen_on_test = [r for r in rows if r.outcomes[0].cell.config.select == "test"]
    if not chosen_on_test:
        return []
    which = "all rows" if len(chosen_on_test) == len(rows) else f"{len(chosen_on_test)} rows"
    some = "" if which == "all rows" else f" ({_names(chosen_on_test, rows)})"
    return [
        f"**Warning: the checkpoint of {which}{some} was chosen on the test classes, which "
        "inflates the figures. They are no measure of unseen classes.**"
    ]


def _names(some: Sequence[Row], rows: Sequence[Row]) -> str:
    return _plain("; ".join(dict.fromkeys(short_label(row, rows) for row in some)))


# ------------------------------------------------------------------------- the published shape


def _table(by_dataset: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    rows = [row for each in by_dataset.values() for row in each]
    names = columns(rows)
    shown = {name: _metrics(each) for name, each in by_dataset.items()}
    yield "<table>\n<thead>\n  <tr>"
    for title in names:
        yield f'    <th rowspan="2">{escape(_heading(title))}</th>'
    for name, metrics in shown.items():
        yield f'    <th colspan="{len(metrics) + 2}">{escape(name)}</th>'
    yield "  </tr>\n  <tr>"
    for metrics in shown.values():
        for title in ("seeds", HELD_OUT, *metrics):
            yield f'    <td align="center">{escape(title)}</td>'
    yield "  </tr>\n</thead>\n<tbody>"
    for key in dict.fromkeys(row.key for row in rows):
        found = {row.dataset: row for row in rows if row.key == key}
        yield "  <tr>"
        for label in labels(next(iter(found.values())), names):
            yield f'    <td align="center">{escape(label)}</td>'
        for name, metrics in shown.items():
            yield from _cells(found[name], metrics)
        yield "  </tr>"
    yield "</tbody>\n</table>"


def _cells(row: Row, metrics: Sequence[str]) -> Iterator[str]:
    done, planned = len(row.finished), len(row.outcomes)
    if row.error:
        text = escape(f"failed: {row.error}")
        yield f'    <td align="center" colspan="{len(metrics) + 2}">{text}</td>'
        return
    yield f'    <td align="center">{done if done == planned else f"{done} of {planned}"}</td>'
    for found in (row.held_out, *(row.means.get(name) for name in metrics)):
        yield f'    <td align="center">{mean_text(found)}</td>'


def _metrics(rows: Sequence[Row]) -> tuple[str, ...]:
    """The four metrics, and P@10 and P@25 where P@100 cannot be reached."""
    highest = _ceilings(rows)
    return METRICS if highest and highest[100] < 100 else METRICS[:4]


def _heading(name: str) -> str:
    return name.capitalize() if name in ("backbone", "dim", "variant") else name


# ------------------------------------------------------------------------------- differences


def _differences(paired: Sequence[Difference], rows: Sequence[Row]) -> str:
    if not paired:
        return "No row shares a finished seed with its baseline yet."
    lines = [
        f"| dataset | row | seeds | {HELD_OUT} | mAP@all | mAP@all, interval over queries |",
        "|---|---|---|---|---|---|",
    ]
    for each in paired:
        cells = (
            each.row.dataset,
            short_label(each.row, rows),
            ", ".join(map(str, each.seeds)),
            mean_text(each.held_out, sign=True),
            mean_text(each.unseen, sign=True),
            _interval_text(each.queries),
        )
        lines.append(f"| {' | '.join(map(_plain, cells))} |")
    return "\n".join(lines)


def _interval_text(interval: Interval | None) -> str:
    if interval is None:
        return "not the same queries"
    return f"{_number(interval.low, sign=True)} to {_number(interval.high, sign=True)}"


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, also within a table."""
    for mark in "\\|*_`<[":
        text = text.replace(mark, f"\\{mark}")
    return one_line(text)
