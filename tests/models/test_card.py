"""The card: what old and new ones say, and that reading one is light."""

from __future__ import annotations

import json
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

    def test_metadata_of_another_program(self):
        with pytest.raises(WeightsError, match=r"other\.onnx is not a checkpoint of MSEdge"):
            card_of({"author": "someone"}, Path("other.onnx"))

    def test_no_file(self, tmp_path):
        with pytest.raises(WeightsError, match="no checkpoint at"):
            read_card(tmp_path / "absent.safetensors")
