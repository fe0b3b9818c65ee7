"""Training steps on the CPU with and without the allocator's settings of ``training/allocator.py``.

Claim: with glibc told to keep freed memory, a step does not fault in gigabytes of pages again.
Each side runs in a process of its own, in turn; the medians of their steps after the first two
are compared.

    python benchmarks/allocator.py [--size 160] [--batch 64] [--steps 8] [--rounds 2]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def measure(keep: bool, size: int, batch: int, steps: int) -> list[float]:
    """Seconds of each step but the first two, in this process."""
    if keep:
        from msedge.training.allocator import keep_freed_memory

        keep_freed_memory()
    import torch

    from msedge.models.network import MSEdge

    network = MSEdge("tf_efficientnet_lite0", dim=512, fusion="edge").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    images = torch.rand(batch, 3, size, size)
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds[2:]


def main() -> None:
    """Run both sides in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", choices=["default", "kept"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        for value in measure(options.side == "kept", options.size, options.batch, options.steps):
            print(value)
        return
    seconds: dict[str, list[float]] = {"default": [], "kept": []}
    for _ in range(options.rounds):
        for side, values in seconds.items():
            arguments = [
                f"--{name}={getattr(options, name)}" for name in ("size", "batch", "steps")
            ]
            run = subprocess.run(
                [sys.executable, __file__, f"--side={side}", *arguments],
                capture_output=True,
                text=True,
                check=True,
            )
            values.extend(map(float, run.stdout.split()))
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    print(f"default {medians['default']:.2f} s a step, kept {medians['kept']:.2f} s a step")
    print(f"ratio default / kept: {medians['default'] / medians['kept']:.2f}")


if __name__ == "__main__":
    main()
