"""Models as ONNX files in three precisions: checked against their source, or not written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from msedge.errors import ConfigError, MSEdgeError, WeightsError
from msedge.models import onnx_conversion
from msedge.models.card import read_card
from msedge.models.checkpoint import load_checkpoint
from msedge.models.onnx_agreement import BOUNDS, Bound
from msedge.models.onnx_check import largest_difference
from msedge.models.onnx_conversion import card_of_source, convert
from msedge.models.onnx_file import external_files, read_onnx_card


def smooth(seed: int) -> list[np.ndarray]:
    coarse = np.random.default_rng(seed).random((3, 4, 3, 4, 4)).astype(np.float32)
    return list(np.kron(coarse, np.ones((1, 1, 1, 8, 8), np.float32)))


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """Make packages look as if they were not installed."""
    known = importlib.util.find_spec

    def leave_out(*names: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in names else known(name)
        )

    return leave_out


class TestSmoke:
    def test_a_checkpoint_against_pytorch(self, shipment, tmp_path):
        out = tmp_path / "net.onnx"
        done = convert(shipment.model.checkpoint, out)
        assert (done.reference, done.on_random, done.agreement.images) == ("PyTorch", True, 8)
        assert 0 < done.agreement.worst < 1e-9
        assert external_files(out) == ()
        assert read_onnx_card(out) == shipment.model.card
        network, _ = load_checkpoint(shipment.model.checkpoint)
        assert largest_difference(out, network) < 1e-5

    @pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
    def test_a_graph_by_itself(self, shipment, tmp_path, precision):
        out = tmp_path / "net.onnx"
        done = convert(
            shipment.model.onnx, out, precision=precision, calibration=smooth(0), held_out=smooth(1)
        )
        assert (done.reference, done.on_random, done.agreement.images) == (
            "float32 ONNX", False, 12,
        )  # fmt: skip
        assert BOUNDS[precision].holds(done.agreement)
        assert (done.agreement.worst > 1e-7) == (precision == "int8")
        changed = shipment.model.card.model_copy(update={"precision": precision})
        assert read_onnx_card(out) == changed

    def test_without_pytorch_the_graph_beside_a_checkpoint_serves(
        self, shipment, tmp_path, without
    ):
        without("torch")
        done = convert(shipment.model.checkpoint, tmp_path / "net.onnx", precision="float16")
        assert done.reference == "float32 ONNX"
        assert read_onnx_card(tmp_path / "net.onnx").precision == "float16"


class TestExceptions:
    def test_another_suffix(self, shipment, tmp_path):
        with pytest.raises(ConfigError, match=r"name ends in \.onnx, got '.*net\.pb'"):
            convert(shipment.model.onnx, tmp_path / "net.pb")

    @pytest.mark.parametrize("given", [{}, {"calibration": smooth(0)}, {"held_out": smooth(0)}])
    def test_int8_without_images(self, shipment, tmp_path, given):
        with pytest.raises(ConfigError, match="int8 needs photos to calibrate on"):
            convert(shipment.model.onnx, tmp_path / "net.onnx", precision="int8", **given)

    @pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
    def test_a_package_that_is_not_installed(self, shipment, tmp_path, without, package):
        without(package)
        with pytest.raises(MSEdgeError, match=f"needs the package {package}; pip install 'msedge"):
            convert(shipment.model.onnx, tmp_path / "net.onnx")

    def test_no_pytorch_and_no_graph(self, tmp_path, write_run, without):
        run = write_run(tmp_path / "run.safetensors")
        without("torch")
        with pytest.raises(MSEdgeError, match="needs the package torch; pip install 'msedge"):
            convert(run, tmp_path / "net.onnx")

    def test_a_graph_that_was_made_from_another_checkpoint_does_not_serve(
        self, shipment, tmp_path, write_run, without
    ):
        run = write_run(tmp_path / "run.safetensors", epoch=9)
        convert(shipment.model.onnx, tmp_path / "run.onnx")
        without("torch")
        with pytest.raises(MSEdgeError, match="needs the package torch"):
            convert(run, tmp_path / "net.onnx")

    def test_what_is_rounded_already(self, shipment, tmp_path):
        half = tmp_path / "half.onnx"
        convert(shipment.model.onnx, half, precision="float16")
        with pytest.raises(WeightsError, match=r"half\.onnx is rounded to float16 already; expor"):
            convert(half, tmp_path / "again.onnx")

    @pytest.mark.parametrize("bound", [Bound(1e-9, 1.0), Bound(1.0, 1e-9)], ids=["mean", "worst"])
    def test_what_lies_too_far_off_is_not_written(self, shipment, tmp_path, monkeypatch, bound):
        monkeypatch.setitem(onnx_conversion.BOUNDS, "int8", bound)
        old = tmp_path / "net.onnx"
        old.write_bytes(b"old")
        with pytest.raises(WeightsError, match=r"as int8, .* gives other vectors") as caught:
            convert(
                shipment.model.onnx, old, precision="int8",
                calibration=smooth(0), held_out=smooth(1),
            )  # fmt: skip
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
        assert old.read_bytes() == b"old"

    def test_a_file_that_does_not_run(self, shipment, tmp_path, monkeypatch):
        monkeypatch.setattr(
            onnx_conversion, "_in_precision", lambda graph, *_: type(graph)(graph=graph.graph)
        )
        with pytest.raises(WeightsError, match="does not run as float32 ONNX") as caught:
            convert(shipment.model.onnx, tmp_path / "net.onnx")
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_a_card_is_read_from_either(shipment):
    of_graph, of_checkpoint = map(card_of_source, (shipment.model.onnx, shipment.model.checkpoint))
    assert of_graph == of_checkpoint == read_card(Path(shipment.model.checkpoint))
