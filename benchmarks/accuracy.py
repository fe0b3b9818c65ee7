"""Accuracy of configurations on prepared data: each with several seeds, as a Markdown table.

Every run is the command line itself, in a process of its own; runs that are finished are not
repeated. The table gives the mean over seeds, the deviation, and the 95 % t-interval of the mean
for mAP@all on the unseen classes and on the held-out seen ones (by which to choose between
configurations), and the longest run.

    python benchmarks/accuracy.py --data-root data --data-name sketchy \
        --config configs/sketchy-mini.yaml --seeds 0 1 2 \
        --variant "as committed" --variant "proxy anchor: loss=proxy_anchor"
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from msedge.benchmark.intervals import over_seeds

METRICS = ("mAP@all", "mAP@200", "P@100", "P@200", "P@10", "P@25")


def run(options: argparse.Namespace, settings: list[str], seed: int, folder: Path) -> Path:
    """Train once, unless it was done; return the run's record."""
    done = sorted(folder.glob("*_run.json"))
    if done and json.loads(done[0].read_text())["finished"]:
        return done[0]
    command = [sys.executable, "-m", "msedge", "train", "--resume"]
    command += ["--data-root", str(options.data_root), "--data-name", options.data_name]
    command += ["--config", str(options.config)] if options.config else []
    command += ["--save-root", str(folder), "--seed", str(seed)]
    for setting in settings:
        name, value = setting.split("=", 1)
        command += [f"--{name.replace('_', '-')}", value]
    start = time.monotonic()
    subprocess.run(command, check=True)
    (record,) = folder.glob("*_run.json")
    (folder / "seconds").write_text(f"{time.monotonic() - start:.0f}")
    return record


def interval(values: list[float]) -> str:
    """Mean, deviation, and half the 95 % interval of the mean."""
    found = over_seeds(values)
    if found.half is None:
        return f"{found.mean:.1f}"
    return f"{found.mean:.1f} (s {found.deviation:.1f}, ± {found.half:.1f})"


def outcome(record: dict[str, Any]) -> dict[str, float]:
    """The selected epoch's figures, and what it was selected by."""
    row = next(r for r in record["epochs"] if r["epoch"] == record["selected_epoch"])
    return {**row["metrics"], "selection": row["selection_value"], "epoch": row["epoch"]}


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--data-name", default="sketchy")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--save-root", type=Path, default=Path("result/accuracy"))
    parser.add_argument(
        "--variant",
        action="append",
        help="'name: setting=value setting=value'; repeat for several",
    )
    options = parser.parse_args()
    print("| configuration | seeds | held-out mAP@all | " + " | ".join(METRICS) + " | longest |")
    print("|---" * (len(METRICS) + 4) + "|")
    for variant in options.variant or ["as configured"]:
        name, _, settings = variant.partition(":")
        outcomes, seconds = [], []
        for seed in options.seeds:
            folder = options.save_root / name.strip().replace(" ", "-") / f"seed-{seed}"
            record = run(options, settings.split(), seed, folder)
            outcomes.append(outcome(json.loads(record.read_text())))
            seconds.append(int((folder / "seconds").read_text()))
        cells = [interval([o["selection"] for o in outcomes])]
        cells += [interval([o[metric] for o in outcomes]) for metric in METRICS]
        longest = f"{max(seconds) / 60:.1f} min"
        print(f"| {name.strip()} | {len(outcomes)} | {' | '.join(cells)} | {longest} |", flush=True)


if __name__ == "__main__":
    main()
