"""An optimiser's tensors by name, so that they fit a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors, by parameter position and name."""
    return {
        f"{position}.{name}": tensor
        for position, values in optimizer.state_dict()["state"].items()
        for name, tensor in values.items()
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of :func:`pack_optimizer` back, in the memory order of their parameters.

    Fused optimisers walk through the memory of both side by side, and a file knows one order alone.

    Raises:
        ValueError: a name is of no parameter.
        RuntimeError: a tensor has not its parameter's shape.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        position, name = key.split(".", 1)
        if int(position) not in range(len(parameters)):
            raise ValueError(f"{key} is of parameter {position}, and there are {len(parameters)}")
        if tensor.ndim:  # all but the count of steps
            like = torch.empty_like(parameters[int(position)], dtype=tensor.dtype)
            tensor = like.copy_(tensor)
        state.setdefault(int(position), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
