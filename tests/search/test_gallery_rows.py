from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from msedge.errors import DataError, ShapeError
from msedge.search.gallery_rows import photo_of_row, row_of_photo, stored_path
from photo_files import new_photo


def test_a_photo_survives_its_row():
    new = new_photo(os.fsdecode(b"/photos/\xff\n.jpg"), 3)
    *row, blob = row_of_photo(new, 4)
    photo = photo_of_row((7, *row))
    assert (photo.id, photo.path, photo.taken) == (7, new.path, new.taken)
    assert photo.folder == Path("/photos")
    np.testing.assert_array_equal(np.frombuffer(blob, "<f2"), new.vector)


def test_a_path_is_absolute():
    with pytest.raises(DataError, match=r"absolute paths, got 'a\.jpg'"):
        stored_path(Path("a.jpg"))


def test_a_path_may_be_of_an_object_store():
    assert stored_path(Path("s3://bucket/a.jpg")) == b"s3:/bucket/a.jpg"


@pytest.mark.parametrize(
    "vector",
    [np.zeros(5, np.float16), np.zeros(4, np.float32), np.zeros((1, 4), np.float16)],
    ids=["too wide", "float32", "two axes"],
)
def test_a_vector_of_another_shape_is_refused(vector):
    with pytest.raises(ShapeError, match=r"expected float16 \(4,\)"):
        row_of_photo(new_photo("/a.jpg", vector=vector), 4)


def test_a_vector_that_is_not_finite_is_refused():
    with pytest.raises(ShapeError, match="not finite"):
        row_of_photo(new_photo("/a.jpg", vector=np.full(4, np.inf, np.float16)), 4)
