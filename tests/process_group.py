"""Real processes for tests: a function of a test module, called in several that know each other.

Each is a fresh interpreter. They meet through a file, speak through gloo on the loopback interface,
and look to Fabric as ``torchrun`` would have them look.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from msedge.training.processes import Processes

SECONDS = 240  # many times what is needed on a busy machine


def in_processes(count: int, job: Callable[[Processes, Path], Any], folder: Path) -> list[Any]:
    """What each process gives back for ``job(processes, folder)``, in the order of their ranks.

    Args:
        count: of processes.
        job: a function at the top of a module; what it gives back can be pickled.
        folder: an empty one, for the meeting and for whatever the job writes.

    Raises:
        AssertionError: a process failed or did not end in time; its last words say why.
    """
    source = job.__code__.co_filename
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": next(n for _, n in socket.if_nameindex() if n.startswith("lo")),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",  # a group is there before Fabric asks for one
        "TORCHELASTIC_RUN_ID": "test",
    }
    children, words = [], []
    for rank in range(count):
        command = [sys.executable, __file__, source, job.__name__, str(folder)]
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        words.append((folder / f"words_{rank}.txt").open("w+b"))
        children.append(
            subprocess.Popen(
                command, env=environment | ranks, stdout=words[-1], stderr=subprocess.STDOUT
            )
        )
    try:
        _wait(children)
        for rank, (child, said) in enumerate(zip(children, words, strict=True)):
            said.seek(0)
            last = said.read().decode(errors="replace")[-3000:]
            assert child.poll() == 0, f"process {rank} of {count}: {child.poll()}\n{last}"
    finally:
        for child, said in zip(children, words, strict=True):
            child.kill()
            child.wait()
            said.close()
    return [pickle.loads((folder / f"answer_{rank}").read_bytes()) for rank in range(count)]


def _wait(children: list[subprocess.Popen[bytes]]) -> None:
    """Until all have ended, or one has failed, or time is up."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        codes = [child.poll() for child in children]
        if None not in codes:
            return
        if any(codes):
            time.sleep(2)  # the others may fail of themselves, and say more
            return
        time.sleep(0.02)


def _child(source: str, job: str, folder: Path) -> None:
    torch.set_num_threads(1)
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    spec = importlib.util.spec_from_file_location("job", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["job"] = module
    spec.loader.exec_module(module)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=count,
        timeout=datetime.timedelta(seconds=SECONDS / 2),
    )
    answer = getattr(module, job)(Processes(rank, count), folder)
    (folder / f"answer_{rank}").write_bytes(pickle.dumps(answer))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
