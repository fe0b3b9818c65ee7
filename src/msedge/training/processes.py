"""The processes of one run, each with its share of the work, and what they tell each other.

The rows of a batch are dealt out in turn: row 0 to process 0, row 1 to process 1, and so on. So
shares differ by one row at most, and put back together they have the order of the whole, whatever
the number of processes. With one process everything here is the identity and ``torch.distributed``
is never touched. Tested with real processes in ``tests/training/test_processes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from msedge.errors import ShapeError

if TYPE_CHECKING:  # its import takes longer than PyTorch's, and judging needs none
    from lightning_fabric import Fabric

T = TypeVar("T")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Every method but :meth:`share` has to be called by all of them, in the same order.

    Attributes:
        rank: which one this is, from 0.
        count: how many there are.
        device: where tensors have to lie to be sent.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = _CPU

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise ValueError(f"expected a rank from 0 to {self.count - 1}, got {self.rank}")

    @classmethod
    def of(cls, fabric: Fabric) -> Processes:
        """Those of a launched Fabric, which speak through torch's default group.

        Raises:
            RuntimeError: there are several, and Fabric was not launched.
        """
        if fabric.world_size > 1 and not dist.is_initialized():
            raise RuntimeError(f"launch Fabric before its {fabric.world_size} processes can talk")
        return cls(fabric.global_rank, fabric.world_size, fabric.device)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks to the user."""
        return self.rank == 0

    def share(self, count: int) -> Tensor:
        """Which of ``count`` rows are this process's: ``(n,)`` int64, rising; may be empty."""
        return torch.arange(self.rank, max(count, self.rank), self.count)

    def gather(self, local: Tensor, count: int) -> Tensor:
        """The rows of every process's share, put back into the order of the whole.

        Differentiable, for a loss that every process computes alike from the result. The gradient
        of ``local`` is then ``self.count`` times that loss's: DistributedDataParallel divides the
        sum of the processes' gradients by their number, and what is left is the gradient that one
        process has from the whole batch. What the loss itself learns, such as proxies, gets the
        same gradient in each process and belongs outside DistributedDataParallel.

        Args:
            local: ``(n, ...)``, a row for each of :meth:`share`.
            count: rows of all processes together.

        Returns:
            ``(count, ...)``, the same in each process.

        Raises:
            ShapeError: ``local`` has not as many rows as the share.
        """
        rows = len(self.share(count))
        if len(local) != rows:
            raise ShapeError(
                f"process {self.rank} of {self.count} holds {rows} of {count} rows, got "
                f"{len(local)} to gather; embed the rows of share({count})"
            )
        if self.count == 1 or count == 0:
            return local
        return cast(Tensor, _Gather.apply(local, self.rank, self.count, count))  # type: ignore[no-untyped-call]

    def broadcast(self, module: nn.Module) -> None:
        """Give parameters and buffers the values that they have in the first process."""
        if self.count == 1:
            return
        for tensor in [*module.parameters(), *module.buffers()]:
            # Sent densely: the memory of a channels-last weight may be ordered otherwise elsewhere.
            sent = tensor.detach().to(self.device).contiguous()
            dist.broadcast(sent, src=0)
            with torch.no_grad():
                tensor.copy_(sent)

    def any(self, flag: bool) -> bool:
        """Whether it is true in at least one process."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())

    def objects(self, local: T) -> list[T]:
        """One object of each process, in their order; they travel pickled between our own."""
        if self.count == 1:
            return [local]
        gathered: list[Any] = [None] * self.count
        dist.all_gather_object(gathered, local)
        return gathered

    @contextmanager
    def after_the_first(self) -> Iterator[None]:
        """Let the first process do alone what leaves a file; the others then find it.

        Where the first one fails, the others go on, to fail in the same way rather than wait.
        """
        if not self.first:
            self.wait()
        try:
            yield
        finally:
            if self.first:
                self.wait()

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.any(False)  # unlike a barrier, it needs no telling which GPU is whose


class _Gather(torch.autograd.Function):
    """Shares to the whole; the gradient comes from this process's own loss alone."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, rank: int, processes: int, count: int) -> Tensor:
        ctx.rank, ctx.processes = rank, processes
        # Gathered pieces have one size: the smaller shares get a row that is cut off at the end.
        most = -(-count // processes)
        sent = local.new_zeros(most, *local.shape[1:])
        sent[: len(local)] = local
        pieces = sent.new_empty(processes, *sent.shape)
        dist.all_gather(list(pieces.unbind()), sent)
        return pieces.transpose(0, 1).flatten(0, 1)[:count]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.processes * gradients[0][ctx.rank :: ctx.processes], None, None, None
