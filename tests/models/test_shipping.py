"""Shipping a run: half the size, a complete card, a graph that agrees, and no mismatched pair."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from msedge.errors import ConfigError, DataError, WeightsError
from msedge.models import shipping
from msedge.models.card import read_card
from msedge.models.shipping import ship


@pytest.fixture
def said(sources):
    return {"name": "own", "intended_use": "tests", "limits": "many", "data": sources}


class TestSmoke:
    def test_both_files_lie_in_the_folder(self, shipment):
        folder = shipment.model.checkpoint.parent
        assert {path.name for path in folder.iterdir()} == {
            "msedge-tiny.safetensors", "msedge-tiny.onnx",
        }  # fmt: skip
        assert shipment.model.onnx == folder / "msedge-tiny.onnx"
        assert 0 < shipment.difference < 1e-5

    def test_the_card_tells_what_was_said_and_all_that_the_run_said(self, shipment, card, sources):
        assert read_card(shipment.model.checkpoint) == shipment.model.card
        assert shipment.model.card == card.model_copy(
            update={
                "name": "msedge-tiny",
                "intended_use": "tests",
                "limits": "knows nothing",
                "data": sources,
                "judged_on": "525 sketches, 525 photos",
            }
        )

    def test_the_tensors_are_the_run_s_in_float16(self, shipment):
        run = load_file(shipment.model.checkpoint.parents[1] / "run" / "model.safetensors")
        written = load_file(shipment.model.checkpoint)
        assert written.keys() == run.keys()
        for name, tensor in run.items():
            expected = tensor.half() if tensor.is_floating_point() else tensor
            assert torch.equal(written[name], expected)


class TestExceptions:
    @pytest.mark.parametrize("name", ["", "MSEdge", "two words", "../up", "a--b", "-a", "a/b"])
    def test_a_name_that_cannot_be_a_file_s(self, tmp_path, said, name):
        with pytest.raises(ConfigError, match=r"a model cannot be named .*; use small letters"):
            ship(tmp_path / "run.safetensors", tmp_path, **said | {"name": name})

    @pytest.mark.parametrize("field", ["intended_use", "limits", "data"])
    def test_a_card_with_a_gap(self, tmp_path, said, field):
        with pytest.raises(ConfigError, match=f"says its {field.replace('_', ' ')}; got nothing"):
            ship(tmp_path / "run.safetensors", tmp_path, **said | {field: ""})

    def test_no_checkpoint(self, tmp_path, said):
        with pytest.raises(WeightsError, match="no checkpoint at"):
            ship(tmp_path / "run.safetensors", tmp_path / "out", **said)
        assert not (tmp_path / "out").exists()

    def test_the_old_graph_is_gone_before_the_tensors_change(
        self, tmp_path, said, write_run, monkeypatch
    ):
        run = write_run(tmp_path / "run.safetensors")
        (tmp_path / "own.onnx").write_bytes(b"of older tensors")

        def fail(*_, **__):
            raise WeightsError("stopped")

        monkeypatch.setattr(shipping, "export_onnx", fail)
        with pytest.raises(WeightsError, match="stopped"):
            ship(run, tmp_path, **said)
        assert not (tmp_path / "own.onnx").exists()

    def test_a_folder_in_the_graph_s_place(self, tmp_path, said, write_run):
        run = write_run(tmp_path / "run.safetensors")
        (tmp_path / "own.onnx").mkdir()
        with pytest.raises(DataError, match=r"cannot remove the old .*own\.onnx"):
            ship(run, tmp_path, **said)
        assert not (tmp_path / "own.safetensors").exists()
