"""What stands in a message is one line, short, and as near to what was written as can be."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.quoting import named, plain, quoted

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
)


class TestQuoted:
    @pytest.mark.parametrize(
        "value", [None, True, -3, 1.5, "cat", "a'b", [1, "b"], {"a": (1,)}, Path("a"), b"\0"]
    )
    def test_short_values_are_as_python_writes_them(self, value):
        assert quoted(value) == repr(value)

    @given(VALUES, st.integers(8, 200))
    def test_it_is_one_short_line(self, value, longest):
        text = quoted(value, longest)
        assert text.isprintable()
        assert 0 < len(text) <= longest

    @pytest.mark.parametrize("number", [10**5_000, -(16**9_000)], ids=["tens", "below 0"])
    def test_numbers_that_python_does_not_write_out(self, number):
        assert quoted(number) == f"<a number of {number.bit_length():,} bits>"
        assert "bits>" in quoted([number])

    def test_a_list_that_holds_itself(self):
        held: list[object] = []
        held.append(held)
        assert quoted(held) == "[[[[...]]]]"

    def test_lists_that_multiply_take_no_time(self):
        value: list[object] = ["x"]
        for _ in range(40):
            value = [value] * 10
        begun = time.process_time()
        assert len(quoted(value)) <= 80
        assert time.process_time() - begun < 1

    @pytest.mark.parametrize(
        "value", ["a" * 10**7, b"a" * 10**7, [0] * 10**6], ids=["text", "bytes", "list"]
    )
    def test_long_values_are_cut(self, value):
        assert len(quoted(value)) == 80 or len(quoted(value)) < 40
        assert "..." in quoted(value)

    def test_dates_as_yaml_makes_them(self):
        assert quoted(datetime.date(2020, 1, 2)) == "datetime.date(2020, 1, 2)"


class TestPlain:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a cat's", "a cat's"),
            ("a\nb", r"a\nb"),
            ("\x1b[31m", r"\x1b[31m"),
            ("\ud800", r"\ud800"),
            ("naïve 🐱", "naïve 🐱"),
        ],
    )
    def test_only_odd_characters_are_escaped(self, text, shown):
        assert plain(text) == shown

    @given(st.text(), st.integers(4, 100))
    def test_it_is_one_short_line(self, text, longest):
        shown = plain(text, longest)
        assert not shown or shown.isprintable()
        assert len(shown) <= longest
        assert shown == text or not text.isprintable() or shown.endswith("...")

    def test_of_a_long_text_no_more_is_looked_at_than_is_shown(self):
        assert plain("\n" * 10**8, 10) == r"\n\n\n\..."


class TestNamed:
    def test_a_path_is_whole(self):
        path = Path("/" + "/".join(["a" * 200] * 20))
        assert named(path) == str(path)

    def test_a_path_is_on_one_line(self):
        assert named(Path("/a\nb\udcff")) == r"/a\nb\udcff"
