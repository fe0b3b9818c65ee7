"""What models cost beside each other: photos a second, a query, weights, memory, bytes a photo.

    MSEDGE_TEST_DATA=DIR python benchmarks/model_cost.py --model msedge-lite-1 --model msedge-lite

Each model in turn, round after round, since other programs of the machine slow all down: `msedge
index` of the same photos in a process of its own, whose peak memory is told, then drawings asked in
this process of the gallery that it made (names and hubs as they come). Medians.
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
from collections import defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from msedge.models.bank import bank_path
from msedge.models.shipped import describe_model
from msedge.search.gallery import Gallery
from search import copied_photos, drawings

MB = 1e6


def index_once(model: str, photos: Path, gallery: Path) -> tuple[float, float]:
    """Photos a second, and the peak memory in MB."""
    gallery.unlink(missing_ok=True)
    command = [sys.executable, "-m", "msedge", "index", str(photos), "--json"]
    command += ["--gallery", str(gallery), "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"msedge index failed with {process.returncode}")
    return told["photos_per_second"], usage.ru_maxrss * 1024 / MB


def main() -> None:
    """Measure, and print a column for each model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs to index copies of")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {m: defaultdict(list) for m in options.model}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copied_photos(options.photos, folder / "photos", options.count)
        asked = drawings(20)
        for _ in range(options.rounds):
            for model, figures in found.items():
                gallery = folder / f"{Path(model).name}.msedge"
                rate, memory = index_once(model, folder / "photos", gallery)
                figures["photos a second, msedge index"].append(rate)
                figures["MB of memory, msedge index"].append(memory)
                with Gallery.open(gallery) as opened:
                    opened.search(asked[0])  # loads the model
                    for drawing in asked:
                        begun = time.perf_counter()
                        opened.search(drawing)
                        figures["ms a query"].append(1e3 * (time.perf_counter() - begun))
                figures["bytes a photo"].append(gallery.stat().st_size / options.count)
        for model, figures in found.items():
            described = describe_model(model)
            bank = bank_path(described.checkpoint)
            size = described.size + (bank.stat().st_size if bank.exists() else 0)
            figures["MB of weights and bank"].append(size / MB)
    print("| | " + " | ".join(Path(model).name for model in found) + " |")
    print("|-" * (len(found) + 1) + "|")
    for row in next(iter(found.values())):
        print(
            f"| {row} | "
            + " | ".join(f"{statistics.median(f[row]):,.1f}" for f in found.values())
            + " |"
        )


if __name__ == "__main__":
    main()
