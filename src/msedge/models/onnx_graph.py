"""Graphs of float32 weights: read from an exported file, kept as float16, run on images.

Needs the packages onnx and onnxruntime, not PyTorch. Tested in ``tests/models/test_onnx_graph.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from msedge.errors import WeightsError
from msedge.models.onnx_file import INPUT, OUTPUT, external_files

Images = npt.NDArray[np.float32]
Embeddings = npt.NDArray[np.float32]
Embed = Callable[[Images], Embeddings]

STORED_AS = "{}.stored"  # a weight's name before it is made float32
_LEAST = 64  # values: fewer are not worth a cast


def read_float32_graph(path: Path) -> onnx.ModelProto:
    """An exported file's graph with its weights inside, as float32 wherever they were float16.

    Args:
        path: a file of :mod:`msedge.models.onnx_export`, whether it holds its weights or not.

    Raises:
        WeightsError: the file, or one that it refers to, is missing or damaged.
    """
    external_files(path)  # says what is missing
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's errors and onnx's have no class in common
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{path} cannot be read as ONNX ({reason})") from error
    stored = {each.name: each for each in model.graph.initializer}
    casts = [node for node in model.graph.node if _widens(node, stored)]
    for cast in casts:
        weight = stored[cast.input[0]]
        values = onnx.numpy_helper.to_array(weight).astype(np.float32)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, cast.output[0]))
        model.graph.node.remove(cast)
    return model


def keep_as_float16(model: onnx.ModelProto) -> None:
    """Round a graph's weights to float16; each passes a Cast to float32 before it is used.

    ONNX Runtime works the casts out once, when it loads the graph, so that the file is half as
    large and as fast. Weights that float16 cannot hold stay as they are.

    Args:
        model: with float32 weights inside; changed.
    """
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < _LEAST:
            continue
        name = weight.name
        with np.errstate(over="ignore"):
            halved = onnx.numpy_helper.to_array(weight).astype(np.float16)
        if np.isfinite(halved).all():
            weight.CopyFrom(onnx.numpy_helper.from_array(halved, STORED_AS.format(name)))
            casts.append(widening(name))
    nodes = [*casts, *model.graph.node]  # a value must stand before those that use it
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def widening(name: str) -> onnx.NodeProto:
    """The node that makes the weight of a name from what is stored of it."""
    return onnx.helper.make_node(
        "Cast", [STORED_AS.format(name)], [name], name, to=onnx.TensorProto.FLOAT
    )


def runner(graph: Path | bytes) -> Embed:
    """What embeds images with a graph, by ONNX Runtime on the CPU.

    Args:
        graph: an ONNX file, or its bytes.

    Returns:
        A function from ``(B, 3, S, S)`` in [0, 1] to ``(B, dim)``. It raises what ONNX Runtime
        raises.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    session = onnxruntime.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph),
        options,
        providers=["CPUExecutionProvider"],
    )

    def embed(images: Images) -> Embeddings:
        (vectors,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})
        return vectors  # type: ignore[no-any-return]

    return embed


def _widens(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> bool:
    return (
        node.op_type == "Cast"
        and node.input[0] in stored
        and stored[node.input[0]].data_type == onnx.TensorProto.FLOAT16
    )
