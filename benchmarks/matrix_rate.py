"""How fast this machine multiplies matrices, and how much of that a training step needs.

The share of the matrix rate that a training reaches says how far it is from what the hardware can
do, whatever the machine. ``benchmarks/training.py`` prints it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from torch.utils.flop_counter import FlopCounterMode

from msedge.models.network import MSEdge
from msedge.training.config import TrainConfig

_SIDE = {"cpu": 2048, "cuda": 8192}
_REPEATS = 8
_COUNTED = 2  # images: the count grows with them one by one
_CLASSES = 10  # their proxies are a thousandth of a step


def number_format(device: torch.device, precision: str) -> str:
    """What the matrix units compute in: ``float32``, ``tf32``, ``bfloat16`` or ``float16``.

    With float32, PyTorch gives convolutions to CUDA's units as TF32.
    """
    if precision.startswith("bf16"):
        return "bfloat16"
    if precision.startswith("16"):
        return "float16"
    return "tf32" if device.type == "cuda" else "float32"


def matrix_rate(device: torch.device, name: str) -> float:
    """The best rate of a large square product, in FLOP a second.

    Args:
        device: where.
        name: one of :func:`number_format`.
    """
    side = _SIDE.get(device.type, 2048)
    dtype = torch.float32 if name == "tf32" else getattr(torch, name)
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        seconds = [_product(left, right) for _ in range(_REPEATS)]
    finally:
        torch.set_float32_matmul_precision(before)
    return 2.0 * float(side) ** 3 / min(seconds)


def _product(left: torch.Tensor, right: torch.Tensor) -> float:
    wait(left.device)
    start = time.perf_counter()
    torch.mm(left, right)
    wait(left.device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_flops(config: TrainConfig) -> float:
    """FLOP of one image in a training step, forward and backward, nothing frozen.

    Convolutions and matrix products are counted, a multiplication with its addition as two.
    """
    network = MSEdge(
        config.backbone, dim=config.dim, fusion=config.fusion, image_size=config.image_size
    ).train()
    loss = NormalizedSoftmaxLoss(_CLASSES, config.dim)
    images = torch.rand(_COUNTED, 3, config.image_size, config.image_size)
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        loss(network(images), torch.zeros(_COUNTED, dtype=torch.int64)).backward()
    return counter.get_total_flops() / _COUNTED


def _convolution_backward(
    gradient: Sequence[int],
    _images: Sequence[int],
    weight: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    _transposed: object,
    _output_padding: object,
    _groups: object,
    wanted: Sequence[bool],
    **_: object,
) -> int:
    """The gradients of input and weight cost what the convolution cost.

    PyTorch's own formula takes each group's share of the weight's gradient for the whole, and
    depthwise convolutions for many times what they are.
    """
    of_one = 2 * torch.Size(gradient).numel() * torch.Size(weight[1:]).numel()
    return of_one * sum(wanted[:2])
