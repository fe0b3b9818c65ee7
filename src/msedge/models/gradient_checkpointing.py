"""Training in less memory: the backbone's activations are computed again in the backward pass.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (arXiv:1604.06174, 2016). Of each
block only the input is kept, and the block runs a second time when its gradient is due. Which
blocks, timm knows best of its own networks. What a block changes as it runs, the running statistics
of its norms, must not change a second time: then copies stand in for them. Tested in
``tests/models/test_gradient_checkpointing.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.module_tracker import ModuleTracker

from msedge.errors import ConfigError
from msedge.models.backbones import Backbone
from msedge.models.network import MSEdge
from msedge.models.torchvision_cure import ensure_torchvision

ensure_torchvision()

from timm.layers import set_reentrant_ckpt  # noqa: E402

_TRACKER = ModuleTracker()
"""Asked whether a backward pass runs; it tracks nothing."""


def checkpoint_gradients(network: MSEdge) -> None:
    """Let the backbone hold the inputs of its blocks instead of all activations, in place.

    Gradients, running statistics, parameters and the names of tensors stay what they are; a
    training step runs most blocks forwards twice. Call it after layers are replaced (adaptation,
    synchronised batch norms). A second call changes nothing.

    Args:
        network: in any mode; nothing of it is trained here.

    Raises:
        ConfigError: timm cannot do this with the backbone.
    """
    backbone = network.backbone
    # The older way loses the gradients of blocks whose input has none, as after frozen ones.
    set_reentrant_ckpt(False)
    _switch(backbone, on=False)
    before = _held(backbone, network.image_size)
    _switch(backbone, on=True)
    if _held(backbone, network.image_size) >= before:
        _switch(backbone, on=False)
        raise ConfigError(
            f"this version of timm computes nothing of {backbone.name!r} again when only its "
            "stages are asked for; install a newer timm, or drop checkpoint_gradients"
        )
    for module in backbone.modules():
        if _keeps_statistics(module):
            _StatisticsGuard().watch(module)


def _switch(backbone: Backbone, *, on: bool) -> None:
    try:
        backbone.network.set_grad_checkpointing(on)
    except (AttributeError, AssertionError) as error:
        raise ConfigError(
            f"timm cannot compute the activations of {backbone.name!r} again in the backward "
            "pass; drop checkpoint_gradients, or choose another backbone, for example resnet50"
        ) from error


def _held(backbone: Backbone, image_size: int) -> int:
    """The bytes that a forward pass of one image keeps for the backward pass, beside weights."""
    own = {tensor.untyped_storage().data_ptr() for tensor in backbone.parameters()}
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    training = {module: module.training for module in backbone.modules()}
    backbone.eval()  # one image makes no batch statistics, and must not change them
    images = torch.zeros(1, 3, image_size, image_size, device=backbone.mean.device)
    with torch.enable_grad(), saved_tensors_hooks(note, _as_it_is):
        stages = backbone(images.requires_grad_())  # so that frozen blocks count as well
    del stages  # held until here, so that no two tensors had the same address
    for module, mode in training.items():
        module.training = mode
    return sum(held.values())


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _keeps_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_var", None) is not None


class _StatisticsGuard:
    """Lets a norm change copies of its statistics while its block runs for the second time."""

    def __init__(self) -> None:
        self._own: dict[str, Tensor] = {}

    def watch(self, norm: nn.Module) -> None:
        """Stand by whenever the norm is called; copies of the network get guards of their own."""
        norm.register_forward_pre_hook(self._lend)
        # PyTorch ends the second run by an exception as soon as it has what it needs. Of several
        # guards, the last to lend is the first to restore.
        norm.register_forward_hook(self._restore, prepend=True, always_call=True)

    def _lend(self, norm: nn.Module, _inputs: Any) -> None:
        # A compiled network's second run is planned by the compiler, which leaves changes out.
        if torch.compiler.is_compiling() or not (norm.training and _TRACKER.is_bw):
            return
        self._own = dict(norm.named_buffers(recurse=False))
        for name, tensor in self._own.items():
            setattr(norm, name, tensor.clone())

    def _restore(self, norm: nn.Module, _inputs: Any, _output: Any) -> None:
        for name, tensor in self._own.items():
            setattr(norm, name, tensor)
        self._own = {}
