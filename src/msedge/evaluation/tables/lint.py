"""Rows of published results that cannot be what they say, and rows that do not belong together.

Here every rule is run over a table that was read by :mod:`msedge.evaluation.tables.results_table`.
Tested, on simulated rankings too, in ``tests/evaluation/tables/test_lint.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from msedge.evaluation.tables.findings import SEVERITIES, Finding
from msedge.evaluation.tables.results_table import Entry
from msedge.evaluation.tables.row_rules import ROW_RULES
from msedge.evaluation.tables.table_rules import TABLE_RULES


def lint(entries: Sequence[Entry]) -> list[Finding]:
    """Find what the rows of one table cannot say, alone or beside each other.

    Args:
        entries: The table's rows, from
            :func:`~msedge.evaluation.tables.results_table.read_entries`.

    Returns:
        The findings by row, the gravest of a row first.

    >>> from msedge.evaluation.tables.results_table import read_entries
    >>> rows = read_entries(["convention", "S21 mAP@200", "S21 P@200"], [["sake", "46.1", "37.0"]])
    >>> [(finding.rule, finding.severity) for finding in lint(rows)]
    [('ap-above-precision', 'impossible')]
    """
    findings = [finding for rule in ROW_RULES for entry in entries for finding in rule(entry)]
    findings += [finding for rule in TABLE_RULES for finding in rule(entries)]
    return sorted(findings, key=lambda found: (found.row, SEVERITIES.index(found.severity)))
