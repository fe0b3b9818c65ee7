"""Files of features: which array is which, and what each kind of damage is told as."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msedge.data.feature_files import (
    CLASS_NAMES,
    LABEL_NAMES,
    PATH_NAMES,
    VECTOR_NAMES,
    read_labels,
    read_stored,
)
from msedge.data.vectors import Vectors, save_vectors
from msedge.errors import DataError

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def archive(tmp_path: Path):
    """Write an archive of some arrays."""

    def write(**arrays: Any) -> Path:
        np.savez(tmp_path / "f.npz", **arrays)
        return tmp_path / "f.npz"

    return write


class TestArchive:
    @pytest.mark.parametrize("name", [*VECTOR_NAMES, "X", "Features"])
    def test_vectors_under_each_usual_name(self, archive, name):
        noise = np.zeros((9, 9))
        stored = read_stored(archive(noise=noise, other=noise, **{name: VECTORS}))
        assert np.array_equal(stored.embeddings, VECTORS)
        assert (stored.labels, stored.domains, stored.paths) == (None, None, None)

    def test_the_only_matrix_of_floats_is_the_vectors(self, archive):
        found = read_stored(archive(arr_0=VECTORS, arr_1=np.eye(4, dtype=int), arr_2=np.ones(4)))
        assert np.array_equal(found.embeddings, VECTORS)

    def test_of_two_names_the_first_of_the_list_wins(self, archive):
        stored = read_stored(archive(features=VECTORS + 1, embeddings=VECTORS))
        assert np.array_equal(stored.embeddings, VECTORS)

    def test_type_is_kept_and_compression_read(self, tmp_path):
        np.savez_compressed(tmp_path / "f.npz", x=VECTORS.astype(np.float16))
        assert read_stored(tmp_path / "f.npz").embeddings.dtype == np.float16

    @pytest.mark.parametrize("name", LABEL_NAMES)
    def test_labels(self, archive, name):
        stored = read_stored(archive(x=VECTORS, **({name: [3, 1, 1, 2]})))
        assert stored.labels == [3, 1, 1, 2]

    @pytest.mark.parametrize("name", CLASS_NAMES)
    def test_class_names_alone_are_labels(self, archive, name):
        stored = read_stored(archive(x=VECTORS, **({name: ["a", "b", "a", "b"]})))
        assert stored.labels == ("a", "b", "a", "b")

    def test_class_names_that_integer_labels_count(self, archive):
        stored = read_stored(archive(x=VECTORS, y=[1, 0, 1, 1], classes=["cow", "pear"]))
        assert stored.labels == ["pear", "cow", "pear", "pear"]

    def test_names_of_bytes_and_names_of_digits(self, archive):
        stored = read_stored(archive(x=VECTORS, y=np.array([b"k\xc3\xbch"] * 4)))
        assert stored.labels == ("küh",) * 4
        assert read_stored(archive(x=VECTORS, y=["01", "2", "-3", "+4"])).labels == [1, 2, -3, 4]

    @pytest.mark.parametrize("name", PATH_NAMES)
    def test_paths(self, archive, name):
        stored = read_stored(archive(x=VECTORS, **({name: list("abcd")})))
        assert stored.paths == tuple("abcd")

    @pytest.mark.parametrize("domains", [[0, 1, 1, 0], ["sketch", "Photo", " photo", "sketch"]])
    def test_domains(self, archive, domains):
        stored = read_stored(archive(x=VECTORS, domains=domains))
        assert stored.domains is not None
        assert stored.domains.tolist() == [0, 1, 1, 0]


class TestOthers:
    def test_plain_array_is_mapped_and_not_read(self, tmp_path):
        np.save(tmp_path / "f.npy", VECTORS)
        stored = read_stored(tmp_path / "f.npy")
        assert isinstance(stored.embeddings, np.memmap)
        assert np.array_equal(stored.embeddings, VECTORS)
        assert stored.labels is None

    def test_ours(self, tmp_path):
        domains, names = np.array([0, 1, 1, 0]), tuple("wxyz")
        saved = Vectors(VECTORS, np.array([1, 0, 1, 1]), domains, ("cow", "pear"), names)
        save_vectors(tmp_path / "f.safetensors", saved)
        stored = read_stored(tmp_path / "f.safetensors")
        assert np.array_equal(stored.embeddings, VECTORS)
        assert stored.labels == ["pear", "cow", "pear", "pear"]
        assert stored.domains is not None
        assert np.array_equal(stored.domains, domains)
        assert stored.paths == names

    def test_label_beyond_our_class_names(self, tmp_path):
        saved = Vectors(
            VECTORS, np.array([0, 0, 2, 0]), np.zeros(4, int), ("a", "b"), tuple("wxyz")
        )
        save_vectors(tmp_path / "f.safetensors", saved)
        with pytest.raises(
            DataError,
            match=r"f\.safetensors are damaged \(row 2 has label 2, and there are 2 names",
        ):
            read_stored(tmp_path / "f.safetensors")


class TestLabels:
    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("cow\npear\n", ["cow", "pear"]),
            ("\ufeffcow\r\nhot air balloon \r\n\r\n", ["cow", "hot air balloon"]),
            ("3\n-1\n3", [3, -1, 3]),
            ("3\ncow", ["3", "cow"]),
            ("1_000\n", ["1_000"]),
            (f"{2**70}\n", [2**70]),
            ("9" * 5000, ["9" * 5000]),  # more digits than Python reads as a number
        ],
    )
    def test_text(self, tmp_path, text, labels):
        (tmp_path / "y.txt").write_bytes(text.encode())
        assert read_labels(tmp_path / "y.txt") == labels

    @pytest.mark.parametrize("array", [np.array([3, 1], np.uint8), np.array(["cow", "pear"])])
    def test_array(self, tmp_path, array):
        np.save(tmp_path / "y.npy", array)
        assert list(read_labels(tmp_path / "y.npy")) == array.tolist()

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            (
                "y.txt",
                b"cow\n\npear\n",
                r"row 1 of the labels in .*y\.txt is empty; name its class",
            ),
            ("y.txt", b"c\xff\n", r"cannot read labels from .*y\.txt \(.*0xff.*\): expected UTF-8"),
            ("y.csv", b"cow\n", r"cannot read labels from .*y\.csv: expected \.npy or \.txt"),
            (
                "y.npy",
                b"cow\n",
                r"cannot read its array in .*y\.npy \(.*magic string.*; save it anew",
            ),
            (
                "y.npy",
                np.ones(2),
                r"labels in .*y\.npy must be integers or texts.*got float64 \(2,\)",
            ),
            ("y.npy", np.ones((2, 1), int), r"must be integers or texts.*got int64 \(2, 1\)"),
            ("y.npy", None, r"cannot read labels from .*y\.npy: no such file"),
        ],
    )
    def test_what_is_no_file_of_labels(self, tmp_path, name, content, message):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.save(path, content)
        with pytest.raises(DataError, match=message) as caught:
            read_labels(path)
        assert "\n" not in str(caught.value)


class TestErrors:
    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            (
                {"a": VECTORS, "b": VECTORS},
                r"cannot tell which array .* name it embeddings \(found a f",
            ),
            ({"y": np.arange(3)}, r"cannot tell which array .*found y int64 \(3,\)"),
            ({}, r"cannot tell which array .*found nothing"),
            ({"x": np.ones(3)}, r"vectors in .*f\.npz have shape \(3,\); expected \(N, D\)"),
            ({"x": np.ones((0, 3))}, r"vectors in .* have shape \(0, 3\).*at least one row"),
            (
                {"x": np.ones((2, 3), complex)},
                r"vectors in .* must be real numbers, got complex128",
            ),
            ({"x": VECTORS, "y": [1, 2]}, r"f\.npz holds 2 labels for 4 vectors; give one each"),
            ({"x": VECTORS, "paths": ["a"]}, r"holds 1 paths for 4 vectors"),
            (
                {"x": VECTORS, "paths": [1, 2, 3, 4]},
                r"the paths in .* must be texts, one a row, got i",
            ),
            ({"x": VECTORS, "domains": [0, 1]}, r"holds 2 domains for 4 vectors"),
            (
                {"x": VECTORS, "domains": [0, 1, 2, 0]},
                r"row 2 of the domains in .* is 2; expected ske",
            ),
            ({"x": VECTORS, "domains": ["video"] * 4}, r"row 0 of the domains in .* is 'video'"),
            ({"x": VECTORS, "y": [0, 1, 2, 0], "classes": ["a", "b"]}, r"row 2 of .* has label 2"),
            (
                {"x": VECTORS, "y": [0, -1, 0, 0], "classes": ["a", "b"]},
                r"row 1 of .* has label -1",
            ),
            (
                {"x": VECTORS, "y": [[0, 1]], "classes": ["a", "b"]},
                r"have shape \(1, 2\); expected \(N",
            ),
            ({"x": VECTORS, "y": np.ones(4)}, r"labels .* must be integers or texts.*got float64"),
            ({"x": VECTORS, "y": np.array([b"\xff"] * 4)}, r"the labels in .* are not UTF-8"),
            ({"x": VECTORS, "y": ["a", " ", "b", "c"]}, r"row 1 of the labels in .* is empty"),
        ],
    )
    def test_arrays_that_do_not_fit(self, archive, arrays, message):
        with pytest.raises(DataError, match=message) as caught:
            read_stored(archive(**arrays))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["f.npz", "f.npy", "f.safetensors"])
    def test_no_file_and_a_folder(self, tmp_path, name):
        with pytest.raises(DataError, match=r"cannot read features from .*: no such file; check"):
            read_stored(tmp_path / name)
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match=r"cannot read features from .*: it is a folder"):
            read_stored(tmp_path / name)

    def test_unknown_kind(self, tmp_path):
        with pytest.raises(DataError, match=r"f\.pth: expected \.npz, \.npy, \.safetensors"):
            read_stored(tmp_path / "f.pth")

    @pytest.mark.parametrize("name", ["f.npz", "f.npy"])
    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(40)])
    def test_what_is_no_array(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            DataError, match=r"f\.np[yz] (is no \.npz archive )?\(.*; save it anew$"
        ):
            read_stored(tmp_path / name)

    def test_an_array_named_as_an_archive(self, tmp_path):
        np.save(tmp_path / "f.npy", VECTORS)
        (tmp_path / "f.npy").rename(tmp_path / "f.npz")
        with pytest.raises(DataError, match=r"no \.npz archive but a single array: name it \.npy"):
            read_stored(tmp_path / "f.npz")

    def test_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "f.npz")
        with pytest.raises(DataError, match=r"features from .*f\.npz: it is a pipe or a device"):
            read_stored(tmp_path / "f.npz")

    def test_half_a_file(self, tmp_path):
        np.save(tmp_path / "f.npy", VECTORS)
        whole = (tmp_path / "f.npy").read_bytes()
        (tmp_path / "f.npy").write_bytes(whole[:-8])
        with pytest.raises(DataError, match=r"cannot read its array in .*f\.npy"):
            read_stored(tmp_path / "f.npy")

    def test_damaged_member(self, archive):
        path = archive(x=np.zeros((50, 50)))
        data = bytearray(path.read_bytes())
        data[400:500] = b"x" * 100
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"cannot read x in .*f\.npz \(.*CRC"):
            read_stored(path)


class Bomb:
    """What would be run by whoever unpickles it."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


class TestPickles:
    @pytest.mark.parametrize("name", ["x", "y"])
    def test_objects_in_an_archive(self, archive, monkeypatch, tmp_path, name):
        monkeypatch.chdir(tmp_path)
        arrays = {"x": VECTORS} | {name: np.array([Bomb()] * 4, dtype=object)}
        with pytest.raises(DataError, match=rf"{name} in .* holds Python objects.*dtype=str"):
            read_stored(archive(**arrays))
        assert not Path("exploded").exists()

    @pytest.mark.parametrize("name", ["f.npy", "f.npz"])
    def test_bare_pickle(self, monkeypatch, tmp_path, name):
        monkeypatch.chdir(tmp_path)
        Path(name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(DataError, match="save it anew"):
            read_stored(Path(name))
        assert not Path("exploded").exists()

    def test_objects_in_an_array(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        np.save("f.npy", np.array([Bomb()], dtype=object))
        for read in (read_stored, read_labels):
            with pytest.raises(DataError, match=r"its array in f\.npy holds Python objects"):
                read(Path("f.npy"))
        assert not Path("exploded").exists()
