"""The places of tensors: the bytes that lie there are the tensors'."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from msedge.errors import WeightsError
from msedge.models.stored_tensors import stored_tensors

TYPES = {"F16": np.float16, "F32": np.float32, "I64": np.int64, "U8": np.uint8}
SHAPES = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@settings(deadline=None, max_examples=40)
@given(
    forms=st.dictionaries(
        st.text("abc.é", min_size=1, max_size=8), st.tuples(st.sampled_from(list(TYPES)), SHAPES)
    ),
    metadata=st.text(max_size=20),
)
def test_reading_in_place_gives_the_tensors(tmp_path_factory, forms, metadata):
    path = tmp_path_factory.mktemp("places") / "some.safetensors"
    rng = np.random.default_rng(0)
    written = {
        name: rng.integers(0, 99, shape).astype(TYPES[t]) for name, (t, shape) in forms.items()
    }
    save_file(written, path, {"card": metadata})
    places, content = stored_tensors(path), path.read_bytes()
    assert places.keys() == written.keys()
    for name, place in places.items():
        raw = content[place.offset : place.offset + place.length]
        tensor = np.frombuffer(raw, TYPES[place.dtype]).reshape(place.shape)
        np.testing.assert_array_equal(tensor, written[name])
        assert (place.dtype, place.values) == (forms[name][0], written[name].size)


def test_every_byte_behind_the_header_belongs_to_one_tensor(tmp_path, write_run):
    path = write_run(tmp_path / "run.safetensors")
    places = list(stored_tensors(path).values())
    assert len(places) == len(load_file(path))
    for before, after in itertools.pairwise(places):
        assert before.offset + before.length == after.offset
    assert places[-1].offset + places[-1].length == path.stat().st_size


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, None])
def test_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "broken.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as safetensors") as caught:
        stored_tensors(path)
    assert "\n" not in str(caught.value)
