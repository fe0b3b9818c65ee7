"""``docs/galleries.md`` cannot drift: its commands run, its options and figures are the code's."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from made_photos import make, names, photo, photos
from msedge.cli.app import app
from msedge.cli.extras import EXTRAS
from msedge.cli.search import search_command
from msedge.search.approximate.index import Kind
from msedge.search.stores.lance.store import KEPT
from msedge.search.stores.sqlite.checks import THUMBNAILS
from msedge.search.stores.sqlite.vectors import SUFFIX
from msedge.search.stores.store import APPROXIMATE_FROM

PAGE = (Path(__file__).parent.parent / "docs/galleries.md").read_text()
TEXT = " ".join(PAGE.split())
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^msedge (gallery .+?)(?:\s+#.*)?$", "\n".join(BLOCKS), re.MULTILINE)
COPY_TO_DATASET = "gallery copy photos.msedge photos.lance"
RESTORE = "gallery restore backup.msedge photos.msedge"
UNSOUND = "check photos.msedge --photos"  # which finds that the tests' photos are no files


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch, request):
    """Every gallery that the page names; those that it makes are not there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    moved = [photo(60, tmp_path / "old/a.jpg"), photo(61, tmp_path / "lost/a.jpg")]
    make(tmp_path / "photos.msedge", [*photos(60), *moved])
    if request.node.name == f"test_each_command_runs[{RESTORE}]":
        make(tmp_path / "backup.msedge", photos(3))


def options_of(command):
    application = typer.main.get_command(app)
    commands = {**application.commands, **application.commands["gallery"].commands}
    return {o for p in commands[command].params for o in p.opts}


def test_there_are_some():
    assert len(COMMANDS) >= 14
    assert {command.split()[1] for command in COMMANDS} == {
        "stats", "copy", "restore", "check", "compact", "approximate", "reroot", "forget",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command, tmp_path):
    if "photos.lance" in command and command != COPY_TO_DATASET:
        make(tmp_path / "photos.lance", photos(60))
    result = CliRunner().invoke(app, shlex.split(command.replace("~", str(tmp_path))))
    wanted = 1 if UNSOUND in command else 0
    assert result.exit_code == wanted, (command, result.output, result.exception)
    assert result.output


def test_every_option_is_a_commands():
    named = set(re.findall(r"`(--[a-z]+(?:-[a-z]+)*)", PAGE)) | set(
        re.findall(r"\s(--[a-z]+(?:-[a-z]+)*)", "\n".join(BLOCKS))
    )
    commands = ("copy", "check", "stats", "approximate", "reroot", "index")
    known = {option for name in commands for option in options_of(name)}
    assert {"--repair", "--photos", "--recall", "--kind", "--force", "--json"} <= named
    assert named <= known


def test_the_other_commands_options_are_theirs():
    assert "`msedge search --exact`" in PAGE
    command = typer.main.get_command(
        typer.Typer(callback=search_command, invoke_without_command=True)
    )
    assert "--exact" in {option for parameter in command.params for option in parameter.opts}


def test_figures_are_the_codes():
    assert APPROXIMATE_FROM == 1_000_000
    assert "from a million photos" in TEXT
    assert timedelta(hours=1) == KEPT
    assert "stay for an hour" in TEXT
    kinds = re.search(r"`--kind` is (.+?);", TEXT)
    assert re.findall(r"`([a-z-]+)`", kinds[1]) == list(Kind.__args__)
    for ending in (SUFFIX, THUMBNAILS, "-salvaged"):
        assert f"`photos.msedge{ending}" in PAGE
    assert "1 when something is left to do, 2 when there is no such gallery" in TEXT


def test_extras_are_the_packages():
    extras = {extra for value in EXTRAS.values() for extra in value.split(",")}
    named = set(re.findall(r"msedge\[([a-z]+)\]", PAGE))
    assert named == {"lance", "ann", "ray"}
    assert named <= extras


def test_what_is_salvaged_lies_where_the_page_says(tmp_path):
    gallery = tmp_path / "photos.msedge"
    with gallery.open("r+b") as file:
        file.write(bytes(8192))
    CliRunner().invoke(app, ["gallery", "check", str(gallery), "--repair"])
    assert names(tmp_path) - {"new"} == {"photos.msedge", "photos.msedge-salvaged"}
