"""Training in 1, 2 and 4 processes on one machine, with the same batches of all together.

Claim: several processes train at nearly the rate of as many machines, as far as there are cores or
GPUs for them. Each number of processes is a run of its own under ``torchrun``, with our loop, its
gathered embeddings, joint batch statistics and averaged gradients. On the CPU there are two tables.
In the first the cores are shared out among the processes, as a run by itself does it: one process
uses all of them already, so more cannot be faster, and what they lose is the price of working
together. In the second every process has one thread, so that more processes use more cores: that
efficiency can be compared with machines, as long as there are cores enough.

    python benchmarks/scaling.py [--processes 1,2,4] [--data DIR] [--epochs 2]
    python benchmarks/scaling.py --accelerator cuda --backbone resnet50 --size 224 --batch 256
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from msedge.system import usable_cpus
from training_sides import Setting


def train(setting: Setting) -> None:
    """Be one of the processes; the one of rank 0 writes what they came to."""
    from msedge.training.allocator import keep_freed_memory

    keep_freed_memory()
    import torch

    from matrix_rate import wait
    from msedge.training.launch import launch
    from msedge.training.learner import Learner

    config, images = setting.config(devices=0), setting.images()
    fabric, processes = launch(config)
    torch.manual_seed(config.seed)
    learner = Learner(config, fabric, images, None, processes=processes)
    rates, losses = [], []
    for number in range(1, config.epochs + 1):
        processes.wait()
        start = time.perf_counter()
        steps = list(learner.epoch(number))
        wait(fabric.device)
        processes.wait()
        rates.append(sum(step.images for step in steps) / (time.perf_counter() - start))
        losses += [float(step.loss) for step in steps]
    if processes.first:
        answer = {"rates": rates[1:], "losses": losses, "processes": processes.count}
        Path(os.environ["MSEDGE_SCALING_ANSWER"]).write_text(json.dumps(answer))


class Run(NamedTuple):
    """Images a second of every epoch after the first, and the losses of all steps."""

    rates: list[float]
    losses: list[float]


def measure(setting: Setting, processes: int, threads: int) -> Run:
    """Train in some processes with some threads each."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "MSEDGE_SCALING_ANSWER": str(answer),
        }
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *launcher, __file__, "--process", setting.to_json()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{processes} processes failed:\n{done.stderr[-3000:]}")
        found = json.loads(answer.read_text())
    if found["processes"] != processes:
        raise SystemExit(f"asked for {processes} processes, {found['processes']} trained")
    return Run(found["rates"], found["losses"])


def table(setting: Setting, title: str, threads: dict[int, int], rounds: int) -> list[float]:
    """Run every number of processes in turn, one first, and print rates and efficiencies.

    Returns:
        The losses of one process.
    """
    runs: dict[int, list[Run]] = {count: [] for count in threads}
    for _ in range(rounds):
        for count, found in runs.items():
            found.append(measure(setting, count, threads[count]))
    rates = {
        count: statistics.median(rate for run in found for rate in run.rates)
        for count, found in runs.items()
    }
    print(f"\n{title}")
    print("processes  threads each  images/s  ratio to one  efficiency  losses differ by")
    for count, found in runs.items():
        ratio = rates[count] / rates[1]
        print(
            f"{count:9}  {threads[count]:12}  {rates[count]:8.1f}  {ratio:12.2f}  "
            f"{100 * ratio / count:8.0f} %  {apart(runs[1][0].losses, found[0].losses):16.1e}",
            flush=True,
        )
    return runs[1][0].losses


def apart(one: list[float], other: list[float]) -> float:
    """The largest difference between the losses of two runs."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def main() -> None:
    """Draw the data where none is given, decode it once, then run the tables."""
    if sys.argv[1:2] == ["--process"]:
        train(Setting(**json.loads(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--processes", default="1,2,4", help="numbers with commas between; 1 is always run"
    )
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", help="default: imagenet where a package brings them, or none")
    parser.add_argument("--fusion", choices=["none", "edge"], default="edge")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    parser.add_argument("--epochs", type=int, default=2, help="the first decodes and is not timed")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, taken in turn")
    parser.add_argument("--data", type=Path, help="a dataset in the training layout")
    parser.add_argument("--accelerator", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", help="default: 32, on CUDA bf16-mixed")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs: the first one is not timed, so give at least 2")
    counts = sorted({1, *(int(count) for count in options.processes.split(","))})
    cores = usable_cpus()
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting.of(options, options.fusion, Path(folder))
        print(
            f"{setting.backbone}, fusion {setting.fusion}, {setting.size} px, {setting.batch} "
            f"images a batch of all processes together; precision {setting.precision}"
        )
        if options.accelerator == "cuda":
            import torch

            cards = torch.cuda.device_count()
            print(f"THIS MACHINE HAS {cards} GPUs AND {cores} CORES; one process a GPU")
            run = [count for count in counts if count <= cards]
            threads = {count: max(1, cores // count) for count in run}
            table(setting, "one process a GPU", threads, options.rounds)
            return
        print(f"THIS MACHINE HAS {cores} CORES: more processes than that share them")
        shared = {count: max(1, cores // count) for count in counts}
        all_cores = table(
            setting, "all cores shared out among the processes", shared, options.rounds
        )
        one_thread = table(
            setting, "one thread a process", dict.fromkeys(counts, 1), options.rounds
        )
        print(
            "\nto compare: the losses of one process with one thread and with "
            f"{shared[1]} differ by {apart(all_cores, one_thread):.1e}, which is rounding alone"
        )


if __name__ == "__main__":
    main()
