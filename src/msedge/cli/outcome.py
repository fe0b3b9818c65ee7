"""What a run came to: the figures before and after, the picture, and where everything lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from msedge.data.images import open_image
from msedge.data.vectors import Vectors, load_vectors
from msedge.evaluation.ranking import top_k
from msedge.figures.montage import Result, Row, retrieval_montage, save_montage
from msedge.training.trainer import RunResult

HEADLINE = ("mAP@200", "mAP@all", "P@100", "P@200")
_QUERIES, _RESULTS, _THUMB = 8, 8, 96
_PICTURE_SIZE = 2 * _THUMB  # the montage is drawn at twice the size of its thumbs


def show_outcome(result: RunResult) -> None:
    """Draw the retrieval figure, then print the metrics and the paths of a finished run."""
    vectors = load_vectors(result.files.vectors)
    name = result.files.figure.stem.removesuffix("_retrieval")
    title = f"{name}: unseen classes, each asked with its first sketch"
    draw_retrieval(vectors, result.files.figure, title=title)

    console = Console(highlight=False)
    table = Table(title="Unseen classes, in percent (standard convention)", title_justify="left")
    table.add_column("")
    for name in result.before:
        table.add_column(name, justify="right", style="bold" if name in HEADLINE else "dim")
    for label, metrics in (
        ("before training", result.before),
        (f"after epoch {result.selected}", result.after),
    ):
        table.add_row(label, *(f"{value:.1f}" for value in metrics.values()))
    console.print(table)
    console.print(f"checkpoint chosen by: {result.selected_by}", markup=False)
    files = result.files
    for label, path in (
        ("results", files.results),
        ("log", files.log),
        ("weights", files.model),
        ("vectors", files.vectors),
        ("record", files.record),
        ("figure", files.figure),
    ):
        console.print(f"{label:8} {path}", markup=False, soft_wrap=True)


def draw_retrieval(vectors: Vectors, path: Path, *, title: str) -> None:
    """Some sketches with the photos found first, as a picture.

    The classes are spread evenly over the set and each is asked with its first sketch, so the
    picture shows what is found and not what was found best.

    Args:
        vectors: embeddings of both domains, with paths that can be opened.
        path: where to write the PNG.
        title: printed above.
    """
    sketches, photos = vectors.of("sketch"), vectors.of("photo")
    labels = np.unique(vectors.labels[sketches])
    spread = np.linspace(0, len(labels) - 1, num=min(_QUERIES, len(labels))).round().astype(int)
    asked = [
        int(sketches[np.flatnonzero(vectors.labels[sketches] == label)[0]])
        for label in labels[spread]
    ]
    similarity, positions = top_k(
        vectors.embeddings[asked], vectors.embeddings[photos], min(_RESULTS, len(photos))
    )
    rows = [
        Row(
            image=open_image(Path(vectors.paths[query]), size=_PICTURE_SIZE),
            class_name=vectors.classes[vectors.labels[query]],
            results=tuple(
                Result(
                    image=open_image(Path(vectors.paths[photo]), size=_PICTURE_SIZE),
                    class_name=vectors.classes[vectors.labels[photo]],
                    similarity=float(score),
                    relevant=bool(vectors.labels[photo] == vectors.labels[query]),
                )
                for photo, score in zip(photos[found], scores, strict=True)
            ),
        )
        for query, scores, found in zip(asked, similarity, positions, strict=True)
    ]
    save_montage(retrieval_montage(rows, title=title, thumb=_THUMB), path)
