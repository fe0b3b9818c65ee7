from __future__ import annotations

import os
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from lance_galleries import DIM, MODEL, block, kept, made_up
from msedge.errors import DataError, ShapeError
from msedge.search.gallery_rows import Model
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.schema import (
    block_of,
    photos_of,
    read_model,
    schema_for,
    schema_of,
    table_of,
)
from msedge.search.store import Block

PATH = Path("/galleries/photos.lance")


class TestRows:
    def test_give_back_what_was_put(self):
        put = block(3, 1, 2)
        rows = table_of(put, DIM)
        assert photos_of(rows) == [kept(made_up(number), number) for number in (3, 1, 2)]
        ids, photos = block_of(rows, DIM)
        assert ids == [3, 1, 2]
        for found, new in zip(photos, put.photos, strict=True):
            assert found.path == new.path
            np.testing.assert_array_equal(found.vector, new.vector)

    def test_hold_names_that_are_not_utf_8(self):
        odd = os.fsdecode(b"/photos/caf\xe9\n.jpg")
        rows = table_of(Block([1], [made_up(1, odd)]), DIM)
        assert rows["path"].to_pylist() == [b"/photos/caf\xe9\n.jpg"]
        assert photos_of(rows)[0].path == Path(odd)

    def test_hold_places_in_object_stores(self):
        rows = table_of(Block([1], [made_up(1, "s3:/bucket/a.tar/cat.jpg")]), DIM)
        assert photos_of(rows)[0].path == Path("s3:/bucket/a.tar/cat.jpg")

    def test_of_no_photos_are_none(self):
        assert table_of(Block([], []), DIM).num_rows == 0
        assert block_of(schema_for(DIM).empty_table(), DIM) == Block([], [])

    @pytest.mark.parametrize(
        "vector",
        [np.zeros(DIM + 1, np.float16), np.zeros(DIM, np.float32), np.full(DIM, np.inf, "f2")],
    )
    def test_refuse_vectors_that_no_model_made(self, vector):
        photo = made_up(1)
        object.__setattr__(photo, "vector", vector)
        with pytest.raises(ShapeError, match=r"the vector of '/photos/1/1\.jpg' is"):
            table_of(Block([1], [photo]), DIM)

    @pytest.mark.parametrize("ids", [[1, 1], [0, 1], [-1, 1], [1]])
    def test_refuse_ids_that_are_not_one_each(self, ids):
        with pytest.raises(DataError, match="id"):
            table_of(Block(ids, [made_up(1), made_up(2)]), DIM)

    def test_refuse_a_path_that_stands_twice_or_is_relative(self):
        with pytest.raises(DataError, match="twice"):
            table_of(Block([1, 2], [made_up(1, "/a"), made_up(2, "/a")]), DIM)
        with pytest.raises(DataError, match="absolute paths"):
            table_of(Block([1], [made_up(1, "a.jpg")]), DIM)


class TestTheModel:
    def test_is_read_from_the_schema(self):
        model = Model("a model é\n", "f" * 64, 8)
        assert read_model(schema_of(model), PATH) == model

    def test_survives_writing(self, tmp_path):
        LanceGallery.create(tmp_path / "a.lance", MODEL).close()
        with LanceGallery.open(tmp_path / "a.lance") as gallery:
            assert gallery.model == MODEL


class TestOtherDatasets:
    def test_are_refused(self, tmp_path):
        lance.write_dataset(pa.table({"a": [1]}), tmp_path / "other.lance")
        with pytest.raises(DataError, match=r"other\.lance is not a gallery"):
            LanceGallery.open(tmp_path / "other.lance")

    def test_of_a_newer_release_are_refused(self):
        schema = schema_of(MODEL)
        newer = schema.with_metadata(schema.metadata | {b"msedge.schema": b"2"})
        with pytest.raises(DataError, match="is of schema 2, and this release knows 1: update"):
            read_model(newer, PATH)

    def test_with_other_columns_are_refused(self):
        schema = schema_of(MODEL)
        with pytest.raises(DataError, match="has other columns"):
            read_model(schema.remove(0), PATH)

    def test_that_do_not_say_what_made_them_are_refused(self):
        schema = schema_of(MODEL)
        said = {
            key: value for key, value in schema.metadata.items() if key != b"msedge.fingerprint"
        }
        with pytest.raises(DataError, match="is not a gallery"):
            read_model(schema.with_metadata(said), PATH)
