"""Vectors on disk: whatever is written comes back, and a damaged file is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file, save_file

from msedge.data.vectors import FORMAT, Vectors, load_vectors, save_vectors
from msedge.errors import DataError


def some_vectors() -> Vectors:
    return Vectors(
        embeddings=np.eye(3, 4, dtype=np.float32),
        labels=np.array([1, 0, 1]),
        domains=np.array([0, 1, 1]),
        classes=("cat", "dog"),
        paths=("sketch/dog/1.png", "photo/cat/1.jpg", "photo/dog/1.jpg"),
    )


@st.composite
def any_vectors(draw: st.DrawFn) -> Vectors:
    rows, dim = draw(st.integers(0, 6)), draw(st.integers(0, 5))
    floats = st.floats(width=32, allow_nan=True, allow_infinity=True)
    classes = draw(st.lists(st.text(), min_size=1, max_size=4))
    return Vectors(
        embeddings=draw(arrays.arrays(np.float32, (rows, dim), elements=floats)),
        labels=draw(arrays.arrays(np.int64, rows, elements=st.integers(0, len(classes) - 1))),
        domains=draw(arrays.arrays(np.int64, rows, elements=st.integers(0, 1))),
        classes=tuple(classes),
        paths=tuple(draw(st.lists(st.text(), min_size=rows, max_size=rows))),
    )


def assert_same(read: Vectors, written: Vectors) -> None:
    for name in ("embeddings", "labels", "domains"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name), strict=True)
    assert (read.classes, read.paths) == (written.classes, written.paths)


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "vectors.safetensors"
    save_vectors(path, some_vectors())
    return path


def rewrite(path: Path, tensors: dict[str, object] | None = None, **metadata: str | None) -> None:
    """Write the file again with other tensors or metadata; None takes one out."""
    meta = {
        "format": FORMAT,
        "classes": '["cat", "dog"]',
        "paths": '["a", "b", "c"]',
    } | metadata
    kept = load_file(path) | (tensors or {})
    save_file(
        {name: array for name, array in kept.items() if array is not None},
        path,
        {key: value for key, value in meta.items() if value is not None},
    )


class TestSmoke:
    def test_rows_of_a_domain(self):
        vectors = some_vectors()
        assert vectors.of("sketch").tolist() == [0]
        assert vectors.of("photo").tolist() == [1, 2]

    def test_a_new_save_takes_the_place_of_the_old(self, saved):
        fewer = Vectors(
            np.ones((1, 2), np.float32), np.zeros(1, int), np.ones(1, int), ("x",), ("y",)
        )
        save_vectors(saved, fewer)
        assert_same(load_vectors(saved), fewer)
        assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


class TestExceptions:
    @pytest.mark.parametrize("name", ["absent.safetensors", "."])
    def test_no_such_file(self, tmp_path, name):
        with pytest.raises(DataError, match=r"no vectors at .*; msedge train writes them"):
            load_vectors(tmp_path / name)

    @pytest.mark.parametrize(
        "content", [b"", b"vectors", b"\xff" * 100, (10**6).to_bytes(8, "little") + b"{}"]
    )
    def test_a_file_of_something_else(self, saved, content):
        saved.write_bytes(content)
        with pytest.raises(DataError, match=r"are damaged \(.+\); write them anew") as caught:
            load_vectors(saved)
        assert str(saved) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_file_cut_short_anywhere(self, saved):
        content = saved.read_bytes()
        for length in range(0, len(content), 7):
            saved.write_bytes(content[:length])
            with pytest.raises(DataError, match="are damaged"):
                load_vectors(saved)

    @pytest.mark.parametrize("written", [None, "pt", "msedge-checkpoint-1"])
    def test_anothers_safetensors(self, saved, written):
        rewrite(saved, format=written)
        with pytest.raises(DataError, match="does not hold vectors of MSEdge") as caught:
            load_vectors(saved)
        assert FORMAT in str(caught.value)

    @pytest.mark.parametrize("name", ["embeddings", "labels", "domains"])
    def test_a_missing_tensor(self, saved, name):
        rewrite(saved, {name: None})
        with pytest.raises(DataError, match=rf"are damaged \(.*{name}"):
            load_vectors(saved)

    @pytest.mark.parametrize("key", ["classes", "paths"])
    @pytest.mark.parametrize("value", [None, "", "[", "5", "null"])
    def test_damaged_names(self, saved, key, value):
        rewrite(saved, **{key: value})
        with pytest.raises(DataError, match=r"are damaged .*write them anew"):
            load_vectors(saved)

    @pytest.mark.parametrize(
        ("tensors", "metadata"),
        [
            ({"embeddings": np.eye(2, dtype=np.float32)}, {}),
            ({"embeddings": np.zeros(3, dtype=np.float32)}, {}),
            ({"labels": np.zeros(2, dtype=np.int64)}, {}),
            ({"labels": np.array(3)}, {}),
            ({"labels": np.zeros((3, 2), dtype=np.int64)}, {}),
            ({"domains": np.zeros(4, dtype=np.int64)}, {}),
            ({}, {"paths": '["a"]'}),
        ],
    )
    def test_counts_that_differ(self, saved, tensors, metadata):
        rewrite(saved, tensors, **metadata)
        with pytest.raises(DataError, match="need as many labels, domains and paths; got"):
            load_vectors(saved)

    def test_a_folder_that_cannot_be_made(self, saved):
        with pytest.raises(DataError, match=r"cannot write .*; choose a folder"):
            save_vectors(saved / "vectors.safetensors", some_vectors())


class TestNumbers:
    @settings(max_examples=50, deadline=None)
    @given(written=any_vectors())
    def test_whatever_is_written_comes_back(self, tmp_path_factory, written):
        path = tmp_path_factory.mktemp("vectors") / "vectors.safetensors"
        save_vectors(path, written)
        assert_same(load_vectors(path), written)

    def test_paths_that_are_not_unicode_come_back(self, tmp_path):
        odd = "photo/\udcff.png"  # how Python names a file of the byte 0xff
        vectors = Vectors(
            np.ones((1, 1), np.float32), np.zeros(1, int), np.ones(1, int), ("a",), (odd,)
        )
        save_vectors(tmp_path / "v.safetensors", vectors)
        assert load_vectors(tmp_path / "v.safetensors").paths == (odd,)

    def test_other_types_and_orders_in_memory_are_written_as_documented(self, tmp_path):
        embeddings = np.arange(6, dtype=np.float64).reshape(2, 3)
        vectors = Vectors(
            np.asfortranarray(embeddings)[:, ::-1],
            np.array([1, 0], np.int32),
            np.array([0, 1], np.uint8),
            ("a", "b"),
            ("x", "y"),
        )
        save_vectors(tmp_path / "v.safetensors", vectors)
        read = load_vectors(tmp_path / "v.safetensors")
        np.testing.assert_array_equal(
            read.embeddings, np.array([[2, 1, 0], [5, 4, 3]], np.float32), strict=True
        )
        assert (read.labels.dtype, read.domains.dtype) == (np.int64, np.int64)
        assert (read.labels.tolist(), read.domains.tolist()) == ([1, 0], [0, 1])
