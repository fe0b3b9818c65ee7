"""Bodies of requests: bounded in every part, and nothing unknown passes."""

from __future__ import annotations

import base64
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from msedge.server.requests import MAX_POINTS, SearchRequest, SimilarRequest

DOT = [[[1.0], [2.0]]]


def read(**body):
    return SearchRequest.model_validate(body)


def refused(**body):
    with pytest.raises(ValidationError) as told:
        read(**body)
    return " ".join(error["msg"] for error in told.value.errors())


class TestSmoke:
    def test_everything(self):
        content = base64.b64encode(b"a picture").decode()
        asked = SearchRequest.model_validate_json(
            '{"strokes": [[[0, 1.5], [2, 3]]], "image": "' + content + '", "like": [1], '
            '"unlike": [2, 3], "k": 7, "folder": "/cats", "after": "2020-01-31", '
            '"before": "2021-01-31", "orientation": "portrait"}'
        )
        assert asked.strokes == [([0, 1.5], [2, 3])]
        assert asked.image == b"a picture"
        assert (asked.like, asked.unlike, asked.k, asked.folder) == ([1], [2, 3], 7, "/cats")
        assert asked.after == datetime.date(2020, 1, 31)
        assert asked.before == datetime.date(2021, 1, 31)
        assert asked.orientation == "portrait"

    def test_as_little_as_possible(self):
        asked = read(strokes=DOT)
        assert (asked.k, asked.like, asked.unlike, asked.folder) == (48, [], [], None)
        assert SimilarRequest(id=3).k == 48

    def test_the_documented_examples_are_valid(self):
        for model in (SearchRequest, SimilarRequest):
            for example in model.model_json_schema()["examples"]:
                model.model_validate(example)


class TestBounds:
    def test_something_must_be_asked(self):
        assert "nothing is asked" in refused()
        assert "nothing is asked" in refused(unlike=[1], k=3)
        assert "nothing is asked" in refused(strokes=[])

    @pytest.mark.parametrize("k", [0, 501, -1, 1.5, "5", True, None])
    def test_k(self, k):
        refused(strokes=DOT, k=k)

    @pytest.mark.parametrize("k", [1, 500])
    def test_k_at_its_ends(self, k):
        assert read(strokes=DOT, k=k).k == k

    @pytest.mark.parametrize("name", ["like", "unlike"])
    def test_examples(self, name):
        assert len(getattr(read(strokes=DOT, **{name: list(range(100))}), name)) == 100
        refused(strokes=DOT, **{name: list(range(101))})
        for bad in ([-1], [2**63], ["1"], [True], ["../x"], [None], [1.0]):
            refused(strokes=DOT, **{name: bad})

    def test_strokes(self):
        assert len(read(strokes=DOT * 1000).strokes) == 1000
        refused(strokes=DOT * 1001)

    def test_points(self):
        half = [[0.0] * (MAX_POINTS // 2)] * 2
        assert len(read(strokes=[half, half]).strokes) == 2
        assert "100000 points" in refused(strokes=[half, half, *DOT])
        refused(strokes=[[[0.0] * (MAX_POINTS + 1)] * 2])

    @pytest.mark.parametrize(
        "stroke",
        [
            [[1]], [[1], [2], [3]], [[1, 2], [3]], [[], []], [1, 2], "ab", None, {},
            [[None], [1]], [["x"], [1]], [[1e7], [0]], [[float("nan")], [0]],
            [[float("inf")], [0]], [[10**400], [0]],
        ],
    )  # fmt: skip
    def test_what_is_no_stroke(self, stroke):
        refused(strokes=[stroke])

    @pytest.mark.parametrize("image", ["", "garbage!", "QUJD*", "QUJ", "é", 5, ["QUJD"], "QU\nJD"])
    def test_what_is_no_base64(self, image):
        assert "image" in refused(image=image)

    @pytest.mark.parametrize(
        "extra",
        [
            {"path": "/etc/passwd"},
            {"orientation": "upside down"},
            {"after": "yesterday"},
            {"after": 0},
            {"after": 1.5},
            {"like": [2**53]},
            {"folder": "x" * 4097},
            {"folder": ["/a"]},
        ],
    )
    def test_other_values(self, extra):
        refused(strokes=DOT, **extra)

    @pytest.mark.parametrize("photo", [-1, 2**63, "1", None, 1.5])
    def test_the_photo_to_be_like(self, photo):
        with pytest.raises(ValidationError):
            SimilarRequest.model_validate({"id": photo})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(SearchRequest.model_fields)), JSON, max_size=4))
def test_whatever_comes_is_read_or_refused(body):
    try:
        asked = SearchRequest.model_validate(body)
    except ValidationError:
        return
    assert asked.strokes or asked.image or asked.like or asked.name
    assert all(len(xs) == len(ys) > 0 for xs, ys in asked.strokes)
