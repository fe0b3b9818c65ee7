"""Whether an ONNX file says the same as the network that it was made from.

Tested in ``tests/models/test_onnx_check.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from msedge.models.network import MSEdge


def largest_difference(
    path: Path,
    network: MSEdge,
    *,
    batches: Sequence[int] = (1, 2, 5),
    shapes: Sequence[tuple[int, int]] = (),
    seed: int = 0,
) -> float:
    """Embed random images with both, and tell how far the answers lie apart.

    Args:
        path: the ONNX file, run by ONNX Runtime on the CPU.
        network: in evaluation mode, on the CPU.
        batches: how many images are embedded at a time; the first dimension must be free.
        shapes: heights and widths that are tried as well, beside the network's square.
        seed: of the images.

    Returns:
        The largest Euclidean distance between the two embeddings of an image. They are of length
        1, so that it is a relative error; NaN where either holds one.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(seed)
    size, distances = network.image_size, []
    tried = [*((count, size, size) for count in batches), *((2, *shape) for shape in shapes)]
    for count, height, width in tried:
        images = torch.rand(count, 3, height, width, generator=generator)
        (answer,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.inference_mode():
            expected = network(images).numpy()
        distances.append(np.linalg.norm(answer - expected, axis=1).max())
    return float(np.max(distances))
