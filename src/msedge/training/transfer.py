"""Tensors between main memory and the device, sent while the device computes.

A GPU works off what it is told in its own time. What is sent to it on a stream of its own, from
page-locked memory, arrives while the batch before is computed with, and results come back without
the program waiting for all that the GPU has yet to do. On any other device everything happens in
turn. Tested in ``tests/training/test_transfer.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def sent(tensors: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Tensors in main memory, in order, on the device.

    A GPU receives each of them beside the work that it was given before; for that, the tensor has
    to lie in page-locked memory.

    Args:
        tensors: asked for one at a time.
        device: where to send them.

    Yields:
        Each, ready for the device's current stream.
    """
    if device.type != "cuda":
        for tensor in tensors:
            yield tensor.to(device)
        return
    sending = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for tensor in tensors:
        with torch.cuda.stream(sending):
            there = tensor.to(device, non_blocking=True)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(sending)
        there.record_stream(computing)  # its memory must not be given away before it was used
        yield there


def fetched(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Results on a device, in order, in main memory.

    From a GPU, each is handed out when the one after it has been asked for, so that the GPU always
    has something to do; never more than two are on their way.

    Args:
        tensors: asked for one at a time.

    Yields:
        Each, on the CPU.
    """
    before: _Coming | None = None
    for tensor in tensors:
        coming = _Coming(tensor)
        if before is not None:
            yield before.wait()
        before = coming
    if before is not None:
        yield before.wait()


class _Coming:
    """A tensor on its way to main memory."""

    def __init__(self, tensor: Tensor) -> None:
        self._copy = tensor.to("cpu", non_blocking=tensor.is_cuda)
        self._arrived: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> Tensor:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copy
