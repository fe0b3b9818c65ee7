"""Which of a run's processes this is, known from its surroundings before PyTorch is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping


def is_first_process(surroundings: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the process that speaks to the person.

    Args:
        surroundings: environment variables. ``torchrun`` sets ``RANK``, Slurm ``SLURM_PROCID``, and
            Lightning Fabric, which starts the other processes of a machine itself, ``LOCAL_RANK``
            and ``NODE_RANK``.

    Example:
        >>> is_first_process({}), is_first_process({"RANK": "1"})
        (True, False)
    """
    if "RANK" in surroundings:
        return surroundings["RANK"] == "0"
    if "LOCAL_RANK" in surroundings:  # before Slurm's: within its jobs Fabric starts processes too
        return all(surroundings.get(name, "0") == "0" for name in ("NODE_RANK", "LOCAL_RANK"))
    if surroundings.get("NODE_RANK", "0") != "0":
        return False
    return surroundings.get("SLURM_PROCID", "0") == "0"
