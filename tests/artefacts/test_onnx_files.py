"""ONNX files from strangers: weights elsewhere, loops without end, and graphs of other programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cards import CARD
from hostile_artefacts import Case, cut_short, held_to_it, of_others, refusal, turned, wiped
from msedge.models.card import FORMAT
from msedge.models.onnx_file import fingerprint, read_onnx_card
from msedge.search.encoder import OnnxEncoder

SIZE, DIM = CARD.image_size, CARD.dim
PIXELS = np.full((2, 3, SIZE, SIZE), 7, np.uint8)


def weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3 * SIZE * SIZE, DIM)).astype(np.float32)


def model(
    *,
    nodes: list[Any] | None = None,
    weight: np.ndarray | None = None,
    taken: str = "images",
    given: str = "embeddings",
    kind: int = TensorProto.FLOAT,
    size: int = SIZE,
    dim: int = DIM,
    metadata: dict[str, str] | None = None,
    opset: int = 20,
) -> onnx.ModelProto:
    """The smallest graph that an encoder takes: pixels, flat, times a matrix, to length 1."""
    nodes = nodes or [
        helper.make_node("Flatten", [taken], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["long"]),
        helper.make_node("LpNormalization", ["long"], [given], axis=1, p=2),
    ]
    initialiser = numpy_helper.from_array(weights() if weight is None else weight, "weight")
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(taken, kind, ["batch", 3, size, size])],
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["batch", dim])],
        [initialiser],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    said = {"format": FORMAT, "card": CARD.model_dump_json()} if metadata is None else metadata
    for key, value in said.items():
        made.metadata_props.add(key=key, value=value)
    return made


def elsewhere(*locations: str, offset: object = 0, length: object = None) -> onnx.ModelProto:
    """The same with its weight in another file, as the entries say, one after the other."""
    made = model()
    tensor = made.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for location in locations:
        tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value=str(offset))
    tensor.external_data.add(key="length", value=str(size if length is None else length))
    return made


def use(path: Path) -> None:
    """All that indexing does with a model."""
    OnnxEncoder.load(path, threads=1).photos(PIXELS)


def endless() -> onnx.ModelProto:
    """A loop of 2^62 turns."""
    shapeless = [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("go on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
    ]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go on"], ["go on still"]),
            helper.make_node("Identity", ["state"], ["next"]),
        ],
        "body",
        shapeless,
        [
            helper.make_tensor_value_info("go on still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    made = model(taken="looped")
    made.graph.input[0].name = "images"
    loop = helper.make_node("Loop", ["turns", "true", "images"], ["looped"], body=body)
    made.graph.node.insert(0, loop)
    made.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "turns"))
    made.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    return made


def with_constant_elsewhere() -> onnx.ModelProto:
    made = model()
    made.graph.ClearField("initializer")
    tensor = elsewhere("/etc/passwd").graph.initializer[0]
    made.graph.node.insert(0, helper.make_node("Constant", [], ["weight"], value=tensor))
    return made


def with_function() -> onnx.ModelProto:
    made = model()
    inside = [helper.make_node("Identity", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 20)]
    made.functions.append(helper.make_function("stranger", "F", ["a"], ["b"], inside, opsets))
    return made


def changed(field: str, value: Any) -> onnx.ModelProto:
    made = model()
    setattr(made.graph.node[0], field, value)
    return made


def of_shape(first: int) -> onnx.ModelProto:
    made = model()
    made.graph.initializer[0].dims[0] = first
    return made


def crafted() -> Iterator[Case]:
    twice = model()
    twice.metadata_props.add(key="card", value="{}")
    wrong = model()
    wrong.graph.node[0].input[0] = "nowhere"
    circle = model()
    circle.graph.node[0].input[0] = "long"
    graphs = {
        "a loop without end": endless(),
        "a constant in another file": with_constant_elsewhere(),
        "functions": with_function(),
        "an operation of a stranger": changed("domain", "stranger.operations"),
        "an operation that is none": changed("op_type", "Nonsense"),
        "an input from nowhere": wrong,
        "a circle": circle,
        "another input": model(taken="pixels"),
        "another output": model(given="vectors"),
        "another type": model(kind=TensorProto.DOUBLE),
        "another size": model(size=SIZE // 2),
        "another width": model(dim=DIM + 1),
        "a newer set of operations": model(opset=9999),
        "a weight of 10^15 rows": of_shape(10**15),
        "a weight of -1 rows": of_shape(-1),
        "weights of NaN": model(weight=np.full_like(weights(), np.nan)),
    }
    for name, made in graphs.items():
        yield Case("a graph that no export makes", name, made.SerializeToString())
    said = {
        "no card": {"format": FORMAT}, "another program's": {"author": "x"}, "none": {},
        "a damaged card": {"format": FORMAT, "card": "{"},
    }  # fmt: skip
    for name, metadata in said.items():
        content = model(metadata=metadata).SerializeToString()
        yield Case("a card that lies", name, content)
    yield Case("a card that lies", "two cards", twice.SerializeToString())
    newer = model(metadata={"format": "msedge-checkpoint-2", "card": "{}"})
    yield Case("of another release", "newer", newer.SerializeToString())


def places() -> Iterator[Case]:
    """Weights in files that are not beside the graph."""
    for location in (
        "/etc/passwd", "../file", "sub/../w.bin", "./w.bin", "..", ".", "", "w.bin\0", "w.bin/",
        "file:///etc/passwd", "C:\\w.bin", "\\\\host\\w.bin", "absent.bin", "link.bin", "pipe.bin",
        "folder",
    ):  # fmt: skip
        content = elsewhere(location).SerializeToString()
        yield Case("weights in another place", repr(location), content)
    for first, second in (("w.bin", "/etc/passwd"), ("/etc/passwd", "w.bin")):
        content = elsewhere(first, second).SerializeToString()
        yield Case("weights in another place", f"{first}, then {second}", content)
    for name, made in {
        "before the file": elsewhere("w.bin", offset=-5),
        "behind the file": elsewhere("w.bin", offset=10**12),
        "longer than the file": elsewhere("w.bin", length=10**18),
        "of no number": elsewhere("w.bin", length="x"),
    }.items():
        yield Case("weights in another place", name, made.SerializeToString())


@pytest.fixture
def graph(hostile_file: Path) -> Path:
    """Where a graph is put; beside it are weights, and things that are none."""
    (hostile_file.parent / "w.bin").write_bytes(weights().tobytes())
    (hostile_file.parent / "link.bin").symlink_to("/etc/passwd")
    (hostile_file.parent / "folder").mkdir()
    os.mkfifo(hostile_file.parent / "pipe.bin")
    return hostile_file.with_suffix(".onnx")


class TestGraphs:
    def test_a_whole_one_is_run(self, graph):
        for made in (model(), elsewhere("w.bin")):
            graph.write_bytes(made.SerializeToString())
            use(graph)

    def test_a_file_from_anywhere_is_run_or_refused_in_one_line(self, graph, mark):
        whole = model().SerializeToString()
        cases = chain(
            cut_short(whole), turned(whole, header=200), wiped(whole), of_others(mark), crafted(),
            places(),
        )  # fmt: skip
        counts = held_to_it("ONNX file", cases, use, graph, mark)
        assert sum(counts.values()) >= 95

    def test_so_is_what_it_says_without_being_run(self, graph, mark):
        whole = model().SerializeToString()
        cases = [*cut_short(whole), *turned(whole, header=200), *of_others(mark)]
        assert held_to_it("card of an ONNX file", cases, read_onnx_card, graph, mark)
        assert held_to_it("card of an ONNX file", cases, fingerprint, graph, mark)

    def test_two_values_of_one_field_are_not_chosen_from(self, graph):
        """Protobuf takes the last, and who reads by hand may take the first."""
        made = elsewhere("w.bin").SerializeToString()
        entry = b"\x0a\x08location\x12\x05w.bin"
        assert entry in made
        other = b"\x0a\x08location\x12\x00\x12\x03w.b"
        assert len(other) == len(entry)
        graph.write_bytes(made.replace(entry, other))
        assert "damaged" in (refusal(use, graph) or "")

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.onnx")
        assert refusal(read_onnx_card, tmp_path / "pipe.onnx")
