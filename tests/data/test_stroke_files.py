"""Every shape in circulation, and whatever else a stranger may send."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.data.stroke_files import MAX_BYTES, MAX_POINTS, MAX_STROKES, read_strokes
from msedge.errors import DataError

XS, YS = [0.0, 255.0, 9.0, 4.5], [7.0, 3.0, 8.0, -1.0]
AXES = [[XS, YS], [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]]
POINTS = [[list(point) for point in zip(*stroke, strict=True)] for stroke in AXES]
NAMED = [[{"x": x, "y": y} for x, y in stroke] for stroke in POINTS]
EXPECTED = [(XS, YS), ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0])]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"word": "cat", "drawing": AXES}, id="quickdraw"),
        pytest.param(
            {"drawing": [[*stroke, list(range(len(stroke[0])))] for stroke in AXES]}, id="raw"
        ),
        pytest.param(AXES, id="bare axes"),
        pytest.param(POINTS, id="bare points"),
        pytest.param({"strokes": POINTS}, id="strokes of points"),
        pytest.param({"strokes": AXES}, id="strokes of axes"),
        pytest.param({"strokes": [{"points": stroke} for stroke in NAMED]}, id="named points"),
        pytest.param([[[x, y, 0.5] for x, y in stroke] for stroke in POINTS], id="with pressure"),
        pytest.param({"strokes": [{"x": x, "y": y} for x, y in AXES]}, id="named axes"),
        pytest.param([*AXES, [], [[], []]], id="with empty strokes"),
    ],
)
@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf \n"])
def test_shapes(document, head):
    assert read_strokes(head + json.dumps(document).encode(), "it") == EXPECTED


def test_the_first_line_of_several():
    lines = [json.dumps({"drawing": [[[n, 1], [2, 3]]]}) for n in range(3)]
    assert read_strokes("\n".join(lines).encode(), "it") == [([0.0, 1.0], [2.0, 3.0])]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([[[1, 2], [3, 4]]], [([1.0, 2.0], [3.0, 4.0])]),  # two lists of two: axes
        ([[[1, 2], [3, 4], [0, 9]]], [([1.0, 2.0], [3.0, 4.0])]),  # the third rises: times
        ([[[1, 2], [3, 4], [9, 0]]], [([1.0, 3.0, 9.0], [2.0, 4.0, 0.0])]),
        ([[[5, 6]]], [([5.0], [6.0])]),
        ([[[5], [6]]], [([5.0], [6.0])]),
    ],
)
def test_where_both_shapes_fit(document, expected):
    assert read_strokes(json.dumps(document).encode(), "it") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON"),
        (b"[", "no JSON"),
        (b"\xff\xfe[", "no text in UTF-8"),
        (b"{}", "no list of strokes"),
        (b"7", "no list of strokes"),
        (b'{"drawing": 7}', "no list of strokes"),
        (b"[[1, 2], [3, 4]]", "something else than lists of numbers"),
        (b'[[["a"], ["b"]]]', "no number"),
        (b"[[[true], [false]]]", "no number"),
        (b"[[[NaN], [1]]]", "NaN is no finite number"),
        (b"[[[1e999], [1]]]", "no finite number"),
        (b"[[[1" + b"0" * 400 + b"], [1]]]", "no finite number"),
        (b"[[[1" + b"0" * 9000 + b"], [1]]]", "cannot read strokes"),
        (b"[[[1, 2, 3, 4, 5], [1, 2, 3]]]", "neither two lists"),
        (b"[[[1], [2], [3], [4], [5]]]", "neither two lists"),
        (b"[]", "nothing is drawn in it"),
        (b"[[[], []], []]", "nothing is drawn in it"),
        (b"[" * 100_000, "cannot read strokes"),
        (json.dumps([[[1], [1]]] * (MAX_STROKES + 1)).encode(), "1,001 strokes are more"),
        (json.dumps([[[1] * (MAX_POINTS + 1)] * 2]).encode(), "more than 100,000 points"),
        (json.dumps([[[1, 1, 1, 1]] * (MAX_POINTS + 1)]).encode(), "more than 100,000 points"),
        (b" " * (MAX_BYTES + 1), "more than 5 MB"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_strokes(content, "it")
    assert "\n" not in str(caught.value)


def test_the_limits_themselves_are_allowed():
    assert len(read_strokes(json.dumps([[[1], [1]]] * MAX_STROKES).encode(), "it")) == MAX_STROKES
    [(xs, _)] = read_strokes(json.dumps([[[1] * MAX_POINTS] * 2]).encode(), "it")
    assert len(xs) == MAX_POINTS


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["drawing", "strokes", "points", "x", "y", "other"]), inner, max_size=3
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(json_like.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80))
def test_anything_ends_as_strokes_or_a_data_error(content):
    with suppress(DataError):
        strokes = read_strokes(content, "it")
        assert strokes
        assert all(len(xs) == len(ys) > 0 for xs, ys in strokes)
        assert all(
            isinstance(value, float) for stroke in strokes for axis in stroke for value in axis
        )


@pytest.mark.skipif("MSEDGE_TEST_DATA" not in os.environ, reason="needs MSEDGE_TEST_DATA")
def test_quick_draw_files():
    folder = Path(os.environ["MSEDGE_TEST_DATA"]) / "quickdraw-mini"
    files = sorted(folder.glob("*.ndjson"))
    assert len(files) > 300
    for file in files[::10]:
        first = json.loads(file.read_text().splitlines()[0])
        strokes = read_strokes(file.read_bytes(), file.name)
        assert [[list(axis) for axis in stroke] for stroke in strokes] == first["drawing"]
