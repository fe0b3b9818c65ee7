"""``docs/benchmark.md`` keeps its promises: plans expand, options and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from msedge.benchmark.cells import expand
from msedge.benchmark.plan import read_plan
from msedge.benchmark.results import NAMES
from msedge.cli.app import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/benchmark.md").read_text()


@pytest.mark.parametrize(
    ("block", "runs"),
    list(zip(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL), (12, 21), strict=True)),
)
def test_plans_are_what_is_said(block, runs, tmp_path):
    folder = tmp_path / "plans"
    folder.mkdir()
    (tmp_path / "sketchy-mini.yaml").write_text((ROOT / "configs/sketchy-mini.yaml").read_text())
    (folder / "plan.yaml").write_text(block)
    assert len(expand(read_plan(folder / "plan.yaml"), tmp_path)) == runs


def test_commands_options_and_files():
    commands = re.findall(r"^msedge benchmark (\S+)", PAGE, re.MULTILINE)
    assert len(commands) == 2
    assert all((ROOT / path).is_file() for path in commands)
    command = typer.main.get_command(app).commands["benchmark"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert named == {option for option in known if option.startswith("--")} - {"--help"}
    assert all(f"| `{name}` |" in PAGE for name in NAMES)


def test_states_and_factors():
    from msedge.benchmark.intervals import student_quantile
    from msedge.benchmark.outcomes import State

    (listed,) = re.findall(r"their state \((.*?)\)", PAGE)
    assert set(listed.split(", ")) == set(State.__args__)  # type: ignore[attr-defined]
    assert f"({student_quantile(2):.2f} standard errors" in PAGE
    assert f"with two it is {student_quantile(1):.1f}" in PAGE
