"""Export to ONNX: the file says what the network says, keeps its card, and repeats no weights.

Tracing takes seconds, so one network goes through here by default; ``-m slow`` has the others.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from msedge.errors import ConfigError, MSEdgeError, WeightsError
from msedge.models import onnx_check, onnx_export
from msedge.models.card import card_of
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.onnx_export import export_onnx

NETWORKS = [
    {"fusion": "none"},
    {"fusion": "energy"},
    {"fusion": "edge", "image_size": 72},  # no multiple of the stages' strides
    {"backbone": "resnet18"},
    {"backbone": "mobilenetv3_small_100", "image_size": 64},
    {"backbone": "tf_efficientnet_lite0", "image_size": 64},
    {"backbone": "test_vit", "image_size": 96},
    {"backbone": "vit_tiny_patch16_224", "image_size": 96, "fusion": "energy", "prompts": 2},
    {"backbone": "vit_tiny_patch16_224", "image_size": 224, "fusion": "none"},
]


def session_of(path: Path, options: onnxruntime.SessionOptions | None = None):
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def inside(path: Path) -> int:
    """Bytes of the largest value that a graph keeps inside."""
    model = onnx.load(path, load_external_data=False)
    constants = [a.t for n in model.graph.node for a in n.attribute if n.op_type == "Constant"]
    return max((len(each.raw_data) for each in [*model.graph.initializer, *constants]), default=0)


class TestSmoke:
    def test_inputs_and_outputs(self, shipment):
        session = session_of(shipment.model.onnx)
        (images,), (embeddings,) = session.get_inputs(), session.get_outputs()
        assert (images.name, images.type, images.shape[1:]) == (
            "images", "tensor(float)", [3, 32, 32],
        )  # fmt: skip
        assert (embeddings.name, embeddings.shape[1:]) == ("embeddings", [8])
        assert isinstance(images.shape[0], str)  # any batch
        found = session.run(None, {"images": np.zeros((3, 3, 32, 32), np.float32)})[0]
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)

    def test_the_card_goes_along(self, shipment):
        metadata = session_of(shipment.model.onnx).get_modelmeta().custom_metadata_map
        assert card_of(metadata, shipment.model.onnx) == shipment.model.card


class TestExceptions:
    def test_another_suffix(self, tmp_path, write_run):
        with pytest.raises(ConfigError, match=r"name ends in \.onnx, got '.*net\.pb'"):
            export_onnx(write_run(tmp_path / "run.safetensors"), tmp_path / "net.pb")

    def test_a_reference_into_another_folder(self, tmp_path, write_run):
        run = write_run(tmp_path / "runs" / "run.safetensors")
        with pytest.raises(ConfigError, match="cannot refer to weights in another folder"):
            export_onnx(run, tmp_path / "net.onnx", embed_weights=False)

    def test_no_checkpoint(self, tmp_path):
        with pytest.raises(WeightsError, match="no checkpoint at"):
            export_onnx(tmp_path / "absent.safetensors", tmp_path / "net.onnx")

    @pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
    def test_a_package_that_is_not_installed(self, tmp_path, write_run, monkeypatch, package):
        run, known = write_run(tmp_path / "run.safetensors"), importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == package else known(name)
        )
        with pytest.raises(MSEdgeError, match=f"needs the package {package}; pip install"):
            export_onnx(run, tmp_path / "net.onnx")

    def test_a_network_too_large_for_one_file(self, tmp_path, write_run, monkeypatch):
        run = write_run(tmp_path / "run.safetensors")
        monkeypatch.setattr(onnx_export, "_LARGEST", 1000)
        with pytest.raises(ConfigError, match="test_resnet is too large for one ONNX file"):
            export_onnx(run, tmp_path / "net.onnx")

    def test_a_network_that_cannot_be_traced(self, tmp_path, write_run, monkeypatch):
        run = write_run(tmp_path / "run.safetensors")

        def fail(*_, **__):
            raise torch.onnx.OnnxExporterError("no operator aten::own\nmore")

        monkeypatch.setattr(torch.onnx, "export", fail)
        with pytest.raises(WeightsError, match=r"cannot be exported to ONNX \(no operator aten"):
            export_onnx(run, tmp_path / "net.onnx")

    @pytest.mark.parametrize("difference", [2.1e-3, float("nan")])
    def test_a_file_that_says_something_else_is_not_kept(
        self, shipment, tmp_path, monkeypatch, write_run, difference
    ):
        traced = onnx.load(shipment.model.onnx)
        monkeypatch.setattr(onnx_export, "trace", lambda *_: traced)
        monkeypatch.setattr(onnx_check, "largest_difference", lambda *_, **__: difference)
        run, old = write_run(tmp_path / "run.safetensors"), tmp_path / "net.onnx"
        old.write_bytes(b"old")
        with pytest.raises(WeightsError, match="gives other embeddings as ONNX than in PyTorch"):
            export_onnx(run, old)
        assert old.read_bytes() == b"old"
        assert {path.name for path in tmp_path.iterdir()} == {"run.safetensors", "net.onnx"}

    def test_a_graph_of_one_batch_alone_is_not_kept(
        self, shipment, tmp_path, monkeypatch, write_run
    ):
        frozen = onnx.load(shipment.model.onnx)
        frozen.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        monkeypatch.setattr(onnx_export, "trace", lambda *_: frozen)
        run = write_run(tmp_path / "run.safetensors")
        with pytest.raises(WeightsError, match=r"does not run as ONNX .*invalid dim") as caught:
            export_onnx(run, tmp_path / "net.onnx")
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


class TestNumbers:
    def test_no_weight_is_repeated(self, shipment):
        assert inside(shipment.model.onnx) < 500
        assert shipment.model.onnx.stat().st_size < shipment.model.checkpoint.stat().st_size / 4

    def test_normalisations_are_joined_with_convolutions_at_load(self, shipment, tmp_path):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        session_of(shipment.model.onnx, options)
        left = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
        assert "Conv" in left
        assert left & {"BatchNormalization", "Cast", "CastLike"} == set()

    @pytest.mark.slow
    @pytest.mark.parametrize("embed", [True, False])
    @pytest.mark.parametrize("changes", NETWORKS, ids=lambda each: json.dumps(each))
    def test_every_kind_of_network(self, tmp_path, write_run, changes, embed):
        network, card = load_checkpoint(write_run(tmp_path / "run.safetensors", **changes))
        half = tmp_path / "half.safetensors"
        save_checkpoint(half, network, card, half=True)
        assert export_onnx(half, tmp_path / "half.onnx", embed_weights=embed) < 1e-5
        written = onnx.load(tmp_path / "half.onnx", load_external_data=False).graph.initializer
        outside = {each.data_location == onnx.TensorProto.EXTERNAL for each in written}
        assert outside == {False} if embed else inside(tmp_path / "half.onnx") < 1024
