"""A small disk, and commands typed in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from msedge.cli.app import main
from small_disk import SmallDisk, mounted


class Answer(NamedTuple):
    """What a command came to."""

    code: int | str | None
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What the command says of itself on standard error, which is nothing but its errors."""
        return [line for line in self.err.splitlines() if line.startswith("msedge: ")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 40 MB."""
    with mounted(tmp_path / "disk", 40) as disk:
        yield disk


@pytest.fixture
def type_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run ``msedge`` with arguments."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["msedge", *map(os.fspath, map(str, arguments))])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        return Answer(left.value.code, *capsys.readouterr())

    return run
