"""Commands run in this process, as a person would type them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int | str | None
    out: str
    err: str


@pytest.fixture
def type_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run an entry point with arguments."""

    def run(main: Callable[[], None], *arguments: object) -> Answer:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("MSEDGE_DEBUG", "")  # and is put back, whatever --debug does to it
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        return Answer(left.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def tiny_options(tiny_root: Path, tmp_path: Path) -> dict[str, object]:
    """Settings of a run on ``tiny`` that takes a second, by field."""
    return {
        "data_root": tiny_root,
        "data_name": "tiny",
        "backbone": "test_efficientnet",
        "weights": "none",
        "dim": 16,
        "image_size": 32,
        "batch_size": 8,
        "epochs": 1,
        "warmup": 0,
        "accelerator": "cpu",
        "select": "last",
        "save_root": tmp_path / "result",
        "cache_dir": str(tmp_path / "cache"),  # not in the data root, which tests share
    }


@pytest.fixture
def paper_options(tiny_options: dict[str, object]) -> Callable[..., list[str]]:
    """The same as arguments of ``main.py``, with changes; None leaves a setting out."""
    names = {"backbone": "backbone_type", "dim": "proj_dim"}

    def spell(**changes: object) -> list[str]:
        settings = tiny_options | changes
        given = {name: value for name, value in settings.items() if value is not None}
        return [text for n, v in given.items() for text in (f"--{names.get(n, n)}", str(v))]

    return spell


@dataclass(frozen=True)
class Made:
    """Features of sketches and photos, and the two archives that hold them."""

    queries: NDArray[np.float32]
    gallery: NDArray[np.float32]
    query_classes: list[str]
    gallery_classes: list[str]
    query_paths: list[str]
    gallery_paths: list[str]
    files: tuple[Path, Path]

    def ids(self, classes: list[str]) -> NDArray[np.int64]:
        """Classes as integers, in alphabetical order."""
        return np.unique(self.gallery_classes + classes, return_inverse=True)[1][-len(classes) :]


@pytest.fixture
def made_features(tmp_path: Path) -> Callable[..., Made]:
    """Write features of some classes: 4 sketches of each, and 5, 6, 7 ... photos."""

    def make(
        stem: str = "own",
        classes: tuple[str, ...] = ("bat", "cow", "hot air balloon"),
        *,
        seed: int = 0,
        dim: int = 8,
    ) -> Made:
        rng, sides = np.random.default_rng(seed), []
        centres = rng.normal(size=(len(classes), dim))
        for domain, counts in (("sketch", [4] * len(classes)), ("photo", range(5, 99))):
            labels = np.repeat(np.arange(len(classes)), list(counts)[: len(classes)])
            names = [classes[label] for label in labels]
            first = {label: int(np.flatnonzero(labels == label)[0]) for label in labels}
            numbers = [row - first[label] for row, label in enumerate(labels)]
            end = "-1.png" if domain == "sketch" else ".jpg"
            paths = [f"{domain}/{n}/n0{n[0]}_{i}{end}" for n, i in zip(names, numbers, strict=True)]
            vectors = centres[labels] + 1.5 * rng.normal(size=(len(labels), dim))
            file = tmp_path / f"{stem}_{domain}.npz"
            np.savez(file, x=vectors.astype(np.float32), y=names, paths=paths)
            sides.append((vectors.astype(np.float32), names, paths, file))
        (queries, asked, drawn, one), (gallery, kept, shown, other) = sides
        return Made(queries, gallery, asked, kept, drawn, shown, (one, other))

    return make
