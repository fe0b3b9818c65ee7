"""Models as tables: what a line and a whole card show, whatever a card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import cards
from msedge.cli.model_card import show_card, show_models
from msedge.models.card import FORMAT, Card, DataSource
from msedge.models.shipped import ModelFiles

CARD = cards.CARD.model_copy(
    update={
        "name": "msedge-lite",
        "backbone": "tf_efficientnet_lite0",
        "dim": 512,
        "image_size": 224,
        "mean": (0.5, 0.5, 0.498039),
        "std": (0.5, 0.5, 0.5),
        "protocol": None,
        "loss": "normsoftmax",
        "selection": "last epoch",
        "data_fingerprint": "f" * 64,
        "data": (
            DataSource(name="Sketchy", what="104 classes", licence="research only"),
            DataSource(name="QuickDraw", what="drawings", licence="CC BY 4.0"),
        ),
        "limits": "[bold]t\x1b[31m",
    }
)


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def make(**changes: object) -> ModelFiles:
        card, path = CARD.model_copy(update=changes), tmp_path / "msedge-lite.safetensors"
        tensors = {"a": torch.zeros(1000, 600).half(), "steps": torch.zeros(1, dtype=torch.int64)}
        save_file(tensors, path, {"format": FORMAT, "card": card.model_dump_json()})
        return ModelFiles("msedge-lite", Path(path), card)

    return make


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_a_row_each_in_80_columns(model, capsys):
    show_models([model(), model()])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (row, _) = [line for line in lines if line.startswith("msedge-lite")]
    assert squeezed(row) == "msedge-lite 512 224 px 104 1.2 MB mAP@all 47.9 (standard)"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"metrics": {}}, "1.2 MB -"),
        ({"metrics": {"P@10": 50.0, "P@25": 1.0}}, "P@10 50.0 (standard)"),
        ({"selected_on_test_classes": True}, "(standard, inflated)"),
    ],
)
def test_measures_of_a_row(model, capsys, changes, shown):
    show_models([model(**changes)])
    assert shown in squeezed(capsys.readouterr().out)


def test_the_whole_card(model, capsys):
    described = model()
    described.checkpoint.with_suffix(".onnx").write_bytes(b"0" * 100_000)
    show_card(described)
    out = capsys.readouterr().out
    text = squeezed(out)
    assert max(map(len, out.splitlines())) <= 80
    labels = re.findall(r"^(\S+(?: \S+)*)(?:  |$)", out, re.MULTILINE)
    assert {field.replace("_", " ") for field in Card.model_fields} <= set(labels)
    for shown in (
        "size 1.3 MB: 600,001 values as F16",
        "mean 0.5, 0.5, 0.498",
        "protocol -",
        "selected on test classes no",
        "metrics mAP@200 41.3, mAP@all 47.9",
        "data Sketchy: 104 classes (research only)",
        "data QuickDraw: drawings (CC BY 4.0)",
        "intended use -",
        "seed 7",
    ):
        assert shown in text


def test_nothing_in_a_card_reaches_the_terminal_as_a_command(model, capsys):
    show_card(model())
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"[bold]t\x1b[31m" in out
