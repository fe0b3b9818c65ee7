"""How well the shipped models find drawn photos of classes that they never saw, to the digit.

Twelve photos and six sketches of each unseen class of the sample set; the photos are indexed, and
each sketch is searched for. What is counted is how many of the first ten are of its class; mAP is
over all photos. These are no claims about real photos (``docs/results.md`` has those): they say
whether anything between a file and a ranking has changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import msedge
from msedge.data.sample import SAMPLE_UNSEEN, write_sample

PHOTOS, SKETCHES = 12, 6
TABLE = "accuracy.json"
MODELS = ["msedge-lite", "msedge-lite-1", "msedge-lite-sketchy21"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The unseen classes: a folder of photos and one of sketches, each with a folder a class."""
    root = tmp_path_factory.mktemp("sample")
    return write_sample(root, photos=PHOTOS, sketches=SKETCHES) / "val"


@pytest.fixture(scope="module", params=MODELS)
def gallery(request, sample, tmp_path_factory, type_in):
    path = tmp_path_factory.mktemp("gallery") / "photos.msedge"
    index = ("index", sample / "photo", "--gallery", path, "--model", request.param, "--json")
    answer = type_in(*index).document()
    assert (answer["photos"], answer["skipped"]) == (PHOTOS * len(SAMPLE_UNSEEN), [])
    with msedge.Gallery.open(path) as opened:
        assert opened.model.name == request.param
        yield opened


@pytest.fixture(scope="module")
def rankings(gallery, sample):
    """By class: of each sketch, which photos are of its class, best first."""
    whole = {"k": PHOTOS * len(SAMPLE_UNSEEN), "collapse": False}
    return {
        name: np.array(
            [
                [hit.photo.path.parent.name == name for hit in gallery.search(sketch, **whole)]
                for sketch in sorted((sample / "sketch" / name).iterdir())
            ]
        )
        for name in SAMPLE_UNSEEN
    }


def average_precision(right: np.ndarray) -> float:
    """The mean of the precisions at the ranks of what is right."""
    ranks = np.flatnonzero(right) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def test_every_photo_is_ranked_for_every_sketch(rankings):
    for right in rankings.values():
        assert right.shape == (SKETCHES, PHOTOS * len(SAMPLE_UNSEEN))
        assert (right.sum(axis=1) == PHOTOS).all()


def test_right_in_the_first_ten(golden, gallery, rankings):
    by_class = {name: right[:, :10].sum(axis=1).tolist() for name, right in rankings.items()}
    total = sum(sum(counts) for counts in by_class.values())
    asked = SKETCHES * len(SAMPLE_UNSEEN)
    assert total > 3 * 10 * asked / len(SAMPLE_UNSEEN)  # thrice what chance finds
    found = {"of each sketch": by_class, "together": total}
    golden.entry(TABLE, f"{gallery.model.name}: right in the first ten", found)


def test_mean_average_precision(golden, gallery, rankings):
    precisions = [average_precision(each) for right in rankings.values() for each in right]
    found = {"mAP": float(np.mean(precisions)), "sketches": len(precisions)}
    golden.entry(TABLE, f"{gallery.model.name}: mean average precision", found, within=1e-4)


def test_what_made_the_vectors(golden, gallery):
    """Galleries hold the fingerprint: other weights would be another model."""
    model = gallery.model
    golden.entry(TABLE, f"{model.name}: of vectors", [model.fingerprint, model.dim])


def test_the_models_are_those(golden, type_in):
    found = type_in("models", "--json").document()
    assert sorted(model["name"] for model in found) == MODELS
    for model in found:
        for file in ("checkpoint", "onnx"):
            model[file] = Path(model[file]).name
    golden.entry(TABLE, "models", found)
