"""Features of any file: rows by domain, classes in common, the photo behind a sketch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.data.features import UNKNOWN, Features, load_features, share_classes, source_photos
from msedge.data.vectors import Vectors, save_vectors
from msedge.errors import DataError

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def write(tmp_path: Path):
    """Write an archive of some arrays."""

    def archive(**arrays: Any) -> Path:
        np.savez(tmp_path / "f.npz", **arrays)
        return tmp_path / "f.npz"

    return archive


def features(labels: list[int | str], **more: Any) -> Features:
    classes = tuple(dict.fromkeys(labels))
    places = np.array([classes.index(label) for label in labels])
    return Features(
        more.pop("file", Path("f.npz")),
        more.pop("embeddings", np.ones((len(labels), 2))),
        places,
        classes,
        np.arange(len(labels)),
        **more,
    )


def named(found: Features) -> list[int | str]:
    return [found.classes[label] for label in found.labels]


class TestLoad:
    def test_labels_of_the_file(self, write):
        found = load_features(write(x=VECTORS, y=["pear", "cow", "pear", "ant"]))
        assert named(found) == ["pear", "cow", "pear", "ant"]
        assert found.labels.dtype == np.int64
        assert (len(found), found.domain, found.both, found.paths) == (4, None, False, None)

    def test_labels_of_another_file_win(self, write, tmp_path):
        (tmp_path / "y.txt").write_text("9\n8\n9\n9\n")
        path = write(x=VECTORS, y=["pear", "cow", "pear", "ant"])
        assert named(load_features(path, labels=tmp_path / "y.txt")) == [9, 8, 9, 9]

    def test_array_with_labels(self, tmp_path):
        np.save(tmp_path / "x.npy", VECTORS)
        np.save(tmp_path / "y.npy", np.array([2, 2, 7, 2]))
        found = load_features(tmp_path / "x.npy", labels=tmp_path / "y.npy", domain="photo")
        assert named(found) == [2, 2, 7, 2]
        assert isinstance(found.embeddings, np.memmap)  # nobody asked for its values yet

    @pytest.mark.parametrize(("domain", "rows"), [("sketch", [0, 3]), ("photo", [1, 2])])
    def test_rows_of_one_domain(self, tmp_path, domain, rows):
        saved = Vectors(
            VECTORS, np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0]), ("cow", "pear"), tuple("wxyz")
        )
        save_vectors(tmp_path / "v.safetensors", saved)
        found = load_features(tmp_path / "v.safetensors", domain=domain)
        assert np.array_equal(found.embeddings, VECTORS[rows])
        assert named(found) == [["pear", "cow", "pear", "cow"][row] for row in rows]
        assert found.paths == tuple("wxyz"[row] for row in rows)
        assert found.rows.tolist() == rows
        assert (found.domain, found.both) == (domain, True)
        assert len(load_features(tmp_path / "v.safetensors")) == 4

    @pytest.mark.parametrize("domain", ["sketch", "photo", None])
    def test_file_of_one_domain_is_taken_whole(self, write, domain):
        found = load_features(write(x=VECTORS, y=[1, 1, 2, 2], domains=[1] * 4), domain=domain)
        assert (len(found), found.domain, found.both) == (4, "photo", False)

    def test_no_labels(self, write):
        with pytest.raises(
            DataError, match=r"f\.npz holds no labels; give them as an \.npy or \.txt.*--labels"
        ):
            load_features(write(x=VECTORS))

    def test_labels_of_another_length_are_counted_before_domains(self, write, tmp_path):
        (tmp_path / "y.txt").write_text("a\nb\n")
        path = write(x=VECTORS, y=[1, 1, 2, 2], domains=[0, 0, 1, 1])
        with pytest.raises(DataError, match=r"y\.txt holds 2 labels for 4 vectors"):
            load_features(path, labels=tmp_path / "y.txt", domain="sketch")


class TestCheck:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_row_of_the_file_is_named(self, write, value):
        vectors = np.ones((5000, 2), np.float16)
        vectors[4999, 1] = value
        found = load_features(
            write(x=vectors, y=[0] * 5000, domains=[0] + [1] * 4999), domain="photo"
        )
        with pytest.raises(DataError, match=r"row 4999 of .*f\.npz holds NaN or infinity"):
            found.check(refuse_zeros=False)

    def test_zeros_are_refused_where_asked(self):
        found = features([1, 1, 1], embeddings=np.array([[0, 1], [0, 0], [0, 0]]))
        found.check(refuse_zeros=False)
        with pytest.raises(DataError, match=r"row 1 of f\.npz is all zeros"):
            found.check(refuse_zeros=True)


class TestSharedClasses:
    def test_spellings_meet_and_the_first_is_shown(self):
        one, two = share_classes(
            [features(["hot-air_balloon", "Cow"]), features(["cow", "hot air balloon", "ant"])]
        )
        assert one.classes == two.classes == ("ant", "Cow", "hot-air_balloon")
        assert (one.labels.tolist(), two.labels.tolist()) == ([2, 1], [1, 2, 0])

    def test_two_spellings_in_one_file_are_one_class(self):
        (one,) = share_classes([features(["Cow", "cow", "COW"])])
        assert one.labels.tolist() == [0, 0, 0]

    def test_integers_meet_integers_of_any_size(self):
        one, two = share_classes([features([2**70, -1]), features([5, 2**70])])
        assert one.classes == (-1, 5, 2**70)
        assert (one.labels.tolist(), two.labels.tolist()) == ([2, 0], [1, 2])

    def test_names_and_integers_do_not_meet(self):
        sets = [features([1], file=Path("a.npz")), features(["cow"], file=Path("b.npz"))]
        with pytest.raises(
            DataError, match=r"b\.npz labels its classes with names but a\.npz with"
        ):
            share_classes(sets)

    @given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=4))
    def test_every_row_keeps_its_class(self, sets):
        shared = share_classes([features(list(labels)) for labels in sets])
        assert [named(each) for each in shared] == sets
        assert len({each.classes for each in shared}) == 1


class TestSourcePhotos:
    def test_names_of_the_sketchy_database(self):
        sketches = features(
            ["cow", "cow", "pear", "pear", "cow"],
            paths=("s/n1_2-1.png", "s\\n1_2-12.png", "n1_2-1.png", "n9-a-3.png", "drawing.png"),
        )
        photos = features(
            ["pear", "cow", "cow", "pear"], paths=("n1_2.jpg", "n1_2.jpg", "n1_2.png", "n9-a.jpeg")
        )
        drawn, shown = source_photos(*share_classes([sketches, photos]))
        assert drawn[0] == drawn[1] == shown[1] == shown[2]
        assert drawn[2] == shown[0] != shown[1]
        assert drawn[3] == shown[3]
        assert drawn[4] == UNKNOWN
        assert UNKNOWN not in shown

    @pytest.mark.parametrize("without", [0, 1])
    def test_both_need_paths(self, without):
        sets = [features(["cow"], file=Path(name), paths=("n1-1.png",)) for name in ("a", "b")]
        sets[without] = features(["cow"], file=Path("none.npz"))
        with pytest.raises(DataError, match=r"none\.npz holds no paths.*as `paths`"):
            source_photos(*share_classes(sets))


def test_taken_rows_stay_together():
    whole = features(["a", "b", "c"], embeddings=np.eye(3), paths=("x", "y", "z"), domain="photo")
    taken = whole.take(np.array([2, 0]))
    assert np.array_equal(taken.embeddings, np.eye(3)[[2, 0]])
    assert (named(taken), taken.rows.tolist(), taken.paths) == (["c", "a"], [2, 0], ("z", "x"))
    assert taken.domain == "photo"
    assert taken.take(np.array([1, 0])).rows.tolist() == [0, 2]  # still those of the file
