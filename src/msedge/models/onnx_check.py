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
from msedge.models.onnx_file import INPUT, OUTPUT, PLACES


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
        The largest Euclidean distance between the two embeddings of an image, or between what a
        place says (in shares of its length), where the file tells places; NaN where either holds
        one.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    has_places = PLACES in {each.name for each in session.get_outputs()}
    generator = torch.Generator().manual_seed(seed)
    size, distances = network.image_size, []
    tried = [*((count, size, size) for count in batches), *((2, *shape) for shape in shapes)]
    for count, height, width in tried:
        images = torch.rand(count, 3, height, width, generator=generator)
        names = [OUTPUT, PLACES] if has_places else [OUTPUT]
        answers = session.run(names, {INPUT: images.numpy()})
        with torch.inference_mode():
            expected = network.with_places(images) if has_places else (network(images),)
        for answer, right in zip(answers, expected, strict=True):
            lengths = np.linalg.norm(right.numpy(), axis=1)
            off = np.linalg.norm(answer - right.numpy(), axis=1)
            distances.append((off / np.maximum(lengths, lengths.mean())).max())
    return float(np.max(distances))
