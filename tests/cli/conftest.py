"""Commands run in this process, as a person would type them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int | str | None
    out: str
    err: str


@pytest.fixture
def type_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run an entry point with arguments."""

    def run(main: Callable[[], None], *arguments: object) -> Answer:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("MSEDGE_DEBUG", "")  # and is put back, whatever --debug does to it
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        return Answer(left.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def tiny_options(tiny_root: Path, tmp_path: Path) -> dict[str, object]:
    """Settings of a run on ``tiny`` that takes a second, by field."""
    return {
        "data_root": tiny_root,
        "data_name": "tiny",
        "backbone": "test_efficientnet",
        "weights": "none",
        "dim": 16,
        "image_size": 32,
        "batch_size": 8,
        "epochs": 1,
        "warmup": 0,
        "accelerator": "cpu",
        "select": "last",
        "save_root": tmp_path / "result",
    }


@pytest.fixture
def paper_options(tiny_options: dict[str, object]) -> Callable[..., list[str]]:
    """The same as arguments of ``main.py``, with changes; None leaves a setting out."""
    names = {"backbone": "backbone_type", "dim": "proj_dim"}

    def spell(**changes: object) -> list[str]:
        settings = tiny_options | changes
        given = {name: value for name, value in settings.items() if value is not None}
        return [text for n, v in given.items() for text in (f"--{names.get(n, n)}", str(v))]

    return spell
