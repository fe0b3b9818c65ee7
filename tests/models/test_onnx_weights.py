"""Graphs that refer to a checkpoint: what is referred to, what is kept, and what they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from msedge.models.onnx_weights import refer_to_checkpoint

RNG = np.random.default_rng(0)
STORED = {
    "count": np.array([7], np.int64),
    "weight": RNG.normal(size=(3, 5)).astype(np.float16),
    "bias": RNG.normal(size=5).astype(np.float32),
    "scale": np.array(0.5, np.float16),
}
IMAGES = RNG.normal(size=(4, 3)).astype(np.float32)


def graph(**values: np.ndarray) -> onnx.ModelProto:
    """``(images @ weight + bias) * scale`` with these values, else those that are stored."""
    nodes = [
        helper.make_node("MatMul", ["images", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Mul", ["sum", "scale"], ["embeddings"]),
    ]
    kept = {name: values.get(name, STORED[name]) for name in ("weight", "bias", "scale")}
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in kept.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answer(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": IMAGES})[0]


def expected() -> np.ndarray:
    weight, bias, scale = (STORED[n].astype(np.float32) for n in ("weight", "bias", "scale"))
    return (IMAGES @ weight + bias) * scale


def outside(model: onnx.ModelProto) -> set[str]:
    return {i.name for i in model.graph.initializer if i.data_location == TensorProto.EXTERNAL}


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "pair" / "tiny.safetensors"
    path.parent.mkdir()
    save_file(STORED, path, {"card": "x"})
    return path


@pytest.fixture
def pair(checkpoint) -> Path:
    model = graph()
    refer_to_checkpoint(model, checkpoint)
    path = checkpoint.with_suffix(".onnx")
    path.write_bytes(model.SerializeToString())
    return path


def test_all_that_is_stored_is_referred_to(checkpoint):
    model = graph()
    refer_to_checkpoint(model, checkpoint)
    assert outside(model) == {"weight.stored", "bias", "scale.stored"}
    assert all(not each.raw_data for each in model.graph.initializer)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Cast", "MatMul", "Add", "Mul"]


def test_it_computes_the_same(pair):
    onnx.checker.check_model(str(pair), full_check=True)
    np.testing.assert_allclose(answer(pair), expected(), rtol=1e-6)


def test_what_differs_in_one_bit_stays_inside(checkpoint):
    changed = STORED["weight"].astype(np.float32)
    changed[0, 0] = np.nextafter(changed[0, 0], 9)
    model = graph(weight=changed)
    refer_to_checkpoint(model, checkpoint)
    assert outside(model) == {"bias", "scale.stored"}
    (kept,) = (each for each in model.graph.initializer if each.name == "weight")
    np.testing.assert_array_equal(numpy_helper.to_array(kept), changed)


def test_a_value_of_another_type_or_name_stays_inside(checkpoint):
    model = graph()
    model.graph.initializer.append(numpy_helper.from_array(np.array([7], np.int64), "count"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(5, np.float32), "mine"))
    refer_to_checkpoint(model, checkpoint)
    assert outside(model) == {"weight.stored", "bias", "scale.stored"}


def test_the_pair_may_be_moved(pair, tmp_path):
    moved = pair.parent.rename(tmp_path / "moved")
    np.testing.assert_allclose(answer(moved / pair.name), expected(), rtol=1e-6)


def test_the_folder_may_be_reached_through_a_link(pair, tmp_path):
    (tmp_path / "link").symlink_to(pair.parent)
    np.testing.assert_allclose(answer(tmp_path / "link" / pair.name), expected(), rtol=1e-6)


def test_without_the_checkpoint_it_does_not_load(pair, checkpoint):
    checkpoint.unlink()
    with pytest.raises(Exception, match=r"tiny\.safetensors"):
        answer(pair)
