"""Graphs in 8 bits: which layers are, which are not, and that the answer stays near."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest

from msedge.models.onnx_agreement import agreement
from msedge.models.onnx_graph import read_float32_graph, runner
from msedge.models.onnx_int8 import quantise

WEIGHTED = ("Conv", "Gemm", "MatMul")


@pytest.fixture(scope="module")
def batches() -> list[np.ndarray]:
    """Smooth images: coarse squares of colour."""
    rng = np.random.default_rng(0)
    coarse = rng.random((6, 4, 3, 4, 4)).astype(np.float32)
    return list(np.kron(coarse, np.ones((1, 1, 1, 8, 8), np.float32)))


@pytest.fixture(scope="module")
def quantised(shipment, batches) -> onnx.ModelProto:
    return quantise(read_float32_graph(shipment.model.onnx), batches[:4])


def test_the_answer_stays_near(shipment, quantised, batches):
    exact, rounded = runner(shipment.model.onnx), runner(quantised.SerializeToString())
    found = agreement((exact(batch), rounded(batch)) for batch in batches[4:])
    assert 0 < found.mean < 0.02


def test_any_batch(quantised, batches):
    embed = runner(quantised.SerializeToString())
    assert embed(batches[0][:1]).shape == (1, 8)
    assert embed(np.concatenate(batches)).shape == (24, 8)


def test_first_and_last_layers_stay_as_float(shipment, quantised):
    made = {output: node for node in quantised.graph.node for output in node.output}
    as_float = {
        node.name
        for node in quantised.graph.node
        if node.op_type in WEIGHTED
        and (node.input[1] not in made or made[node.input[1]].op_type != "DequantizeLinear")
    }
    before = read_float32_graph(shipment.model.onnx).graph.node
    layers = [node.name for node in before if node.op_type in WEIGHTED]
    assert {layers[0], layers[-1]} < as_float < set(layers)
    assert len(as_float) == 4


def test_each_channel_has_its_own_scale(quantised):
    stored = {each.name: each for each in quantised.graph.initializer}
    weights = [each for each in stored.values() if each.data_type == onnx.TensorProto.INT8]
    kernels = [each for each in weights if len(each.dims) == 4]
    assert kernels
    scales = {n.input[0]: n.input[1] for n in quantised.graph.node if n.op_type[:2] == "De"}
    for kernel in kernels:
        assert list(stored[scales[kernel.name]].dims) == [kernel.dims[0]]


def test_the_graph_that_was_given_is_left_alone(shipment, batches):
    model = read_float32_graph(shipment.model.onnx)
    before, level = model.SerializeToString(), logging.getLogger().level
    quantise(model, batches[:1])
    assert model.SerializeToString() == before
    assert logging.getLogger().level == level
