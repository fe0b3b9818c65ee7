"""``msedge models``: what is listed, shown, exported and shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

import cards
from msedge.cli.app import app, main
from msedge.models import shipped
from msedge.models.card import Card, read_card
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.network import MSEdge

CARD = cards.CARD.model_copy(update={"fusion": "none", "metrics": {"mAP@all": 47.94}})


def write(path: Path, **changes: object) -> Path:
    card = CARD.model_copy(update=changes)
    torch.manual_seed(0)
    network = MSEdge(card.backbone, dim=card.dim, fusion=card.fusion, image_size=card.image_size)
    save_checkpoint(path, network.eval(), card)
    return path


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, ["models", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A stand-in for the folder of shipped models, with two in it."""
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "weights")
    for name in ("msedge-a", "msedge-b"):
        write(tmp_path / "weights" / f"{name}.safetensors", name=name)
    (tmp_path / "weights" / "msedge-a.onnx").write_bytes(b"12345")
    return tmp_path / "weights"


class TestList:
    @pytest.mark.usefixtures("folder")
    @pytest.mark.parametrize("arguments", [(), ("list",)])
    def test_a_row_each(self, ask, arguments):
        result = ask(*arguments)
        assert result.exit_code == 0, result.output
        rows = [line.split()[:5] for line in result.output.splitlines()]
        assert rows[-2:] == [[f"msedge-{x}", "8", "32", "px", "104"] for x in "ab"]
        assert result.output.count("mAP@all 47.9 (standard)") == 2

    def test_nothing_to_list(self, ask, tmp_path, monkeypatch):
        monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
        assert ask().output == "No model comes with this installation.\n"
        assert json.loads(ask("--json").output) == []

    @pytest.mark.parametrize("arguments", [("--json",), ("list", "--json")])
    def test_json_is_what_show_gives_of_each(self, ask, folder, arguments):
        listed = json.loads(ask(*arguments).output)
        assert [each["name"] for each in listed] == ["msedge-a", "msedge-b"]
        assert listed == [json.loads(ask("show", x["name"], "--json").output) for x in listed]
        first, second = listed
        assert (first["onnx"], second["onnx"]) == (str(folder / "msedge-a.onnx"), None)
        assert first["bytes"] == second["bytes"] + 5
        assert Card.model_validate(first["card"]) == read_card(folder / "msedge-a.safetensors")

    def test_listing_and_showing_need_no_learning_library(self, folder):
        code = (
            "import sys; from pathlib import Path; from msedge.cli.app import app; "
            "from msedge.models import shipped; "
            f"shipped.WEIGHTS = Path({str(folder)!r})\n"
            "for words in (['models'], ['models', '--json'], ['models', 'show', 'msedge-a']):\n"
            "    app(words, standalone_mode=False)\n"
            "print(sorted({'torch', 'timm', 'kornia', 'onnx', 'onnxruntime'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout.count("msedge-a") > 3
        assert done.stdout.splitlines()[-1] == "[]"


class TestShow:
    def test_by_name_and_by_path(self, ask, folder):
        named = ask("show", "msedge-a").output
        assert "trained classes" in named
        given = json.loads(ask("show", folder / "msedge-a.safetensors", "--json").output)
        assert given["name"] == str(folder / "msedge-a.safetensors")
        assert given["card"] == json.loads(ask("show", "msedge-a", "--json").output)["card"]

    @pytest.mark.usefixtures("folder")
    def test_no_such_model(self, type_in):
        answer = type_in(main, "models", "show", "msedge-c")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == (
            "msedge: no model 'msedge-c': expected the path of a checkpoint, or one of: "
            "msedge-a, msedge-b\n"
        )

    def test_json_before_a_command_is_not_ignored(self, ask):
        result = ask("--json", "show", "msedge-a")
        assert result.exit_code == 2
        assert "put --json after `show`" in result.output


class TestExport:
    def test_one_file_that_needs_no_other(self, type_in, tmp_path):
        run = write(tmp_path / "run.safetensors", fusion="energy")
        network, _ = load_checkpoint(run)
        out = tmp_path / "elsewhere" / "net.onnx"
        answer = type_in(main, "models", "export", run, "--out", out)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.startswith(f"{out}: ")
        run.unlink()
        images = torch.rand(2, 3, 32, 32)
        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, network(images).detach().numpy(), atol=1e-5)

    def test_a_wrong_suffix_is_said_in_a_line(self, type_in, tmp_path):
        run = write(tmp_path / "run.safetensors")
        answer = type_in(main, "models", "export", run, "--out", tmp_path / "net")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("msedge: an ONNX file's name ends in .onnx, got ")


class TestShip:
    WORDS = ("--name", "own-lite", "--intended-use", "tests", "--limits", "many")

    def test_both_files_and_how_well_they_agree(self, type_in, tmp_path):
        run, out = write(tmp_path / "run.safetensors"), tmp_path / "out"
        sources = ("--data", "Sketchy | 104 classes|research only", "--data", "own|photos|CC0")
        answer = type_in(main, "models", "ship", run, *self.WORDS, *sources, "--out", out)
        assert (answer.code, answer.err) == (0, "")
        lines = answer.out.splitlines()
        assert [line.split(": ")[0] for line in lines[:2]] == [
            str(out / "own-lite.safetensors"), str(out / "own-lite.onnx"),
        ]  # fmt: skip
        assert lines[2].startswith("largest difference from PyTorch on random images: ")
        assert float(lines[2].split(": ")[1].split()[0]) < 1e-5
        card = read_card(out / "own-lite.safetensors")
        assert (card.name, card.limits) == ("own-lite", "many")
        assert [each.name for each in card.data] == ["Sketchy", "own"]
        assert card.data[0].what == "104 classes"

    @pytest.mark.parametrize("source", ["Sketchy", "a|b", "a|b|c|d", "a||c", "|b|c"])
    def test_a_source_that_lacks_something(self, type_in, tmp_path, source):
        answer = type_in(
            main, "models", "ship", "run", *self.WORDS, "--data", source, "--out", tmp_path
        )
        assert answer.code == 2
        assert answer.err == (
            f'msedge: --data {source!r} is not a source; expected "name|what|licence", all '
            "three filled\n"
        )

    @pytest.mark.parametrize("left_out", ["--name", "--intended-use", "--limits", "--data"])
    def test_nothing_may_be_left_out(self, ask, tmp_path, left_out):
        words = dict(zip(self.WORDS[::2], self.WORDS[1::2], strict=True)) | {"--data": "a|b|c"}
        given = [text for key, value in words.items() if key != left_out for text in (key, value)]
        result = ask("ship", "run", *given, "--out", tmp_path)
        assert result.exit_code == 2
        assert left_out in result.output


def test_import_is_light() -> None:
    code = (
        "import sys, msedge.cli.models; print(sorted({'torch', 'numpy', 'pydantic', 'rich.console',"
        " 'msedge.models.card'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == "[]\n"
