"""Epochs of training beside the loop that repositories of this family use.

Claims: on two cores, `tf_efficientnet_lite0` at 160 px, an epoch is at least 1.6 times as fast as
the reference loop's (``benchmarks/reference_loop.py``), and the loss falls alike; on CUDA,
`resnet50` at 224 px, at least 6 times as fast on the same card, and at least half as fast as the
same network on tensors that lie on the card already.

Both sides train the same network, from the same weights, on the same images, in processes of their
own (the allocator's settings are a process's), and take turns an epoch at a time. The first epoch
of ours decodes and fills the cache of pixels. The rate of matrix products is measured in turn too,
so that the share of it that a side reaches says how far it is from what the machine can do.

    python benchmarks/training.py [--data DIR] [--fusion none edge] [--epochs 3] [--tensors]
    python benchmarks/training.py --accelerator cuda --backbone resnet50 --size 224 --compile
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from msedge.system import usable_cpus
from training_sides import Epoch, Setting, serve

TARGETS = {"cpu": 1.6, "cuda": 6.0}
TENSORS_TARGET = 0.5
SIDES = {"reference": "reference", "ours": "ours", "tensors": "on tensors"}


@dataclass
class Side:
    """A process that trains an epoch when it is told to."""

    name: str
    setting: Setting
    epochs: list[Epoch] = field(default_factory=list)

    def __enter__(self) -> Self:
        words = [sys.executable, __file__, f"--side={self.name}", self.setting.to_json()]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self._answer()
        return self

    def epoch(self, number: int) -> None:
        """Have it train one."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        self.epochs.append(Epoch(**self._answer()))
        if self.name in SIDES:
            print(
                f"    {self.name}, epoch {number}: {self.epochs[-1].seconds:.1f} s", file=sys.stderr
            )

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the side {self.name!r} ended early; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def rate(self, after: int = 0) -> float:
        """Images a second: of all epochs together, or the median of those after some."""
        if after:
            return statistics.median(epoch.rate for epoch in self.epochs[after:])
        seconds = sum(epoch.seconds for epoch in self.epochs)
        return sum(epoch.images for epoch in self.epochs) / seconds

    def cpu_seconds(self, after: int = 0) -> float:
        """Of the epochs after some, together."""
        return sum(epoch.cpu_seconds for epoch in self.epochs[after:])


def compare(setting: Setting, *, tensors: bool) -> None:
    """Run the sides in turn and print what they came to."""
    names = ["limits", "reference", "ours", *(["tensors"] if tensors else [])]
    sides = {name: Side(name, setting) for name in names}
    with ExitStack() as running:
        for side in sides.values():
            running.enter_context(side)
        for number in range(1, setting.epochs + 1):
            for side in sides.values():
                side.epoch(number)
    limits = sides.pop("limits")
    _print_setting(setting, sides)
    _print_epochs(sides)
    _print_losses(sides["reference"], sides["ours"])
    _print_ratios(setting, sides)
    _print_shares(setting, sides, limits)


def _print_setting(setting: Setting, sides: dict[str, Side]) -> None:
    images = sides["ours"].epochs[0].images
    print(
        f"\n{setting.backbone}, fusion {setting.fusion}, {setting.size} px, batches of "
        f"{setting.batch}, {images} images an epoch; {setting.accelerator}, {usable_cpus()} cores"
    )
    compiled = ", compiled" if setting.compile else ""
    print(
        f"reference: float32, {setting.workers} workers; ours: precision "
        f"{setting.precision}{compiled}; weights {setting.weights}"
    )
    alike = len({sides[name].ready["weights"] for name in ("reference", "ours")}) == 1
    print("both start from the same weights" if alike else "THEY START FROM DIFFERENT WEIGHTS")


def _print_epochs(sides: dict[str, Side]) -> None:
    print("epoch " + "".join(f"| {SIDES[name]:>10}: s, images/s, loss " for name in sides))
    for index in range(len(sides["ours"].epochs)):
        cells = []
        for side in sides.values():
            epoch = side.epochs[index]
            cells.append(f"| {epoch.seconds:>11.2f} {epoch.rate:9.1f} {epoch.loss:8.4f} ")
        print(f"{index + 1:5} " + "".join(cells))


def _print_losses(reference: Side, ours: Side) -> None:
    pairs = list(zip(reference.epochs, ours.epochs, strict=True))
    of_epochs = [abs(one.loss - other.loss) for one, other in pairs]
    of_steps = [
        abs(a - b) for one, other in pairs for a, b in zip(one.losses, other.losses, strict=True)
    ]
    print(
        f"losses of the same images in the same order differ by {max(of_epochs):.4f} at most "
        f"between the epochs' means, by {max(of_steps):.4f} between single steps"
    )


def _print_ratios(setting: Setting, sides: dict[str, Side]) -> None:
    reference, ours = sides["reference"], sides["ours"]
    if setting.epochs > 1:
        later, target = ours.rate(1) / reference.rate(1), TARGETS[setting.accelerator]
        computed = reference.cpu_seconds(1) / ours.cpu_seconds(1)
        print(
            f"ratio ours / reference from the second epoch on: {later:.2f} by the medians "
            f"(target {target}); {computed:.2f} by the CPU's seconds, which other programs of "
            "the machine move less"
        )
    whole = ours.rate() / reference.rate()
    computed = reference.cpu_seconds() / ours.cpu_seconds()
    print(
        f"ratio ours / reference, the whole run: {whole:.2f}; {computed:.2f} by the CPU's seconds"
    )
    if "tensors" in sides and setting.epochs > 1:
        share = ours.rate(1) / sides["tensors"].rate(1)
        target_text = f" (target {TENSORS_TARGET})" if setting.accelerator == "cuda" else ""
        print(f"ratio ours / the same network on tensors that are there: {share:.2f}{target_text}")


def _print_shares(setting: Setting, sides: dict[str, Side], limits: Side) -> None:
    """The share of the matrix rate, over epochs in which nothing is frozen or filled."""
    after = max(1, setting.warmup)
    if after >= setting.epochs:
        print(f"share of the matrix rate: needs more than {after} epochs")
        return
    flops = limits.ready["flops"]
    best: dict[str, float] = {}
    for epoch in limits.epochs:
        for name, rate in epoch.matrix_rates.items():
            best[name] = max(best.get(name, 0.0), rate)
    told = ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in best.items())
    print(f"matrix rate: {told}; an image needs {flops / 1e9:.2f} GFLOP")
    for name, side in sides.items():
        units = limits.ready["formats"][name]
        reached = side.rate(after) * flops
        print(
            f"{SIDES[name]:>10}: {reached / 1e9:7.0f} GFLOP/s, "
            f"{100 * reached / best[units]:.0f} % of the matrix rate of {units}"
        )


def main() -> None:
    """Draw the data where none is given, then run each fusion."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", help="default: imagenet where a package brings them, or none")
    parser.add_argument("--fusion", nargs="+", choices=["none", "edge"], default=["none", "edge"])
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=0, help="first epochs, backbone frozen")
    parser.add_argument("--workers", type=int, default=8, help="of the reference loop")
    parser.add_argument("--data", type=Path, help="a dataset in the training layout")
    parser.add_argument("--accelerator", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", help="of ours; default: 32, on CUDA bf16-mixed")
    parser.add_argument("--compile", action="store_true", help="ours and the tensors' side")
    parser.add_argument(
        "--tensors",
        action="store_true",
        help="measure the network on tensors that lie on the device (on CUDA always)",
    )
    if sys.argv[1:2] and sys.argv[1].startswith("--side="):
        serve(sys.argv[1].removeprefix("--side="), Setting(**json.loads(sys.argv[2])))
        return
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for fusion in options.fusion:
            setting = Setting.of(options, fusion, Path(folder))
            compare(setting, tensors=options.tensors or options.accelerator == "cuda")


if __name__ == "__main__":
    main()
