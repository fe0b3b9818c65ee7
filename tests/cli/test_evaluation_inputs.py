"""Files that have to fit together, and what is said where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msedge.cli.evaluation_inputs import Files, Inputs, Source, load_inputs
from msedge.errors import ConfigError, DataError

GALLERY = ["cow", "cow", "ant", "Hot-Air Balloon"]


@pytest.fixture
def write(tmp_path: Path):
    """Write an archive of random vectors with labels."""

    def archive(name: str, labels: list[str], **more: Any) -> Source:
        vectors = np.random.default_rng(len(labels)).normal(size=(len(labels), 4))
        np.savez(tmp_path / f"{name}.npz", **({"x": vectors, "y": labels} | more))
        return Source(tmp_path / f"{name}.npz")

    return archive


def load(files: Files, **options: Any) -> Inputs:
    usual = {"refuse_zeros": True, "drop_absent": False, "share": 1.0, "seed": 0}
    return load_inputs(files, **(usual | options))


def names(inputs: Inputs, labels: np.ndarray) -> list[str]:
    return [inputs.name(label) for label in labels]


class TestClasses:
    def test_spellings_meet(self, write):
        inputs = load(Files(write("q", ["hot air balloon", "COW"]), write("g", GALLERY)))
        assert names(inputs, inputs.queries.labels) == ["hot air balloon", "COW"]
        assert names(inputs, inputs.gallery.labels) == ["COW", "COW", "ant", "hot air balloon"]
        assert (inputs.left_out, inputs.absent) == (0, ())

    def test_absent_classes_are_refused_by_name(self, write):
        files = Files(write("q", ["cow", "Elk", "elk", "bat"]), write("g", GALLERY))
        message = (
            r"class 'bat' has queries but no photo in the gallery \(2 such classes, 3 queries\)"
        )
        with pytest.raises(DataError, match=message + r".*--drop-absent$"):
            load(files)

    def test_absent_classes_are_left_out_where_asked(self, write):
        files = Files(write("q", ["elk", "cow", "bat", "ant"]), write("g", GALLERY))
        inputs = load(files, drop_absent=True)
        assert names(inputs, inputs.queries.labels) == ["cow", "ant"]
        assert inputs.queries.rows.tolist() == [1, 3]
        assert (inputs.left_out, inputs.absent) == (2, ("bat", "elk"))

    @pytest.mark.parametrize("drop_absent", [False, True])
    def test_nothing_to_ask_for(self, write, drop_absent):
        with pytest.raises(DataError, match="no query has a photo of its class"):
            load(Files(write("q", ["elk"]), write("g", GALLERY)), drop_absent=drop_absent)

    def test_odd_names_are_printed_on_one_line(self, write):
        with pytest.raises(DataError, match=r"class 'e\\nlk' has queries"):
            load(Files(write("q", ["cow", "e\nlk"]), write("g", GALLERY)))


class TestVectors:
    @pytest.mark.parametrize("role", ["q", "g"])
    def test_every_file_is_checked(self, write, role):
        zeros = {role: {"x": np.zeros((4, 4))}}
        files = Files(*(write(name, GALLERY, **zeros.get(name, {})) for name in "qg"))
        with pytest.raises(DataError, match=rf"row 0 of .*{role}\.npz is all zeros"):
            load(files)
        assert len(load(files, refuse_zeros=False).queries) == 4


class TestComparison:
    def test_same_queries(self, write):
        files = Files(write("q", ["ant", "cow"]), write("g", GALLERY))
        inputs = load(
            Files(
                files.queries,
                files.gallery,
                other_queries=write("oq", ["Ant", "COW"]),
                other_gallery=write("og", ["cow", "ant"]),
            )
        )
        assert inputs.other_queries is not None
        assert np.array_equal(inputs.other_queries.labels, inputs.queries.labels)

    def test_queries_that_one_of_the_galleries_lacks(self, write):
        inputs = load(
            Files(
                write("q", ["ant", "cow", "hot air balloon"]),
                write("g", GALLERY),
                other_queries=write("oq", ["ant", "cow", "hot air balloon"]),
                other_gallery=write("og", ["cow", "hot air balloon"]),
            ),
            drop_absent=True,
        )
        assert inputs.other_queries is not None
        assert inputs.queries.rows.tolist() == inputs.other_queries.rows.tolist() == [1, 2]

    def test_photos_beside_the_queries(self, write):
        files = Files(write("q", ["ant", "cow"]), write("g", GALLERY))
        both = write("o", ["cow", "ant", "cow", "ant"], domains=[1, 0, 0, 1])
        inputs = load(Files(files.queries, files.gallery, other_queries=both))
        assert inputs.other_gallery is not None
        assert inputs.other_gallery.rows.tolist() == [0, 3]

    def test_no_photos_beside_them(self, write):
        files = Files(write("q", ["ant"]), write("g", GALLERY), other_queries=write("o", ["ant"]))
        with pytest.raises(ConfigError, match=r"o\.npz does not hold both .*--compare-gallery"):
            load(files)

    @pytest.mark.parametrize(
        ("labels", "paths", "message"),
        [
            (
                ["ant"],
                ["a-1.png"],
                r"oq\.npz holds 1 queries to compare with, but .*q\.npz holds 2",
            ),
            (
                ["ant", "ant"],
                ["a-1.png", "b-1.png"],
                r"query 1 is of class 'cow' in .* but 'ant' in",
            ),
            (
                ["ant", "cow"],
                ["a-1.png", "c-1.png"],
                r"query 1 is 'b-1' in .* but 'c-1' in .*oq\.npz",
            ),
        ],
    )
    def test_other_queries(self, write, labels, paths, message):
        files = Files(
            write("q", ["ant", "cow"], paths=["a-1.png", "b-1.png"]),
            write("g", GALLERY),
            other_queries=write("oq", labels, paths=paths),
            other_gallery=write("og", GALLERY),
        )
        with pytest.raises(DataError, match=message):
            load(files)

    def test_folders_and_suffixes_may_differ(self, write):
        files = Files(
            write("q", ["ant"], paths=["here/a-1.png"]),
            write("g", GALLERY),
            other_queries=write("oq", ["ant"], paths=["there/a-1.jpg"]),
            other_gallery=write("og", GALLERY),
        )
        assert len(load(files).queries) == 1


class TestGeneralised:
    def test_seen_photos_follow_the_gallery(self, write):
        files = Files(
            write("q", ["ant"]),
            write("g", GALLERY),
            seen_gallery=write("s", ["elk", "bat", "elk"]),
            seen_queries=write("sq", ["elk", "bat"]),
        )
        inputs = load(files)
        assert names(inputs, inputs.ranked.labels)[4:] == ["elk", "bat", "elk"]
        assert np.array_equal(inputs.ranked.embeddings[:4], inputs.gallery.embeddings)
        assert inputs.seen_queries is not None
        assert names(inputs, inputs.seen_queries.labels) == ["elk", "bat"]

    def test_share_is_of_each_class(self, write):
        seen = ["elk"] * 10 + ["bat"] * 5
        files = Files(write("q", ["ant"]), write("g", GALLERY), write("s", seen), write("sq", seen))
        inputs = load(files, share=0.2)
        assert names(inputs, inputs.ranked.labels)[4:] == ["elk", "elk", "bat"]
        assert inputs.seen_queries is not None
        kept = inputs.seen_queries.rows.tolist()
        assert np.array_equal(np.array(seen)[kept], ["elk", "elk", "bat"])

    def test_a_class_is_seen_or_unseen(self, write):
        files = Files(write("q", ["ant"]), write("g", GALLERY), write("s", ["elk", "Cow"]))
        with pytest.raises(DataError, match=r"class 'cow' is in .*s\.npz and in .*g\.npz"):
            load(files)

    def test_unseen_queries_ask_for_unseen_photos(self, write):
        files = Files(write("q", ["elk", "ant"]), write("g", GALLERY), write("s", ["elk"]))
        with pytest.raises(DataError, match="class 'elk' has queries but no photo in the gallery"):
            load(files)

    def test_seen_queries_ask_for_seen_photos(self, write):
        files = Files(
            write("q", ["ant"]), write("g", GALLERY), write("s", ["elk"]), write("t", ["cow"])
        )
        with pytest.raises(
            DataError, match=r"class 'cow' has queries in .*t\.npz but no photo in .*s"
        ):
            load(files)
