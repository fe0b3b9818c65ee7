"""Commands that write one file or folder, on a disk that fills up at any point of it.

Each is typed with so many kB left, from none to enough: one line and status 2, what stood there
before stands, nothing else is left, and with room the same command ends well.
"""

from __future__ import annotations

import numpy as np
import pytest

from cards import CARD
from encoders import ColourEncoder
from galleries import make_gallery, photo
from msedge.cli.search_sheet import write_sheet
from msedge.data.vectors import Vectors, save_vectors
from msedge.errors import DataError
from msedge.models.checkpoint import save_checkpoint
from msedge.models.network import MSEdge
from msedge.search.gallery import Gallery

_EVERY = pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])


def amounts(most: int, steps: int, every: int) -> list[int]:
    """The kilobytes to leave on the disk: from none to enough."""
    return [*range(0, most, max(most * every // steps, 4)), most]


def hold_up(disk, type_in, target, command, sizes) -> None:
    """Type a command with ever more room, where a target stands and where none does."""
    codes = set()
    for old in (None, b"old"):
        for kilobytes in sizes:
            disk.empty()
            if old is not None:
                target.write_bytes(old)
            disk.leave(kilobytes)
            answer = type_in(*command)
            codes.add(answer.code)
            if answer.code:
                assert answer.code == 2
                assert len(answer.lines) == 1, answer.err
                assert "No space left" in answer.lines[0]
                assert str(target.name) in answer.lines[0]
                assert disk.names() == (set() if old is None else {target.name})
                assert old is None or target.read_bytes() == old
            disk.make_room()
            assert type_in(*command).code == 0
            assert disk.names() == {target.name}
    assert codes == {0, 2}


@pytest.fixture
def vectors(tmp_path):
    rng = np.random.default_rng(0)
    count, classes = 400, 20
    vectors = rng.standard_normal((count, 16)).astype(np.float32)
    path = tmp_path / "vectors.safetensors"
    save_vectors(
        path,
        Vectors(
            embeddings=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
            labels=np.arange(count, dtype=np.int64) % classes,
            domains=(np.arange(count) // classes) % 2,
            classes=tuple(f"class {number}" for number in range(classes)),
            paths=tuple(f"{number}.png" for number in range(count)),
        ),
    )
    return path


@_EVERY
def test_evaluate_writes_a_row_a_query(disk, type_in, vectors, every):
    rows = disk.root / "rows.csv"
    command = ["evaluate", vectors, vectors, "--per-query", rows, "--no-intervals"]
    hold_up(disk, type_in, rows, command, amounts(80, 20, every))


@_EVERY
def test_search_writes_a_page(disk, tmp_path, every):
    gallery = make_gallery(tmp_path, {f"{n}.png": photo("red", mark=n) for n in range(9)})
    page, codes = disk.root / "page.html", set()
    with Gallery.open(gallery, model=ColourEncoder()) as opened:
        drawing = tmp_path / "photos" / "0.png"
        hits = opened.search(drawing, k=9)
        for kilobytes in amounts(80, 20, every):
            disk.empty()
            disk.leave(kilobytes)
            line = "wrote it"
            try:
                write_sheet(page, hits, opened, sketches=[("sketch", drawing)], photos=[])
            except DataError as error:
                line = str(error)
            codes.add(page.exists())
            assert page.exists() or "No space left" in line
            assert disk.names() <= {"page.html"}
    assert codes == {False, True}


@pytest.mark.slow
def test_export_writes_a_model(disk, type_in, tmp_path):
    network = MSEdge(CARD.backbone, dim=CARD.dim, fusion=CARD.fusion, image_size=CARD.image_size)
    checkpoint, onnx = tmp_path / "model.safetensors", disk.root / "model.onnx"
    save_checkpoint(checkpoint, network.eval(), CARD)
    for kilobytes in (0, 400, 1_200):  # of 1,500
        onnx.write_bytes(b"old")
        disk.leave(kilobytes)
        answer = type_in("export", checkpoint, "--out", onnx)
        assert (answer.code, len(answer.lines)) == (2, 1), answer.err
        assert "No space left" in answer.lines[0]
        assert disk.names() == {"model.onnx"}
        assert onnx.read_bytes() == b"old"
    disk.make_room()
    assert type_in("export", checkpoint, "--out", onnx).code == 0
    assert disk.names() == {"model.onnx"}


@pytest.mark.slow
def test_the_sample_dataset_is_whole_or_not_there(disk, type_in):
    codes = set()
    for kilobytes in (0, 400, 2_000, 4_000, 39_000):
        disk.empty()
        disk.leave(kilobytes)
        answer = type_in("data", "sample", "--data-root", disk.root)
        codes.add(answer.code)
        if answer.code:
            assert answer.code == 2
            assert len(answer.lines) == 1, answer.err
            assert "No space left" in answer.lines[0]
            assert disk.names() == set()
    assert codes == {0, 2}
