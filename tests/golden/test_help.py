"""The help of every command: what a person can type, and what each word of it does.

Real processes, 100 columns wide. The panel of ``msedge index`` about clusters is left out but for
the names of its options: what the engines can do is still growing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main

from msedge.cli.app import app

MAIN = Path(__file__).parents[2] / "main.py"
CLUSTER_PANEL = re.compile(r"╭─ On a cluster .*?╯\n", re.DOTALL)
CLUSTER_OPTIONS = ["--engine", "--address", "--workers", "--gpus-per-worker"]


def commands(group: click.Command, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """A command and all below it."""
    below = getattr(group, "commands", {})
    return [above] + [
        each for name, command in below.items() for each in commands(command, (*above, name))
    ]


COMMANDS = commands(typer.main.get_command(app))


def help_of(*command: str | Path) -> str:
    """What a process prints when asked for help."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH")
    }
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        env=plain | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "msedge")
def test_help_of_a_command(golden, command):
    found = help_of("-m", "msedge", *command)
    if command == ("index",):
        (panel,) = CLUSTER_PANEL.findall(found)
        assert re.findall(r"^│ (--[a-z-]+)", panel, re.MULTILINE) == CLUSTER_OPTIONS
        found = CLUSTER_PANEL.sub("", found)
    golden.text(f"help/{'-'.join(('msedge', *command))}.txt", found)


def test_help_of_the_paper_s_command_line(golden):
    golden.text("help/main.txt", help_of(MAIN))


def test_no_command_has_gone():
    kept = {path.stem for path in (Path(__file__).parent / "files" / "help").glob("*.txt")}
    assert kept == {"-".join(("msedge", *command)) for command in COMMANDS} | {"main"}
