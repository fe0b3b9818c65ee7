"""Which process speaks, told from the variables that launchers set."""

from __future__ import annotations

import pytest

from msedge.cli.ranks import is_first_process


@pytest.mark.parametrize(
    ("surroundings", "first"),
    [
        ({}, True),
        ({"HOME": "/home/a", "WORLD_SIZE": "4"}, True),
        # torchrun: LOCAL_RANK begins anew on each machine
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "1", "LOCAL_RANK": "1"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        # Slurm
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, True),
        ({"SLURM_PROCID": "8", "SLURM_LOCALID": "0"}, False),
        # Lightning Fabric, which starts the processes of a machine itself
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "2"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
    ],
)
def test_first_process(surroundings, first):
    assert is_first_process(surroundings) is first


def test_looks_at_the_environment(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    assert not is_first_process()
    monkeypatch.setenv("RANK", "0")
    assert is_first_process()
