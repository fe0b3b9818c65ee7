"""What is shown of a finished run: the picture, the figures and the paths."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msedge.cli import outcome
from msedge.cli.outcome import draw_retrieval, show_outcome
from msedge.data.vectors import Vectors, save_vectors
from msedge.errors import DataError
from msedge.figures.montage import Row
from msedge.training.run_files import EpochRow, RunFiles
from msedge.training.trainer import SELECTION, RunResult

BEFORE = {"mAP@200": 10.04, "mAP@all": 11.0, "P@100": 1.0, "P@200": 2.0, "P@10": 3.0, "P@25": 4.0}


def make_vectors(folder: Path, classes: int = 3, photos: int = 4) -> Vectors:
    """Each class on an axis of its own; two sketches a class, and photos ever further off."""
    names, rows, labels, domains = [], [], [], []
    for label in range(classes):
        for domain, count in ((0, 2), (1, photos)):
            for index in range(count):
                path = folder / f"{label}-{domain}-{index}.png"
                Image.new("RGB", (8, 8), (40 * label, 99 * domain, 9 * index)).save(path)
                names.append(str(path))
                vector = np.eye(classes + 1)[label] + 0.3 * index * np.eye(classes + 1)[-1]
                rows.append(vector / np.linalg.norm(vector))
                labels.append(label)
                domains.append(domain)
    return Vectors(
        np.array(rows, np.float32),
        np.array(labels),
        np.array(domains),
        tuple(f"class {label}" for label in range(classes)),
        tuple(names),
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The rows that reach the montage."""
    caught: list[Row] = []

    def montage(rows, **options):
        caught.extend(rows)
        return retrieval_montage(rows, **options)

    retrieval_montage = outcome.retrieval_montage
    monkeypatch.setattr(outcome, "retrieval_montage", montage)
    return caught


class TestPicture:
    def test_is_a_picture(self, tmp_path):
        draw_retrieval(make_vectors(tmp_path), tmp_path / "figure.png", title="t")
        with Image.open(tmp_path / "figure.png") as picture:
            picture.load()
            assert min(picture.size) > 200

    def test_photos_by_falling_similarity(self, tmp_path, drawn):
        draw_retrieval(make_vectors(tmp_path), tmp_path / "figure.png", title="t")
        assert [row.class_name for row in drawn] == ["class 0", "class 1", "class 2"]
        for row in drawn:
            assert [result.relevant for result in row.results] == [True] * 4 + [False] * 4
            assert {result.class_name for result in row.results[:4]} == {row.class_name}
            scores = [result.similarity for result in row.results]
            assert scores == sorted(scores, reverse=True)
            assert scores[0] == pytest.approx(1)
        reds, _, blues = drawn[1].results[2].image.getpixel((4, 4))
        assert (reds, blues) == (40, 18)

    def test_each_class_is_asked_with_its_first_sketch(self, tmp_path, drawn):
        draw_retrieval(make_vectors(tmp_path), tmp_path / "figure.png", title="t")
        assert [row.image.getpixel((4, 4)) for row in drawn] == [(0, 0, 0), (40, 0, 0), (80, 0, 0)]

    def test_many_classes_are_spread_over_the_set(self, tmp_path, drawn):
        draw_retrieval(make_vectors(tmp_path, classes=20), tmp_path / "figure.png", title="t")
        asked = [int(row.class_name.split()[1]) for row in drawn]
        assert len(asked) == 8
        assert (asked[0], asked[-1]) == (0, 19)
        assert all(2 <= b - a <= 3 for a, b in pairwise(asked))

    def test_fewer_photos_than_columns(self, tmp_path, drawn):
        draw_retrieval(make_vectors(tmp_path, classes=2, photos=1), tmp_path / "f.png", title="t")
        assert [len(row.results) for row in drawn] == [2, 2]

    def test_image_that_has_gone(self, tmp_path):
        vectors = make_vectors(tmp_path)
        Path(vectors.paths[0]).unlink()
        with pytest.raises(DataError, match=r"0-0-0\.png: no such file"):
            draw_retrieval(vectors, tmp_path / "figure.png", title="t")
        assert not (tmp_path / "figure.png").exists()


class TestTold:
    @pytest.fixture
    def result(self, tiny_config, tmp_path) -> RunResult:
        files = RunFiles(tiny_config())
        files.results.parent.mkdir()
        save_vectors(files.vectors, make_vectors(tmp_path))
        rows = tuple(
            EpochRow(n, 1.0, {name: value + 20 * n for name, value in BEFORE.items()}, n, 1.0)
            for n in (1, 2, 3)
        )
        return RunResult(files, BEFORE, rows, 2, SELECTION["last"])

    def test_figures_before_and_of_the_selected_epoch(self, result, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "100")
        show_outcome(result)
        lines = capsys.readouterr().out.splitlines()
        cells = [[c.strip() for c in line.split("│")[1:-1]] for line in lines if "│" in line]
        assert ["before training", "10.0", "11.0", "1.0", "2.0", "3.0", "4.0"] in cells
        assert ["after epoch 2", "50.0", "51.0", "41.0", "42.0", "43.0", "44.0"] in cells

    def test_fits_a_terminal_of_80_columns(self, result, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        show_outcome(result)
        out = capsys.readouterr().out
        assert all(name in out for name in BEFORE)

    def test_paths_are_whole_and_the_figure_is_there(self, result, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        show_outcome(result)
        out = capsys.readouterr().out
        files = result.files
        for path in (files.results, files.model, files.vectors, files.record, files.figure):
            assert str(path) in out
        assert files.figure.is_file()

    @pytest.mark.parametrize("select", SELECTION)
    def test_how_the_checkpoint_was_chosen(self, result, capsys, select):
        chosen = RunResult(result.files, BEFORE, result.rows, 2, SELECTION[select])
        show_outcome(chosen)
        assert f"checkpoint chosen by: {SELECTION[select]}\n" in capsys.readouterr().out
