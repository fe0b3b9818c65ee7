"""``msedge protocols``: what is listed, shown and compared, as text and as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from msedge.cli.app import app, main
from msedge.data.protocols import Overlap, list_protocols, load_protocol, overlap
from msedge.errors import ConfigError

OWN = (
    'id = "mine"\ndataset = "sketchy"\ntitle = "[bold]t\\u001b[31m"\ncitation = "c"\n'
    'unseen = ["Teapot", "dragon"]\n'
)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run ``msedge protocols`` in a terminal of 80 columns, the narrowest that is usual."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, ["protocols", *map(str, arguments)])


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    return path


def squeezed(text: str) -> str:
    """Text without its line breaks, which depend on the width of the terminal."""
    return " ".join(text.split())


class TestList:
    @pytest.mark.parametrize("arguments", [(), ("list",)])
    def test_a_row_each_in_80_columns(self, ask, arguments):
        result = ask(*arguments)
        assert result.exit_code == 0, result.output
        rows = [line.split() for line in result.output.splitlines()]
        assert max(map(len, result.output.splitlines())) <= 80
        for row in (
            "sketchy-21 sketchy 21 104 12,694 10,453 / 12,553 77a6fc1fe907",
            "tuberlin-30-sake tuberlin 30 220 2,400 - / 27,989 32335300f777",
            "sketchy-25-sempcyc sketchy 25 100 - - / - "
            + load_protocol("sketchy-25-sempcyc").hash[:12],
        ):
            assert row.split() in rows
        assert {row[0] for row in rows[-len(list_protocols()) :]} == set(list_protocols())

    def test_nothing_is_cut_in_a_narrow_terminal(self, ask, monkeypatch):
        monkeypatch.setenv("COLUMNS", "50")
        lines = ask("list").output.splitlines()
        assert max(map(len, lines)) <= 50
        text = squeezed(" ".join(lines))
        assert (
            "sketchy-21 sketchy, classes: 21 unseen, 104 seen; queries: 12,694; gallery: 10,453 "
            "unique photos, 12,553 lines; hash: 77a6fc1fe907"
        ) in text
        assert set(list_protocols()) <= set(lines)

    @pytest.mark.parametrize("arguments", [("--json",), ("list", "--json")])
    def test_json_is_what_show_gives_of_each(self, ask, arguments):
        listed = json.loads(ask(*arguments).stdout)
        assert [entry["id"] for entry in listed] == list(list_protocols())
        for entry in listed:
            assert entry == json.loads(ask("show", entry["id"], "--json").stdout)


class TestShow:
    def test_everything(self, ask):
        result = ask("show", "sketchy-21")
        assert result.exit_code == 0, result.output
        protocol, text = load_protocol("sketchy-21"), squeezed(result.output)
        for part in (
            "queries 12,694",
            "gallery, unique photos 10,453",
            "gallery, lines of lists 12,553",
            "photos, smallest class 161",
            "photos, largest class -",
            "photos, skyscraper 161",
            "unseen (21) " + ", ".join(protocol.unseen),
            "seen (104) " + ", ".join(protocol.seen),
            protocol.title,
            protocol.citation,
            *protocol.known_defects,
        ):
            assert part in text
        assert f"hash  {protocol.hash}" in result.output.splitlines()  # whole, to be copied

    def test_json(self, ask):
        shown, protocol = (
            json.loads(ask("show", "sketchy-21", "--json").stdout),
            load_protocol("sketchy-21"),
        )
        assert shown["hash"] == protocol.hash
        assert shown["class_photos"] == {"skyscraper": 161}
        assert shown["expected"]["gallery_unique"] == 10_453
        assert shown["expected"]["most_photos"] is None
        assert tuple(shown["unseen"]) == protocol.unseen
        assert set(shown) == {"hash", *(field.name for field in fields(protocol))}

    def test_own_file_is_printed_as_it_is_written(self, ask, own_file):
        text = ask("show", own_file).output
        assert "\x1b" not in text
        assert r"[bold]t\x1b[31m" in text
        assert "unseen (2) Teapot, dragon" in squeezed(text)
        assert "seen (-) not listed" in squeezed(text)
        assert json.loads(ask("show", own_file, "--json").stdout)["title"] == "[bold]t\x1b[31m"


class TestOverlap:
    def test_namesakes(self, ask):
        text = squeezed(ask("overlap", "sketchy-25-sake", "sketchy-25-sempcyc").output)
        assert "unseen in both (4) bell, squirrel, tank, wheelchair" in text
        assert text.count("(21)") == 4
        assert (
            "do not judge a checkpoint of sketchy-25-sempcyc under sketchy-25-sake: it was trained "
            "on 21 of the 25 classes" in text
        )
        assert "the datasets differ" not in text

    def test_with_itself_there_is_no_leak(self, ask):
        text = squeezed(ask("overlap", "sketchy-21", "sketchy-21").output)
        assert "unseen in sketchy-21 only (0) none" in text
        assert "tested by sketchy-21, trained on by sketchy-21 (0) none" in text
        assert "do not judge" not in text

    def test_other_datasets_are_said_to_be_others(self, ask):
        text = squeezed(ask("overlap", "sketchy-25-sake", "quickdraw-30").output)
        assert "unseen in both (3) scissors, tree, windmill" in text
        assert "the datasets differ (sketchy, quickdraw)" in text
        assert "of quickdraw-30 under sketchy-25-sake: it was trained on 14 of the 25" in text

    def test_own_file_without_seen_classes(self, ask, own_file):
        text = squeezed(ask("overlap", own_file, "sketchy-21").output)
        assert "tested by mine, trained on by sketchy-21 (1) Teapot" in text
        assert "not known: mine does not list its seen classes" in text
        shown = json.loads(ask("overlap", own_file, "sketchy-21", "--json").stdout)
        assert shown["tested_by_first_trained_by_second"] == ["Teapot"]
        assert shown["tested_by_second_trained_by_first"] is None

    def test_json(self, ask):
        names = ("tuberlin-30-sake", "quickdraw-30")
        first, second = map(load_protocol, names)
        shown = json.loads(ask("overlap", *names, "--json").stdout)
        assert shown["first"] == {"id": first.id, "dataset": "tuberlin", "hash": first.hash}
        assert shown["second"] == {"id": second.id, "dataset": "quickdraw", "hash": second.hash}
        assert shown["same_dataset"] is False
        found = overlap(first, second)
        for field in fields(Overlap):
            assert tuple(shown[field.name]) == getattr(found, field.name)


class TestErrors:
    @pytest.mark.parametrize(
        "arguments", [("show", "sketchy-22"), ("overlap", "sketchy-21", "sketchy-22", "--json")]
    )
    def test_unknown_protocol(self, ask, type_in, arguments):
        assert isinstance(ask(*arguments).exception, ConfigError)
        answer = type_in(main, "protocols", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(
            r"msedge: unknown protocol 'sketchy-22': expected .*sketchy-21.*\n", answer.err
        )

    def test_json_before_a_command_is_not_ignored(self, ask):
        result = ask("--json", "show", "sketchy-21")
        assert result.exit_code == 2
        assert "put --json after `show`" in result.output

    @pytest.mark.parametrize("arguments", [("show",), ("overlap", "sketchy-21"), ("compare",)])
    def test_arguments_that_must_be_given(self, ask, arguments):
        assert ask(*arguments).exit_code == 2


def test_import_is_light() -> None:
    code = (
        "import sys, msedge.cli.protocols; "
        "print(sorted({'torch', 'PIL', 'numpy', 'rich.console', 'msedge.data.protocols'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
