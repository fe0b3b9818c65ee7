"""Through the real files, a search ranks as ``msedge evaluate`` says of PyTorch's vectors.

Sketches are found, framed, embedded and ranked by other code than in evaluation; what may differ is
rounding (float16 in the gallery, 8 bits in an exported network), and it must not be felt.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from msedge.data.layouts import Record
from msedge.data.sample import SAMPLE_CLASSES, draw_photo, draw_sketch
from msedge.search.encoder import OnnxEncoder
from msedge.search.gallery import Gallery
from msedge.search.indexing import index

BENCHMARK = Path(__file__).parents[2] / "benchmarks/search_accuracy.py"
ROUNDED, EIGHT_BITS = 0.2, 1.0  # points that the metrics may be off


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search_accuracy", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_unseen_classes_rank_as_evaluate_says(benchmark, tmp_path):
    folder = Path(os.environ.get("MSEDGE_TEST_DATA", "")) / "sketchy-mini"
    if "MSEDGE_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("MSEDGE_TEST_DATA does not name a folder with sketchy-mini")
    found = benchmark.accuracy(tmp_path)
    for way, allowed in (("search", ROUNDED), ("int8", EIGHT_BITS)):
        for name in ("mAP@all", "P@100"):
            print(f"{way} {name} {found[way][name]:.2f}, evaluate {found['evaluate'][name]:.2f}")
            assert found[way][name] == pytest.approx(found["evaluate"][name], abs=allowed), found


def test_the_metrics_are_those_of_evaluate(benchmark, tmp_path):
    """The same vectors judged by both: by hits through the files, and as arrays."""
    from msedge.data.drawings import drawing_pixels, open_drawing
    from msedge.data.images import read_pixels
    from msedge.evaluation.evaluate import evaluate

    records = []
    for label, name in enumerate(SAMPLE_CLASSES[:4]):
        for number in range(3):
            rng = np.random.default_rng([label, number])
            for domain, draw in (("photo", draw_photo), ("sketch", draw_sketch)):
                path = tmp_path / domain / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw(name, rng, 96).convert("RGB").save(path)
                records.append(Record(path, domain, name))
    encoder = OnnxEncoder.load("msedge-lite-sketchy21", threads=1)  # it has no hubs and no names
    index([tmp_path / "photo"], tmp_path / "photos.msedge", encoder, workers=1)
    found = benchmark.metrics_of_search(tmp_path / "photos.msedge", records)

    size = encoder.image_size
    asked = [record for record in records if record.domain == "sketch"]
    kept = [record for record in records if record.domain == "photo"]
    told = evaluate(
        encoder.sketches(np.stack([drawing_pixels(open_drawing(r.path), size) for r in asked])),
        encoder.photos(np.stack([read_pixels(r.path, size) for r in kept])),
        np.array([SAMPLE_CLASSES.index(record.class_name) for record in asked]),
        np.array([SAMPLE_CLASSES.index(record.class_name) for record in kept]),
        at=(len(kept),),
    ).means("standard")
    assert found["mAP@all"] == pytest.approx(100 * told["mAP@all"], abs=0.01)
    assert found["P@100"] == pytest.approx(100 * told[f"P@{len(kept)}"])
    with Gallery.open(tmp_path / "photos.msedge") as gallery:
        assert gallery.photos == len(kept)
