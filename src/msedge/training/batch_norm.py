"""Batch norms whose statistics are those of the images of all processes.

A batch norm that sees its own process's share alone normalises otherwise than one process with the
whole batch would, the more so the smaller the share. On the CPU the sums are exchanged here: each
process's mean and sum of squared deviations are combined by the parallel formula of Chan, Golub
and LeVeque (COMPSTAT 1982), weighted by the size of the share, and the gradient's two sums are
added up on the way back (Ioffe and Szegedy, ICML 2015, section 3). Accelerators have PyTorch's own
``SyncBatchNorm``, which the CPU lacks. Tested with real processes in
``tests/training/test_batch_norm.py``.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from msedge.errors import ConfigError, ShapeError
from msedge.models.torchvision_cure import ensure_torchvision
from msedge.training.processes import Processes

ensure_torchvision()

from timm.layers import BatchNormAct2d, FrozenBatchNormAct2d, convert_sync_batchnorm  # noqa: E402
from torchvision.ops.misc import FrozenBatchNorm2d  # noqa: E402


def synchronise_batch_norm(network: nn.Module, processes: Processes) -> None:
    """Let the batch norms of a network use the statistics of all processes' images, in place.

    Outputs, gradients and running statistics are then those of one process that has the whole
    batch, whatever the shares. Parameters, buffers and their names stay the same ones. A batch norm
    in evaluation mode stays as it was and sends nothing. In training mode every process has to call
    the network equally often, with an empty share of images where it has none.

    Args:
        network: as it will be trained, the same in each process; changed where there are several.
        processes: of the run; ``processes.device`` says who computes.

    Raises:
        ConfigError: a layer keeps statistics of its images in a way of its own.
        TypeError: on an accelerator, ``network`` is itself a batch norm.
    """
    if processes.count == 1:
        return
    _refuse_others(network)
    if processes.device.type != "cpu":
        if convert_sync_batchnorm(network) is not network:
            raise TypeError(f"expected a network with batch norms in it, got {network}")
        return
    for module in network.modules():
        # As PyTorch's lazy modules do: a change of class leaves all that others hold of a module,
        # such as parameters in an optimiser and hooks, where it is.
        if type(module) in _SYNCHRONISED:
            module.__class__ = _SYNCHRONISED[type(module)]
        if isinstance(module, _Synchronised):
            module.processes = processes


class _Synchronised(_BatchNorm):
    """What the batch norms below share; in front of a plain one among the bases."""

    processes: Processes

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a share ``(n, C, ...)``, ``n`` possibly 0, by the channels of all shares."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        return self._finish(self._normalise(x))

    # What processes tell each other cannot be traced into a graph.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _normalise(self, x: Tensor) -> Tensor:
        mean, deviations, values = _statistics(x.detach(), self.processes)
        self._track(mean, deviations / (values - 1))
        variance = deviations / values
        kind = x.dtype if x.dtype == torch.float64 else torch.float32
        if self.weight is not None:
            kind = self.weight.dtype
        normalised = _Normalise.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, mean.to(kind), variance.to(kind), self.eps, values
        )
        return cast(Tensor, normalised)

    def _finish(self, normalised: Tensor) -> Tensor:
        return normalised

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards a batch's, as a plain batch norm does."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        factor = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if factor is None:
                factor = 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), factor or 0.0)
        self.running_var.lerp_(variance.to(self.running_var), factor or 0.0)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` over the images of all processes."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` over the images of all processes."""


class SynchronisedBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """:class:`torch.nn.BatchNorm3d` over the images of all processes."""


class SynchronisedBatchNormAct2d(_Synchronised, BatchNormAct2d):  # type: ignore[misc]
    """timm's ``BatchNormAct2d`` over the images of all processes, with its drop and activation."""

    drop: nn.Module
    act: nn.Module

    def _finish(self, normalised: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.drop(normalised)))


_SYNCHRONISED: dict[type, type[_Synchronised]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
    nn.BatchNorm3d: SynchronisedBatchNorm3d,
    BatchNormAct2d: SynchronisedBatchNormAct2d,
}
_FIXED = (FrozenBatchNorm2d, FrozenBatchNormAct2d)


def _refuse_others(network: nn.Module) -> None:
    for name, module in network.named_modules():
        known = isinstance(module, (_Synchronised, nn.SyncBatchNorm, *_FIXED))
        keeps = isinstance(module, _BatchNorm) or getattr(module, "running_var", None) is not None
        if keeps and not known and type(module) not in _SYNCHRONISED:
            raise ConfigError(
                f"layer {name or 'itself'} of the network, a {type(module).__name__}, keeps "
                "statistics of its images that processes cannot share; train in one process, or "
                "choose another backbone"
            )


def _statistics(x: Tensor, processes: Processes) -> tuple[Tensor, Tensor, int]:
    """Mean and summed squared deviations of each channel, and of how many values.

    Args:
        x: a share ``(n, C, ...)``.
        processes: whose shares count.

    Returns:
        ``(C,)`` and ``(C,)``, float64, and values a channel, over all processes.

    Raises:
        ShapeError: there are fewer than 2 values a channel.
    """
    channels, values = x.shape[1], x.numel() // x.shape[1]
    packed = torch.zeros(2 * channels + 1, dtype=torch.float64, device=x.device)
    if values:
        kind = x.dtype if x.dtype == torch.float64 else torch.float32
        # torch.var_mean takes 5 to 20 times as long on the CPU. The buffers only set the precision.
        unused = x.new_zeros(channels, dtype=kind)
        mean, variance = torch.batch_norm_update_stats(x, unused, unused.clone(), 0.0)
        packed[:channels] = mean
        packed[channels:-1] = variance.double() * values
        packed[-1] = values
    of_all = packed.new_empty(processes.count, len(packed))
    dist.all_gather(list(of_all.unbind()), packed)
    means, deviations, counts = torch.split(of_all, [channels, channels, 1], dim=1)
    count = counts.sum()
    if count < 2:
        raise ShapeError(
            f"a batch norm needs at least 2 values a channel while training, got {int(count)} from "
            "all processes; use a larger batch_size"
        )
    mean = (counts * means).sum(0) / count
    summed = (deviations + counts * (means - mean).square()).sum(0)
    return mean, summed, int(count)


class _Normalise(torch.autograd.Function):
    """A share normalised by statistics that depend on the shares of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        count: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.count = eps, count
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        if len(x):  # as though the statistics were given: part of the gradient, and the sums
            of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
            )
        else:  # where PyTorch's own would divide by zero and take the process with it
            of_x, (of_weight, of_bias) = torch.zeros_like(x), mean.new_zeros(2, len(mean))
        if ctx.needs_input_grad[0]:
            sums = torch.stack([of_weight, of_bias]).double()
            dist.all_reduce(sums)
            scale = -(variance + ctx.eps).rsqrt() / ctx.count
            slope, shift = (sums * (scale if weight is None else scale * weight)).to(mean)
            of_x += functional.batch_norm(x, mean, variance, slope, shift, eps=ctx.eps)
        learns = ctx.needs_input_grad
        return of_x, of_weight if learns[1] else None, of_bias if learns[2] else None, *[None] * 4
