"""Graphs that are read, rounded and run: the same weights, the same answers."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest

from msedge.errors import WeightsError
from msedge.models.onnx_graph import keep_as_float16, read_float32_graph, runner

IMAGES = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)


def kinds(model: onnx.ModelProto) -> set[int]:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    large = [each for each in model.graph.initializer if np.prod(each.dims) >= 64]
    return {each.data_type for each in large if each.data_type in floats}


class TestReading:
    def test_weights_inside_and_as_float32(self, shipment):
        model = read_float32_graph(shipment.model.onnx)
        assert kinds(model) == {onnx.TensorProto.FLOAT}
        onnx.checker.check_model(model)
        assert not [node for node in model.graph.node if node.output[0].endswith(".weight")]
        found = runner(model.SerializeToString())(IMAGES)
        np.testing.assert_array_equal(found, runner(shipment.model.onnx)(IMAGES))

    def test_without_its_weights(self, shipment, tmp_path):
        graph = shutil.copy(shipment.model.onnx, tmp_path / "alone.onnx")
        with pytest.raises(WeightsError, match=r"tiny\.safetensors, which is missing"):
            read_float32_graph(graph)

    def test_weights_cut_short(self, shipment, tmp_path):
        graph = shutil.copy(shipment.model.onnx, tmp_path / "alone.onnx")
        content = shipment.model.checkpoint.read_bytes()
        (tmp_path / shipment.model.checkpoint.name).write_bytes(content[: len(content) // 2])
        with pytest.raises(WeightsError, match=r"alone\.onnx cannot be read as ONNX") as caught:
            read_float32_graph(graph)
        assert "\n" not in str(caught.value)


class TestFloat16:
    def test_half_the_bytes_and_the_same_answers(self, shipment):
        model = read_float32_graph(shipment.model.onnx)  # of weights that were float16
        whole = model.SerializeToString()
        keep_as_float16(model)
        assert kinds(model) == {onnx.TensorProto.FLOAT16}
        onnx.checker.check_model(model)
        rounded = model.SerializeToString()
        assert len(rounded) < 0.6 * len(whole)
        np.testing.assert_array_equal(runner(rounded)(IMAGES), runner(whole)(IMAGES))

    def test_what_float16_cannot_hold_stays(self, shipment):
        model = read_float32_graph(shipment.model.onnx)
        large = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        values = onnx.numpy_helper.to_array(large) * np.float32(1e9)
        large.CopyFrom(onnx.numpy_helper.from_array(values, large.name))
        keep_as_float16(model)
        assert kinds(model) == {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
