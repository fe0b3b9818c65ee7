"""``msedge data verify``: a table and lines for people, JSON for programs, and an exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from msedge.cli.app import app
from msedge.errors import ConfigError, DataError

TOML = """\
id = "one"
dataset = "sketchy"
title = "t"
citation = "c"
unseen = ["cow"]
[expected]
seen_classes = 1
queries = 2
gallery_unique = 2
gallery_lines = 3
"""


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """Arguments for a sound dataset and the protocol that it follows."""
    for number, place in enumerate(("train/{}/cat", "val/{}/cow")):
        for domain in ("sketch", "photo"):
            for index in range(2):
                path = tmp_path / "tiny" / place.format(domain) / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (4 + index, 4), (90 * number, 40, 200)).save(path)
    (tmp_path / "one.toml").write_text(TOML)
    protocol = ["--protocol", str(tmp_path / "one.toml")]
    return ["data", "verify", "tiny", "--data-root", str(tmp_path), *protocol]


def rows(output: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines()]


def test_what_agrees(asked: list[str]) -> None:
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert ["photos, unseen (gallery)", "2", "2", "agrees"] in rows(result.output)
    assert ["photos, seen", "", "2", ""] in rows(result.output)
    assert result.stdout.splitlines()[-1] == "tiny agrees with one."


def test_what_differs(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny/val/photo/cow/0.png").write_bytes(b"no image")
    (tmp_path / "tiny/val/sketch/cow/0.png").unlink()
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    assert ["sketches, unseen (queries)", "2", "1", "differs"] in rows(result.output)
    lines = result.stdout.splitlines()
    assert lines[-3:] == [
        "missing: sketches, unseen (queries): expected 2, found 1: 1 too few",
        "unreadable: val/photo/cow/0.png: its content is not a JPEG, PNG, WebP, GIF, BMP, TIFF or "
        "HEIC image",
        "tiny differs from one: 1 missing, 1 unreadable.",
    ]


def test_the_doubled_gallery_in_words(asked: list[str], tmp_path: Path) -> None:
    shutil.copy(tmp_path / "tiny/val/photo/cow/0.png", tmp_path / "tiny/val/photo/cow/2.png")
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    assert "this is the doubled gallery" in result.stdout
    assert result.stdout.splitlines()[-1] == "tiny differs from one: 2 duplicated."


@pytest.mark.parametrize("broken", [False, True])
def test_json_is_all_there_is_on_standard_output(
    asked: list[str], tmp_path: Path, broken: bool
) -> None:
    if broken:
        (tmp_path / "tiny/val/sketch/cow/0.png").write_bytes(b"no image")
    plain = CliRunner().invoke(app, asked)
    result = CliRunner().invoke(app, [*asked, "--json"])
    assert result.exit_code == plain.exit_code == int(broken)
    document = json.loads(result.stdout)
    assert document["agrees"] is not broken
    assert document["opened"] is True
    for finding in document["findings"]:
        assert f"{finding['kind']}: {finding['where']}: {finding['message']}" in plain.stdout
    assert len(document["findings"]) == int(broken)


def test_without_opening(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny/val/sketch/cow/0.png").write_bytes(b"no image")
    result = CliRunner().invoke(app, [*asked, "--no-open"])
    assert result.exit_code == 0, result.output
    assert "images were not opened" in result.stdout
    document = json.loads(CliRunner().invoke(app, [*asked, "--no-open", "--json"]).stdout)
    assert document["opened"] is False


def test_prepared_datasets_know_their_protocol(asked: list[str], tmp_path: Path) -> None:
    source = str(tmp_path / "tiny")
    prepared = [*asked[:1], "prepare", "sketchy", "--source", source, "--name", "small", *asked[3:]]
    assert CliRunner().invoke(app, prepared).exit_code == 0
    result = CliRunner().invoke(app, [*asked[:2], "small", *asked[3:]])
    assert result.exit_code == 0, result.output
    plainly = [*asked[:2], "small", "--data-root", str(tmp_path)]
    result = CliRunner().invoke(app, plainly)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "one.toml") in result.output.replace("\n", "")
    found = json.loads(CliRunner().invoke(app, [*plainly, "--json"]).stdout)
    assert (found["protocol"], found["protocol_file"]) == ("one", str(tmp_path / "one.toml"))
    (tmp_path / "one.toml").rename(tmp_path / "moved.toml")
    result = CliRunner().invoke(app, plainly)
    assert isinstance(result.exception, ConfigError)
    assert "small was prepared by one, whose file" in str(result.exception)
    moved = ["--protocol", str(tmp_path / "moved.toml")]
    assert CliRunner().invoke(app, [*plainly, *moved]).exit_code == 0


def test_a_protocol_that_is_noted_without_its_file(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny" / "prepared.json").write_text('{"protocol": "one"}')  # as 0.1 wrote it
    result = CliRunner().invoke(app, [*asked[:2], "tiny", "--data-root", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "tiny was prepared by one, which is not" in str(result.exception)


def test_classes_of_one_domain_that_were_taken(asked: list[str], tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "tiny/train/sketch/cat", tmp_path / "tiny/train/sketch/yak")
    assert CliRunner().invoke(app, asked).exit_code == 1
    (tmp_path / "tiny" / "prepared.json").write_text('{"protocol": "one", "lone_classes": "take"}')
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert ["classes, seen", "1", "1", "agrees"] in rows(result.output)
    assert "sketches alone or photos alone: 1, taken" in result.output
    shutil.copytree(tmp_path / "tiny/val/sketch/cow", tmp_path / "tiny/val/sketch/ewe")
    result = CliRunner().invoke(app, asked)
    assert "missing: val/photo/ewe: expected beside" in result.output


# exceptions: the app's main() turns them into one line and exit status 2


def test_no_such_dataset(asked: list[str]) -> None:
    result = CliRunner().invoke(app, [*asked[:2], "gone", *asked[3:]])
    assert isinstance(result.exception, DataError)
    assert "no dataset 'gone'" in str(result.exception)


def test_unknown_protocol(asked: list[str]) -> None:
    result = CliRunner().invoke(app, [*asked[:-1], "sketchy-22"])
    assert isinstance(result.exception, ConfigError)
