"""Accuracy of a search through the real files, beside ``msedge evaluate`` of PyTorch's vectors.

``python benchmarks/search.py accuracy`` prints it, ``tests/search/test_whole_path.py`` holds it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from msedge.data.class_names import squeeze
from msedge.data.layouts import Record
from msedge.data.protocols import load_protocol
from msedge.models.shipped import find_model
from msedge.search.gallery import Gallery
from msedge.system import usable_cpus

MSEDGE = (sys.executable, "-m", "msedge")
PHOTOS = "sketchy-mini/256x256/photo/tx_000000000000"
SKETCHES = "sketchy-mini/256x256/sketch/tx_000000000000"
JUDGED = "msedge-lite-sketchy21"


def data(below: str) -> Path | None:
    """A folder of the real set; None where there is none."""
    root = Path(os.environ.get("MSEDGE_TEST_DATA", "")) / below
    return root if os.environ.get("MSEDGE_TEST_DATA") and root.is_dir() else None


def run(*words: object) -> str:
    """What a command prints."""
    done = subprocess.run(
        [*MSEDGE, *map(str, words)], capture_output=True, text=True, check=False, timeout=3600
    )
    if done.returncode:
        raise SystemExit(f"msedge {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def evaluation_loop(model: str, records: Sequence[Record], threads: int) -> Callable[[], object]:
    """Embedding as ``msedge evaluate`` and training do it: PyTorch, every image read anew."""
    import torch

    from msedge.data.datasets import ImageSet
    from msedge.models.checkpoint import load_checkpoint
    from msedge.training.embedding import embed

    torch.set_num_threads(threads)
    network, card = load_checkpoint(find_model(model))
    images = ImageSet(
        records,
        sorted({record.class_name for record in records}),
        size=card.image_size,
        frame_sketches=card.frame_sketches,
    )
    device = torch.device("cpu")
    return lambda: embed(network, images, device=device, edge_weight=card.gallery_edges)


def unseen_records() -> list[Record]:
    """Sketches and photos of the classes that ``sketchy-21`` keeps from training."""
    photos, sketches = data(PHOTOS), data(SKETCHES)
    if photos is None or sketches is None:
        raise SystemExit("MSEDGE_TEST_DATA does not name a folder with sketchy-mini")
    unseen = {squeeze(name) for name in load_protocol("sketchy-21").unseen}
    return [
        Record(path, domain, path.parent.name)
        for domain, root in (("sketch", sketches), ("photo", photos))
        for path in sorted(root.glob("*/*"))
        if squeeze(path.parent.name) in unseen
    ]


def metrics_of_search(gallery: Path, records: Sequence[Record]) -> dict[str, float]:
    """mAP@all and P@100 of what a search finds, in percent; a photo's class is its folder."""
    precisions, first = [], []
    with Gallery.open(gallery) as opened:
        for record in (record for record in records if record.domain == "sketch"):
            hits = opened.search(record.path, k=opened.photos, collapse=False)
            right = np.array([hit.photo.folder.name == record.class_name for hit in hits])
            places = np.flatnonzero(right) + 1
            precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
            first.append(right[:100].mean())
    return {"mAP@all": 100 * float(np.mean(precisions)), "P@100": 100 * float(np.mean(first))}


def accuracy(folder: Path, model: str = JUDGED) -> dict[str, dict[str, float]]:
    """Metrics in percent by three ways: ``evaluate``, ``search``, and ``int8``."""
    from msedge.data.vectors import Vectors, save_vectors

    records = unseen_records()
    vectors = evaluation_loop(model, records, usable_cpus())()
    assert isinstance(vectors, Vectors)
    save_vectors(folder / "vectors.safetensors", vectors)
    words = ("--convention", "standard", "--no-intervals", "--json")
    told = json.loads(run("evaluate", *[folder / "vectors.safetensors"] * 2, *words))
    photos = sorted({record.path.parent for record in records if record.domain == "photo"})
    run("index", *photos, "--gallery", folder / "float.msedge", "--model", model)
    eight = folder / "int8.onnx"
    calibration = ("--precision", "int8", "--gallery", folder / "float.msedge")
    run("export", model, "--out", eight, *calibration)
    run("index", *photos, "--gallery", folder / "int8.msedge", "--model", eight)
    return {
        "evaluate": {
            name: 100 * told["results"]["standard"][name]["mean"] for name in ("mAP@all", "P@100")
        },
        "search": metrics_of_search(folder / "float.msedge", records),
        "int8": metrics_of_search(folder / "int8.msedge", records),
    }
