"""The README keeps its promises: commands, options, links and the example are real."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from msedge.cli.app import app
from msedge.data.vectors import Vectors, save_vectors
from msedge.training.config import TrainConfig

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/benchmark.md",
    "docs/galleries.md",
    "docs/licences.md",
    "docs/mutants.md",
    "docs/referee.md",
    "docs/reliability.md",
    "docs/results.md",
    "docs/scale.md",
    "docs/search.md",
    "docs/serve.md",
    "docs/training.md",
)
# of jq and curl, in docs/serve.md; of torchrun, in docs/training.md
OTHER_PROGRAMS = {
    *("--arg", "--data-binary"),
    *("--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint", "--no-python"),
}
PAPER_NAMES = {"backbone": "backbone_type", "dim": "proj_dim"}


def known_options() -> set[str]:
    folders = [ROOT / "benchmarks", ROOT / "examples", ROOT / "tests" / "fuzzing"]
    scripts = "".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
    names = {"--help", "--config", *re.findall(r'add_argument\(\s*"(--[a-z-]+)"', scripts)}
    for field in TrainConfig.model_fields:
        paper = PAPER_NAMES.get(field, field)
        names |= {f"--{paper}", f"--{field.replace('_', '-')}"}
        if TrainConfig.model_fields[field].annotation is bool:
            names |= {f"--no_{paper}", f"--no-{field.replace('_', '-')}"}
    return names | options_below(typer.main.get_command(app))


def options_below(command) -> set[str]:
    """The options of a command and of all that are grouped under it."""
    own = {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return own.union(*(options_below(each) for each in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("page", PAGES)
def test_every_option_exists(page):
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+", (ROOT / page).read_text()))
    assert options - known_options() - OTHER_PROGRAMS == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (ROOT / page).parent.joinpath(link).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_figure_was_left_open(page):
    assert re.findall(r"@[A-Z_]+@", (ROOT / page).read_text()) == []


def test_commands_exist():
    commands = set(re.findall(r"`msedge ([a-z]+(?: [a-z]+)?)", (ROOT / "README.md").read_text()))
    assert commands >= {"train", "data sample"}
    for command in commands:
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0, command


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (name,) = re.findall(r'"(result/[^"]+)"', example)
    vectors = Vectors(
        embeddings=np.eye(4, dtype=np.float32)[[0, 1, 0, 1]],
        labels=np.array([0, 1, 0, 1]),
        domains=np.array([0, 0, 1, 1]),
        classes=("ant", "bee"),
        paths=("a", "b", "c", "d"),
    )
    save_vectors(tmp_path / name, vectors)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert "'mAP@all': 100.0" in capsys.readouterr().out
