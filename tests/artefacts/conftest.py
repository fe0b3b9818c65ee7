"""Whole artefacts, to be damaged: small, made once, and given as bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostile_artefacts import TRIED, Mark


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases there were, for docs/reliability.md."""
    if not TRIED:
        return
    terminalreporter.section("hostile artefacts")
    for what in sorted({what for what, _ in TRIED}):
        kinds = {kind: count for (each, kind), count in TRIED.items() if each == what}
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        terminalreporter.write_line(f"{what}: {sum(kinds.values())} ({told})")
    terminalreporter.write_line(f"all: {TRIED.total()}")


@pytest.fixture
def mark(tmp_path: Path) -> Mark:
    """A file that stands there when a payload was run; the test then fails."""
    return Mark(tmp_path)


@pytest.fixture
def hostile_file(tmp_path: Path) -> Path:
    """Where a case is put: in a folder of its own, so that nothing lies beside it."""
    folder = tmp_path / "from a stranger"
    folder.mkdir()
    return folder / "file"
