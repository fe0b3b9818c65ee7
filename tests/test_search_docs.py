"""``docs/search.md`` cannot drift: commands and examples run, figures are the code's."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from galleries import make_gallery, photo
from msedge.cli.search import search_command
from msedge.data.drawings import open_drawing
from msedge.search import encoder as onnx_encoder
from msedge.search.names import CONFIDENCE, LEAST_TOLD, MOST_TOLD, TEMPERATURE, WEIGHT
from msedge.search.query import AGAINST
from msedge.search.ranking import NEAR_DUPLICATE
from named_things import NamedEncoder

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/search.md").read_text()
TEXT = " ".join(PAGE.split())
COMMANDS = re.findall(r"^msedge search (.+?)(?:\s+#.*)?$", PAGE, re.MULTILINE)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'
    '<path d="M1 1L8 8" stroke="black"/></svg>'
)


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """Every file that the page names."""
    monkeypatch.chdir(tmp_path)
    encoder = NamedEncoder("cat", "fox", "grand piano")
    monkeypatch.setattr(onnx_encoder.OnnxEncoder, "load", lambda *_, **__: encoder)
    monkeypatch.setattr(typer, "launch", lambda _: 0)
    make_gallery(tmp_path, {f"{name}.png": photo(name) for name in ("red", "green", "blue")})
    for name in ("drawing.png", "front.png", "tree.png"):
        open_drawing([([0, 10], [0, 10]), ([0, 10], [len(name), 0])]).save(name)
    for name, colour in (("holiday.jpg", "yellow"), ("wrong.jpg", "grey")):
        photo(colour).save(name)
    Path("side.svg").write_text(SVG)


def test_there_are_some():
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command):
    if "side.svg" in command:
        pytest.importorskip("resvg_py")
    application = typer.Typer()
    application.command()(search_command)
    command, _, given = command.partition(" | ")[0].partition(" < ")
    content = Path(given).read_bytes() if given else None
    result = CliRunner().invoke(application, shlex.split(command), input=content)
    assert result.exit_code == 0, (command, result.output, result.exception)
    assert result.stdout_bytes


def test_every_option_is_the_commands():
    command = typer.main.get_command(
        typer.Typer(callback=search_command, invoke_without_command=True)
    )
    known = {option for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"`(--?[a-z]+(?:-[a-z]+)*)", PAGE.partition("## Search")[2]))
    assert {"--unlike", "--null", "--orientation", "-k"} <= named
    assert named <= known


def test_the_strokes_are_read():
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert (
        open_drawing(text.encode()).size
        == open_drawing([tuple(stroke) for stroke in json.loads(text)["drawing"]]).size
    )


def test_the_examples_run(capsys):
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(example, "docs/search.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert names["hits"] == []  # nothing lies in the folder that the example names
    assert len(names["more"]) == 3


def test_figures_are_the_codes():
    assert f"cosine of their vectors is {NEAR_DUPLICATE} or more" in TEXT
    assert AGAINST == 0.25
    assert "less a quarter of the mean" in TEXT
    assert f"at temperature {TEMPERATURE}" in TEXT
    assert f"{WEIGHT} times the cube of the greatest likelihood" in TEXT
    assert CONFIDENCE == 3
    assert (MOST_TOLD, f"above {LEAST_TOLD:.1%}".replace("%", " %") in TEXT) == (5, True)


def test_scripts_exist():
    named = set(re.findall(r"benchmarks/\w+\.py", PAGE))
    assert named
    assert all((ROOT / name).is_file() for name in named)
