"""``msedge lint``: rows of a published table that cannot be what they say.

Tested in ``tests/cli/test_lint.py``.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msedge.quoting import quoted

if TYPE_CHECKING:
    from msedge.evaluation.tables.findings import Finding

MAX_BYTES, MAX_ROWS = 10_000_000, 10_000
"""Of a table, as people publish them."""

_LONGEST_PATH = 16_384


def lint_command(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE.csv",
            help="Published results, one row a method; columns such as S21_mAP200 and S21_P200, "
            "and if known convention, protocol and gallery (photos ranked).",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Flag rows of a results table that cannot be what they say.

    Exit status 1 if a row is impossible or mixed, 0 if none is more than suspect, 2 for a table
    that cannot be read.
    """
    from msedge.evaluation.tables.lint import lint
    from msedge.evaluation.tables.results_table import read_entries

    header, rows = read_table(table)
    findings = lint(read_entries(header, rows))
    if as_json:
        typer.echo(json.dumps(_document(table, len(rows), findings), indent=2))
    else:
        _show(table, len(rows), findings)
    if any(finding.severity != "suspect" for finding in findings):
        raise typer.Exit(1)


def read_table(table: Path) -> tuple[list[str], list[list[str]]]:
    """The header of a CSV file and the rows below it; empty lines are passed over.

    Raises:
        DataError: the file is missing or is no CSV of a header and at least one row.
    """
    from msedge.errors import DataError

    name = quoted(str(table), _LONGEST_PATH)
    try:
        with table.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise csv.Error(f"more than {MAX_BYTES // 1_000_000} MB")
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        lines = [row for row in csv.reader(text, strict=True) if any(map(str.strip, row))]
    except OSError as error:
        raise DataError(f"cannot read {name} ({error.strerror}); name a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise DataError(f"cannot read {name} ({reason}); save it as CSV anew") from None
    if len(lines) > MAX_ROWS:
        raise DataError(f"{name} has more than {MAX_ROWS:,} rows; name a table of results")
    if len(lines) < 2:
        found = "only a header" if lines else "nothing"
        raise DataError(f"{name} holds {found}; expected a header and a row a method")
    if len(lines[0]) == 1 and (found := next((mark for mark in ";\t" if mark in lines[0][0]), "")):
        parted = {";": "semicolons", "\t": "tabs"}[found]
        raise DataError(f"{name} is parted by {parted}; save it as CSV, parted by commas")
    return lines[0], lines[1:]


def _counts(findings: list[Finding]) -> dict[str, int]:
    from msedge.evaluation.tables.findings import SEVERITIES

    found = Counter(finding.severity for finding in findings)
    return {severity: found[severity] for severity in SEVERITIES}


def _document(table: Path, rows: int, findings: list[Finding]) -> dict[str, object]:
    return {
        "table": str(table),
        "rows": rows,
        "counts": _counts(findings),
        "findings": [asdict(finding) for finding in findings],
    }


def _show(table: Path, rows: int, findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if findings:
        shown = Table(title=Text(table.name), title_justify="left")
        shown.add_column("row", justify="right")
        for title in ("method", "severity", "rule", "what"):
            shown.add_column(title, overflow="fold")
        for finding in findings:
            told = (finding.method, finding.severity, finding.rule, finding.message)
            shown.add_row(str(finding.row), *map(Text, told))
        console.print(shown)
    counted = ", ".join(f"{count} {severity}" for severity, count in _counts(findings).items())
    console.print(f"{rows} {'row' if rows == 1 else 'rows'}: {counted}.", markup=False)
