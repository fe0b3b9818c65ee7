"""The check of a graph against its network: near nought where they agree, large where not."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.onnx_check import largest_difference


def test_what_was_exported_agrees(shipment):
    network, _ = load_checkpoint(shipment.model.checkpoint)
    assert 0 < largest_difference(shipment.model.onnx, network) < 1e-5


def test_another_network_is_told_apart(shipment, tmp_path, write_run):
    other, _ = load_checkpoint(write_run(tmp_path / "other.safetensors", seed=1))
    assert largest_difference(shipment.model.onnx, other) > 0.1


def test_tensors_of_another_network_under_the_graph_are_told_apart(shipment, tmp_path, write_run):
    graph = shutil.copy(shipment.model.onnx, tmp_path)
    network, card = load_checkpoint(shipment.model.checkpoint)
    other, _ = load_checkpoint(write_run(tmp_path / "other.safetensors", seed=1))
    save_checkpoint(tmp_path / shipment.model.checkpoint.name, other, card, half=True)
    assert largest_difference(graph, network) > 0.1


def test_not_a_number_is_not_passed_over(shipment):
    network, _ = load_checkpoint(shipment.model.checkpoint)
    network.projection.bias.data[:] = np.nan
    assert np.isnan(largest_difference(shipment.model.onnx, network))


@pytest.mark.parametrize("batches", [(1,), (3,), (1, 7)])
def test_any_batch(shipment, batches):
    network, _ = load_checkpoint(shipment.model.checkpoint)
    assert largest_difference(shipment.model.onnx, network, batches=batches) < 1e-5
