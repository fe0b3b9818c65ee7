"""``msedge lint`` on real files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from msedge.cli.app import app, main
from msedge.errors import DataError

SOUND = "method,S21_mAP200,S21_P200\nSAKE,0.497,0.598\n"
MIXED = SOUND + "Lenient,0.719,0.681\n"
IMPOSSIBLE = "method,convention,S21_mAP200,S21_P200\n[bold]A,sake,71.9,68.1\n"
SUSPECT = "method,S21_P100,S21_P200\nA,0.50,0.60\n"


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def lint(path: Path, *options: str) -> Any:
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, ["lint", str(path), *options])


class TestOutcome:
    @pytest.mark.parametrize(
        ("text", "code", "counts"),
        [
            (SOUND, 0, "1 row: 0 impossible, 0 mixed, 0 suspect."),
            (SUSPECT, 0, "1 row: 0 impossible, 0 mixed, 1 suspect."),
            (MIXED, 1, "2 rows: 0 impossible, 1 mixed, 0 suspect."),
            (IMPOSSIBLE, 1, "1 row: 1 impossible, 0 mixed, 0 suspect."),
        ],
    )
    def test_status_and_closing_line(self, table, text, code, counts):
        result = lint(table(text))
        assert (result.exit_code, result.output.splitlines()[-1]) == (code, counts)

    def test_a_row_of_the_table(self, table):
        (row,) = [line for line in lint(table(MIXED)).output.splitlines() if "Lenient" in line]
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert cells[:4] == ["2", "Lenient", "mixed", "ap-above-precision"]
        assert cells[4].startswith("S21 mAP@200 0.719, S21 P@200 0.681: ")

    def test_names_are_not_markup(self, table):
        assert "[bold]A" in lint(table(IMPOSSIBLE)).output

    @pytest.mark.parametrize(("text", "code"), [(SOUND, 0), (SUSPECT, 0), (MIXED, 1)])
    def test_json_is_all_there_is(self, table, text, code):
        path = table(text)
        result = lint(path, "--json")
        document = json.loads(result.stdout)
        assert result.exit_code == code
        assert document.keys() == {"table", "rows", "counts", "findings"}
        assert document["table"] == str(path)
        assert document["rows"] == len(text.splitlines()) - 1
        assert sum(document["counts"].values()) == len(document["findings"])

    def test_json_finding(self, table):
        (finding,) = json.loads(lint(table(IMPOSSIBLE), "--json").stdout)["findings"]
        message = "S21 mAP@200 71.9, S21 P@200 68.1: "
        message += "mAP above P with the whole gallery cannot be under sake"
        assert finding == {
            "row": 1,
            "method": "[bold]A",
            "rule": "ap-above-precision",
            "severity": "impossible",
            "message": message,
        }

    def test_marks_blank_lines_and_quotes_of_spreadsheets(self, table):
        text = '\ufeffmethod,S21_mAP200,S21_P200\r\n\r\n"Lenient, again",71.9,68.1\r\n,,\r\n'
        result = lint(table(text), "--json")
        assert json.loads(result.stdout)["findings"][0]["method"] == "Lenient, again"


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "holds nothing"),
            ("method,S21_P200\n", "holds only a header"),
            ("method,venue\nA,B\n", "no metric column"),
            ("method,S21_P200\nA\n", "row 1 has 1 cells, expected 2"),
            ("method,S21_P200\nA,0.5,0.6\n", "row 1 has 3 cells, expected 2"),
            ('method,S21_P200\n"A,0.5\n', "cannot read"),
            (b"method,S21_P200\n\xff,0.5\n", "is not UTF-8"),
            ("method;S21_P200\nA;0,5\n", "is parted by semicolons"),
            ("method\tS21_P200\nA\t0.5\n", "is parted by tabs"),
        ],
    )
    def test_one_line_and_status_2(self, type_in, table, text, message):
        answer = type_in(main, "lint", table(text))
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err
        assert len(answer.err.splitlines()) == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a" * 131_073 + "\nb\n", "field larger than field limit"),
            ("a" * 90_000 + "\nb\n", "no metric column"),
            ("mAP " * 20_000 + "\nb\n", "no metric column"),
            ("mAP@" + "0" * 90_000 + "\nb\n", "no metric column"),
            ("x" + "," * 50_000 + "\n" + "a," * 50_000 + "\n", "'' and 49989 more"),
            ("S21_P200\n" + "1\n" * 10_000, "has more than 10,000 rows"),
            ("S21_P200,gallery\n1," + "9" * 9_000 + "\n", "row 1: gallery is '9999"),
            ("S21_P200,convention\n1," + "a" * 9_000 + "\n", "unknown convention 'aaa"),
            ("S21_P200,protocol\n1," + "a" * 9_000 + "\n", "unknown protocol 'aaa"),
            ("a\x1b[31m_P200,b\n1,2\n", "unknown split, expected one of"),
            (b"a," + b"b" * 10_000_000, "more than 10 MB"),
        ],
        ids=lambda value: value[:20],
    )
    def test_what_is_repeated_is_short_and_on_one_line(self, table, text, message):
        result = lint(table(text))
        assert isinstance(result.exception, DataError)
        assert message in str(result.exception)
        assert str(result.exception).isprintable()
        assert len(str(result.exception)) < 2_000

    @pytest.mark.parametrize("name", ["gone.csv", "."])
    def test_no_file(self, tmp_path, name):
        result = lint(tmp_path / name)
        assert isinstance(result.exception, DataError)
        assert "name a CSV file" in str(result.exception)


def test_nothing_heavy_is_imported(table):
    code = (
        "import sys\nfrom msedge.cli.app import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'torch', 'timm', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "lint", str(table(SOUND))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
