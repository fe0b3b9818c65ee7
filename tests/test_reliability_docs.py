"""The table of ``docs/reliability.md``: rows are complete, and their commands can be given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fuzzing.targets import TARGETS
from hostile_images import corpus

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text()
HEAD = "| fault or input | tried | promise | outcome | command |"
KEYWORDS = {"and", "or", "not"}


def rows() -> list[list[str]]:
    lines = PAGE[PAGE.index(HEAD) :].splitlines()[2:]
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def row_of(beginning: str) -> list[str]:
    found = [row for row in rows() if row[0].startswith(beginning)]
    assert len(found) == 1
    return found[0]


ROWS = rows()
NAMES = [row[0][:50] for row in ROWS]


def test_there_is_one_table() -> None:
    assert PAGE.count(HEAD) == 1
    assert len(ROWS) > 60
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
class TestRows:
    def test_it_is_complete(self, row: list[str]) -> None:
        assert len(row) == 5
        assert all(row)

    def test_it_says_how_many_were_tried(self, row: list[str]) -> None:
        assert re.search(r"\d", row[1]) or row[1].startswith(("every", "all"))

    def test_its_command_can_be_given(self, row: list[str]) -> None:
        commands = re.findall(r"`([^`]+)`", row[4])
        assert commands[0].startswith(("pytest ", "python ", "make "))
        for command in commands:
            for path in re.findall(r"(?:tests|benchmarks)/[\w/.]+", command):
                assert (ROOT / path).exists(), path
            if command.startswith("make "):
                assert re.search(rf"^{command[5:]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)

    def test_its_command_chooses_tests_that_there_are(self, row: list[str]) -> None:
        for command in re.findall(r"`(pytest [^`]+)`", row[4]):
            chosen = re.search(r'-k (?:"([^"]+)"|(\w+))', command)
            if chosen is None:
                continue
            files = [ROOT / path for path in re.findall(r"tests/[\w/.]+", command)]
            files += [ROOT / "tests" / "killed_writers.py"]  # names of commands, not of tests
            text = "".join(path.read_text() for path in files).lower()
            for word in set(re.findall(r"\w+", chosen[1] or chosen[2])) - KEYWORDS:
                assert word.lower() in text, word


class TestCounts:
    def test_of_hostile_images(self) -> None:
        small = int(row_of("small hostile images")[1].split()[0])
        large = int(row_of("images that unpack to 64 Mpx")[1].split()[0])
        assert small + large == len(corpus())

    def test_of_parsers(self) -> None:
        assert row_of("All ")[0].startswith(f"All {len(TARGETS)} parsers")
