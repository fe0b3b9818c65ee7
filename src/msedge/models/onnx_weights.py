"""ONNX graphs whose weights stay in the checkpoint beside them.

ONNX lets an initialiser name a file, an offset and a length instead of holding its values. The
values of a ``.safetensors`` file lie there raw, so one copy of the weights serves both PyTorch and
ONNX Runtime. Values kept as float16 pass a Cast to float32, which ONNX Runtime works out once, when
it loads the graph. Tested in ``tests/models/test_onnx_weights.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from safetensors.numpy import load_file

from msedge.models.onnx_graph import STORED_AS, widening
from msedge.models.stored_tensors import StoredTensor, stored_tensors

_TYPES = {"F16": onnx.TensorProto.FLOAT16, "F32": onnx.TensorProto.FLOAT}


def refer_to_checkpoint(model: onnx.ModelProto, checkpoint: Path) -> None:
    """Make a graph's initialisers refer to the tensors of a checkpoint, where they are the same.

    An initialiser that is no tensor of the checkpoint, or that does not equal it bit for bit in
    float32, keeps its values inside.

    Args:
        model: the graph, with float32 initialisers named as the checkpoint's tensors; changed.
        checkpoint: the ``.safetensors`` file; the graph must be saved in its folder.

    Raises:
        WeightsError: the checkpoint cannot be read.
    """
    places, tensors = stored_tensors(checkpoint), load_file(checkpoint)
    casts = []
    for initialiser in model.graph.initializer:
        name, place = initialiser.name, places.get(initialiser.name)
        if place is None or place.dtype not in _TYPES or not _same(initialiser, tensors[name]):
            continue
        initialiser.CopyFrom(_reference(name, place, checkpoint.name))
        if place.dtype == "F16":
            initialiser.name = STORED_AS.format(name)
            casts.append(widening(name))
    nodes = [*casts, *model.graph.node]  # a value must stand before those that use it
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _same(initialiser: onnx.TensorProto, stored: np.ndarray) -> bool:
    if initialiser.data_type != onnx.TensorProto.FLOAT:
        return False
    return np.array_equal(onnx.numpy_helper.to_array(initialiser), stored.astype(np.float32))


def _reference(name: str, place: StoredTensor, location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(
        name=name,
        dims=place.shape,
        data_type=_TYPES[place.dtype],
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, value in (
        ("location", location),
        ("offset", str(place.offset)),
        ("length", str(place.length)),
    ):
        tensor.external_data.add(key=key, value=value)
    return tensor
