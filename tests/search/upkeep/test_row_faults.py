from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msedge.search.upkeep.row_faults import bad_vectors, is_place


@given(st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_vectors_of_length_one_are_good_whatever_rounding_did(dim, seed):
    vectors = np.random.default_rng(seed).standard_normal((20, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert not bad_vectors(vectors.astype(np.float16)).any()


@given(arrays(np.float16, (6, 5), elements=st.floats(width=16)))
def test_a_vector_is_bad_when_its_length_is_another(vectors):
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    surely_good = np.abs(lengths - 1) < 2.0**-10
    surely_bad = ~(np.abs(lengths - 1) < 2.0**-8)
    bad = bad_vectors(vectors)
    assert not bad[surely_good].any()
    assert bad[surely_bad].all()


def test_places():
    good = [b"/a.jpg", b"/\xff\n.jpg", b"s3:/bucket/a.jpg", b"gs:/bucket/a b.jpg", b"/a.tar/b.jpg"]
    bad = [b"a.jpg", b"", b"./a", b"/a\0b", "/text.jpg", None, 7]
    assert [is_place(path) for path in good + bad] == [True] * len(good) + [False] * len(bad)
