"""One process or several: what a run computes on, by Lightning Fabric or under ``torchrun``.

Started plainly, a run with several devices starts itself again for each of the others. Under
``torchrun`` (and in clusters that Fabric knows) the processes are there already, and as many are
used as there are.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from msedge.errors import ConfigError
from msedge.training.config import TrainConfig
from msedge.training.processes import Processes


def launch(config: TrainConfig) -> tuple[Fabric, Processes]:
    """Start what computes a run, and its other processes.

    Args:
        config: the run.

    Returns:
        The launched Fabric, and its processes seen from this one.

    Raises:
        ConfigError: there is no such device, or not so many, or they do not know the precision.
    """
    accelerator = _accelerator(config)
    if config.precision == "16-mixed" and accelerator != "cuda":
        raise ConfigError(
            f"precision 16-mixed needs a GPU, and this run computes on {accelerator}; "
            "choose bf16-mixed or 32"
        )
    devices, nodes = _size(config, accelerator)
    several = devices * nodes > 1 or config.strategy == "ddp"
    # Buffers are the same in every process without being sent: see training/batch_norm.py.
    strategy = (
        DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True) if several else "auto"
    )
    precision = "32-true" if config.precision == "32" else config.precision
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=precision,
        )
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{devices} {accelerator} devices cannot be used ({reason}); "
            "choose other --devices or another --accelerator"
        ) from error
    _quieten()
    fabric.launch()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        atexit.register(_leave)
    return fabric, Processes.of(fabric)


def _leave() -> None:
    """Leave the other processes in good order.

    Fabric does so for NCCL alone; gloo's threads, where they are left running, now and then abort
    a process that has ended its work.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _quieten() -> None:
    """Keep from the person what every process would tell of its libraries."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets each of them
    # PyTorch 2.13 has another name for it, which earlier versions do not know.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")


def _accelerator(config: TrainConfig) -> str:
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if config.accelerator == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    if (config.accelerator == "cuda" and not cuda) or (config.accelerator == "mps" and not mps):
        raise ConfigError(
            f"there is no {config.accelerator} device that this PyTorch can use; "
            "choose --accelerator auto or cpu"
        )
    return config.accelerator


def _size(config: TrainConfig, accelerator: str) -> tuple[int, int]:
    """Processes on this machine, and machines."""
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        here, everywhere = (int(os.environ[n]) for n in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        return here, everywhere // here
    if config.devices:
        return config.devices, config.nodes
    return (torch.cuda.device_count() if accelerator == "cuda" else 1), config.nodes
