"""The card: what old and new ones say, and that reading one is light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from msedge.errors import WeightsError
from msedge.models.card import FORMAT, Card, DataSource, card_of, read_card

SINCE_THE_FIRST = {
    "name", "frame_sketches", "gallery_edges", "prompts", "adapt", "steps", "judged_on",
    "data", "intended_use", "limits", "precision",
}  # fmt: skip


class TestSmoke:
    def test_a_card_of_the_first_version_is_read(self, card):
        old = {k: v for k, v in card.model_dump(mode="json").items() if k not in SINCE_THE_FIRST}
        read = card_of({"format": FORMAT, "card": json.dumps(old)}, Path("old.safetensors"))
        assert read == card
        assert (read.name, read.data, read.steps) == ("", (), None)

    def test_everything_comes_back_through_json(self, card, sources):
        full = card.model_copy(update={"name": "n", "data": sources, "steps": 7, "limits": "ünder"})
        assert Card.model_validate_json(full.model_dump_json()) == full

    def test_reading_needs_no_learning_library(self, tmp_path, write_run):
        path = write_run(tmp_path / "run.safetensors")
        code = (
            "import sys; from pathlib import Path; from msedge.models.card import read_card; "
            f"print(read_card(Path({str(path)!r})).dim, "
            "sorted({'torch', 'timm', 'kornia'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout == "8 []\n"


class TestExceptions:
    @pytest.mark.parametrize("field", ["name", "what", "licence"])
    def test_a_source_says_all_three(self, field):
        said = {"name": "n", "what": "w", "licence": "l"} | {field: ""}
        with pytest.raises(ValidationError, match=field):
            DataSource(**said)

    def test_a_damaged_source_is_named(self, card):
        damaged = card.model_dump(mode="json") | {"data": [{"name": "n", "what": "w"}]}
        with pytest.raises(WeightsError, match=r"mine\.onnx is damaged: data\.0\.licence: Field"):
            card_of({"format": FORMAT, "card": json.dumps(damaged)}, Path("mine.onnx"))

    def test_a_field_that_this_version_does_not_know(self, card):
        later = card.model_dump(mode="json") | {"colour": "blue"}
        with pytest.raises(WeightsError, match="damaged: colour: Extra inputs"):
            card_of({"format": FORMAT, "card": json.dumps(later)}, Path("later.safetensors"))

    def test_a_newer_format_says_to_update(self):
        with pytest.raises(WeightsError, match=r"of format msedge-checkpoint-2, .*update msedge"):
            card_of({"format": "msedge-checkpoint-2", "card": "{}"}, Path("a.onnx"))

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"dim": 10**9}, "dim"),
            ({"dim": 10**400}, "dim"),
            ({"image_size": 10**9}, "image_size"),
            ({"image_size": 0}, "image_size"),
            ({"prompts": 10**6}, "prompts"),
            ({"seed": 2**63}, "seed"),
            ({"seed": -(2**63) - 1}, "seed"),
            ({"epoch": -1}, "epoch"),
            ({"epoch": 2**63}, "epoch"),
            ({"steps": -1}, "steps"),
            ({"trained_classes": -1}, "trained_classes"),
            ({"gallery_edges": float("inf")}, "gallery_edges"),
            ({"mean": [0.5, float("nan"), 0.5]}, "mean.1"),
            ({"std": [0.2, 0.2, 0.0]}, "std.2"),
            ({"std": [0.2, float("inf"), 0.2]}, "std.1"),
            ({"a\nb": 1}, r"a\nb"),
            ({"a" * 9_000: 1}, "aaa..."),
            ({"metrics": {"a\nb": "c"}}, r"metrics.a\nb"),
        ],
    )
    def test_values_that_no_network_has(self, card, changes, where):
        text = json.dumps(card.model_dump(mode="json") | changes)
        with pytest.raises(
            WeightsError, match=rf"it\.onnx is damaged: .*{re.escape(where)}: "
        ) as e:
            card_of({"format": FORMAT, "card": text}, Path("it.onnx"))
        assert str(e.value).isprintable()
        assert len(str(e.value)) < 600

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("[" * 100_000, id="lists without end"),
            pytest.param('{"dim":' * 100_000, id="mappings without end"),
            pytest.param('{"dim":' + "9" * 100_000, id="a long number"),
            pytest.param('"' + "a" * 2_000_000 + '"', id="a long text"),
            pytest.param("", id="nothing"),
        ],
    )
    def test_texts_that_bring_readers_down(self, text):
        with pytest.raises(WeightsError, match=r"the card in it\.onnx is damaged: ") as e:
            card_of({"format": FORMAT, "card": text}, Path("it.onnx"))
        assert len(str(e.value)) < 600

    @pytest.mark.parametrize("found", ["a\nb", "a" * 10**6, "msedge-checkpoint-\u0661"])
    def test_another_format_is_repeated_on_one_short_line(self, found):
        with pytest.raises(WeightsError, match="is not a checkpoint of MSEdge") as e:
            card_of({"format": found}, Path("a\nb.onnx"))
        assert str(e.value).isprintable()
        assert str(e.value).startswith(r"a\nb.onnx")
        assert len(str(e.value)) < 600

    def test_metrics_that_are_no_numbers_come_back(self, card):
        said = card.model_copy(update={"metrics": {"mAP@all": float("nan"), "P@1": float("inf")}})
        text = said.model_dump_json()
        read = card_of({"format": FORMAT, "card": text}, Path("it.onnx"))
        assert repr(read) == repr(said)

    def test_metadata_of_another_program(self):
        with pytest.raises(WeightsError, match=r"other\.onnx is not a checkpoint of MSEdge"):
            card_of({"author": "someone"}, Path("other.onnx"))

    def test_no_file(self, tmp_path):
        with pytest.raises(WeightsError, match="no checkpoint at"):
            read_card(tmp_path / "absent.safetensors")
