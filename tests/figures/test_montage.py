"""The retrieval figure, pixel by pixel where it matters: size, frames, letterboxes, captions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from msedge.errors import MSEdgeError, ShapeError
from msedge.figures.montage import (
    PAPER,
    QUERY,
    RIGHT,
    WRONG,
    Result,
    Row,
    retrieval_montage,
    save_montage,
)

SKY = (90, 150, 220)
LONG = "a_class_name_that_cannot_possibly_fit_under_one_picture"


def photo(relevant=True, name="camel", size=(64, 64), similarity=0.5) -> Result:
    return Result(Image.new("RGB", size, SKY), name, similarity, relevant)


def row(*results: Result, name="camel") -> Row:
    return Row(Image.new("L", (50, 50), 255), name, results)


def boxes(figure: Image.Image, colour, at_least: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of every square frame of this colour, in reading order."""
    mask = (np.asarray(figure) == colour).all(axis=2)
    found = []
    for y, x in np.argwhere(mask & ~np.roll(mask, 1, 0) & ~np.roll(mask, 1, 1)).tolist():
        width = int(np.argmin(np.append(mask[y, x:], False)))
        height = int(np.argmin(np.append(mask[y:, x], False)))
        if min(width, height) >= at_least:
            found.append((x, y, x + width, y + height))
    return found


def ink(figure: Image.Image, left: int, top: int, right: int, bottom: int) -> bool:
    return bool((np.asarray(figure)[top:bottom, left:right] != PAPER).any())


class TestSmoke:
    def test_draws_rgb_without_touching_its_input(self):
        result = photo()
        before = result.image.tobytes()
        assert retrieval_montage([row(result)]).mode == "RGB"
        assert result.image.tobytes() == before

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
    def test_takes_any_mode(self, mode):
        dark = Image.new("L", (64, 64), 0).convert(mode)
        figure = retrieval_montage([Row(dark, "camel", (Result(dark, "camel", 0.1, True),))])
        left, top, right, bottom = boxes(figure, RIGHT, 100)[0]
        assert max(figure.getpixel(((left + right) // 2, (top + bottom) // 2))) < 50

    def test_transparent_is_white(self):
        clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        figure = retrieval_montage([Row(clear, "camel", (Result(clear, "camel", 0.1, True),))])
        left, top, right, bottom = boxes(figure, RIGHT, 100)[0]
        assert figure.getpixel(((left + right) // 2, (top + bottom) // 2)) == PAPER


class TestExceptions:
    @pytest.mark.parametrize("rows", [[], [row()], [row(), row()]])
    def test_nothing_to_show(self, rows):
        with pytest.raises(ShapeError, match="at least one row with a result"):
            retrieval_montage(rows)

    def test_thumb_too_small(self):
        with pytest.raises(ShapeError, match=r"thumb must be at least 48.*got 47"):
            retrieval_montage([row(photo())], thumb=47)

    @pytest.mark.parametrize(
        ("place", "reason"),
        [
            ("file/figure.png", "exists"),
            (".", "directory"),
        ],
    )
    def test_unwritable_place_is_one_line(self, tmp_path, place, reason):
        (tmp_path / "file").touch()
        with pytest.raises(MSEdgeError, match=f"cannot write .*{reason}") as caught:
            save_montage(Image.new("RGB", (4, 4)), tmp_path / place)
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


class TestCardinality:
    def test_size_grows_evenly(self):
        def size(rows, columns, **options):
            return retrieval_montage([row(*[photo()] * columns)] * rows, **options).size

        (width, height), thumb, frame = size(2, 5), 2 * 96, 2 * 6
        assert size(2, 6)[0] - width == size(2, 7)[0] - size(2, 6)[0] > thumb + frame
        assert size(3, 5)[1] - height == size(4, 5)[1] - size(3, 5)[1] > thumb + frame
        assert size(2, 5, thumb=106) == (width + 6 * 20, height + 2 * 20)
        assert size(2, 5, title="Found")[0] == width
        assert size(2, 5, title="Found")[1] > height

    def test_one_frame_a_picture_in_even_columns(self):
        figure = retrieval_montage([row(*[photo()] * 4), row(*[photo(False)] * 4)], thumb=80)
        right, wrong, query = (boxes(figure, c, 100) for c in (RIGHT, WRONG, QUERY))
        assert (len(right), len(wrong), len(query)) == (4, 4, 2)
        assert {b[2] - b[0] for b in right + wrong + query} == {2 * 80 + 2 * 6}
        assert {b[3] - b[1] for b in right + wrong + query} == {2 * 80 + 2 * 6}
        assert len(set(np.diff([b[0] for b in right]))) == 1
        assert [b[0] for b in right] == [b[0] for b in wrong]
        assert query[0][1] == right[0][1]
        assert query[1][1] == wrong[0][1]

    def test_uneven_rows_leave_blanks(self):
        figure = retrieval_montage([row(photo(), photo(), photo()), row(photo()), row()])
        frames = boxes(figure, RIGHT, 100)
        assert len(frames) == 4
        assert len(boxes(figure, QUERY, 100)) == 3
        below = frames[3]
        assert not ink(figure, frames[1][0] - 4, below[1], figure.width, below[3] + 40)

    def test_legend_of_a_narrow_figure_stays_inside(self):
        figure = retrieval_montage([row(photo())], thumb=48, title="A title " * 20)
        assert not ink(figure, figure.width - 26, 0, figure.width, figure.height)
        assert not ink(figure, 0, figure.height - 8, figure.width, figure.height)


class TestNumbers:
    def test_frame_is_whole_and_picture_lies_inside(self):
        figure = retrieval_montage([row(photo())])
        left, top, right, bottom = boxes(figure, RIGHT, 100)[0]
        pixels = np.asarray(figure)[top:bottom, left:right]
        for edge in (pixels[:6], pixels[-6:], pixels[:, :6], pixels[:, -6:]):
            assert (edge == RIGHT).all()
        assert (pixels[6:-6, 6:-6] == SKY).all()

    def test_wrong_results_carry_a_cross_and_right_ones_none(self):
        figure = retrieval_montage([row(photo(True), photo(False))])
        corner = {}
        for colour in (RIGHT, WRONG):
            _, top, right, _ = boxes(figure, colour, 100)[0]
            corner[colour] = np.asarray(figure)[top + 6 : top + 34, right - 34 : right - 6]
        assert (corner[RIGHT] == SKY).all()
        assert (corner[WRONG] == PAPER).all(axis=2).sum() > 30
        assert (corner[WRONG] == WRONG).all(axis=2).sum() > 200

    @pytest.mark.parametrize(("size", "axis"), [((80, 40), 0), ((40, 80), 1)])
    def test_oblong_pictures_are_letterboxed(self, size, axis):
        figure = retrieval_montage([row(photo(size=size))])
        left, top, right, bottom = boxes(figure, RIGHT, 100)[0]
        inside = np.asarray(figure)[top + 6 : bottom - 6, left + 6 : right - 6]
        inside = inside if axis == 0 else inside.transpose(1, 0, 2)
        assert (inside[:48] == PAPER).all()
        assert (inside[48:-48] == SKY).all()
        assert (inside[-48:] == PAPER).all()

    def test_long_names_end_under_their_picture(self):
        figure = retrieval_montage([row(photo(name=LONG), photo(name=LONG), name=LONG)])
        columns = boxes(figure, QUERY, 100) + boxes(figure, RIGHT, 100)
        bottom = columns[0][3]
        for box, following in zip(columns, [*columns[1:], (figure.width,)], strict=True):
            assert ink(figure, box[0], bottom, box[2], bottom + 34)
            assert not ink(figure, box[2] + 1, bottom, following[0], bottom + 34)

    def test_shortening_keeps_the_beginning(self):
        """What is cut away does not show: names that differ only there look the same."""
        drawn = [
            retrieval_montage([row(photo(), name=name)]).tobytes()
            for name in (LONG, LONG + "_or_another", "b" + LONG)
        ]
        assert drawn[0] == drawn[1] != drawn[2]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"name": "alarm_clock"}, {"name": "alarm clock"}),
            ({"name": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"}, {"name": "cafe"}),
            ({"name": "two\nlines"}, {"name": "two lines"}),
            ({"similarity": -0.004}, {"similarity": 0.0}),
            ({"similarity": 0.817}, {"similarity": 0.82}),
        ],
    )
    def test_captions_that_read_the_same(self, one, other):
        assert (
            retrieval_montage([row(photo(**one))]).tobytes()
            == retrieval_montage([row(photo(**other))]).tobytes()
        )

    def test_captions_that_differ(self):
        drawn = [
            retrieval_montage([row(photo(**change))]).tobytes()
            for change in ({}, {"similarity": -0.5}, {"similarity": 0.51}, {"name": "cow"})
        ]
        assert len(set(drawn)) == 4


class TestSave:
    def test_writes_the_same_pixels_at_print_resolution(self, tmp_path):
        figure = retrieval_montage([row(photo())])
        save_montage(figure, str(tmp_path / "figure.png"))
        with Image.open(tmp_path / "figure.png") as read:
            assert read.format == "PNG"
            assert read.info["dpi"] == pytest.approx((200, 200), abs=0.1)
            assert read.tobytes() == figure.tobytes()
        assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]

    @pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("x")])
    def test_a_failure_keeps_the_older_figure(self, tmp_path, monkeypatch, failure):
        target = tmp_path / "figure.png"
        target.write_bytes(b"older")

        def half(_self, path, **_options):
            path.write_bytes(b"\x89PNG half")
            raise failure

        monkeypatch.setattr(Image.Image, "save", half)
        with pytest.raises((MSEdgeError, RuntimeError)):
            save_montage(Image.new("RGB", (4, 4)), target)
        assert target.read_bytes() == b"older"
        assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
