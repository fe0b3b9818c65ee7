"""What is wrong with a row of published results: one :class:`Finding`, and how sure it is.

The rules are in :mod:`~msedge.evaluation.tables.row_rules` and
:mod:`~msedge.evaluation.tables.table_rules`; :mod:`~msedge.evaluation.tables.lint` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msedge.evaluation.tables.results_table import Entry, Metric

Severity = Literal["impossible", "mixed", "suspect"]
SEVERITIES: tuple[Severity, ...] = ("impossible", "mixed", "suspect")
"""The gravest first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a row.

    Attributes:
        row: Its number; 1 is the first below the header.
        method: Its name.
        rule: Which rule it breaks.
        severity: How surely: ``impossible`` as declared, ``mixed`` with what it stands beside, or
            ``suspect``.
        message: One line with the figures as they are printed.
    """

    row: int
    method: str
    rule: str
    severity: Severity
    message: str


def find(entry: Entry, rule: str, severity: Severity, message: str) -> Finding:
    """A finding on a row."""
    return Finding(entry.row, entry.method, rule, severity, message)


def quote(entry: Entry, *metrics: Metric) -> str:
    """Figures of a row as they are printed, in one line."""
    return ", ".join(f"{metric} {entry.figures[metric].text}" for metric in metrics)
