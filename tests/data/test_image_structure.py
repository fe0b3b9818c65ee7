"""What is too much of a file, on both sides of each limit."""

from __future__ import annotations

import struct

import pytest

from hostile_formats import (
    LONG,
    SHORT,
    chunk,
    encoded,
    gif_blocks,
    jpeg_of_scans,
    png,
    scene,
    segment,
    tiff,
    with_gif_extension,
    with_segments,
)
from hostile_images import good
from msedge.data import image_structure
from msedge.data.image_structure import MAX_BLOCKS, MAX_PARTS, MAX_SCANS, excess

MOST = 64_000_000
JPEG, GIF = encoded(scene(), "JPEG"), encoded(scene(), "GIF")


def told(content: bytes) -> str | None:
    return excess(content, MOST)


class TestSoundFiles:
    @pytest.mark.parametrize("name", sorted(good()))
    def test_nothing_is_too_much(self, name):
        assert told(good()[name]) is None

    @pytest.mark.parametrize("name", sorted(good()))
    def test_nor_of_any_beginning_of_one(self, name):
        content = good()[name]
        for length in range(0, min(len(content), 700)):
            assert told(content[:length]) is None

    @pytest.mark.parametrize("content", [b"", b"hello", b"II", b"MM\0*", b"II+\0", b"\xff\xd8\xff"])
    def test_what_is_no_file_of_a_format(self, content):
        assert told(content) is None


class TestJpeg:
    @pytest.mark.parametrize("progressive", [True, False])
    def test_scans(self, progressive):
        assert told(jpeg_of_scans(8, 8, MAX_SCANS, progressive=progressive)) is None
        many = jpeg_of_scans(8, 8, MAX_SCANS + 1, progressive=progressive)
        assert told(many) == "more than 100 scans"

    def test_what_lies_behind_the_picture_or_in_a_segment_is_no_scan(self):
        assert told(JPEG + b"\xff\xda" * 200) is None
        assert told(with_segments(JPEG, [segment(0xE1, b"\xff\xda" * 200)])) is None

    @pytest.mark.parametrize("mark", [b"\xff\xd9", b"\xff\xda"])
    def test_a_comment_between_scans_neither_ends_nor_counts(self, mark):
        content = jpeg_of_scans(8, 8, MAX_SCANS + 1)
        second = content.index(b"\xff\xda", content.index(b"\xff\xda") + 1)
        hidden = content[:second] + segment(0xFE, mark * 20) + content[second:]
        assert told(hidden) == "more than 100 scans"
        few = jpeg_of_scans(8, 8, 5)
        second = few.index(b"\xff\xda", few.index(b"\xff\xda") + 1)
        assert told(few[:second] + segment(0xFE, mark * 200) + few[second:]) is None

    def test_restarts_and_stuffed_bytes_are_data_of_a_scan(self):
        place = JPEG.index(b"\xff\xda") + 14
        assert told(JPEG[:place] + b"\xff\x00\xff\xd0\xff\xd7" * 40_000 + JPEG[place:]) is None

    @pytest.mark.parametrize(
        ("part", "count", "reason"),
        [
            (b"\xff", 70_000, "more than 65,536 bytes between its segments"),
            (b"\xff\xd0" + b"a" * 999, 70, "more than 65,536 bytes between its segments"),
            (segment(0xFE), MAX_PARTS + 70_000, "more than 50,000 segments"),
            (segment(0xE1, b"Exif\0\0" + bytes(60_000)), 140, "more than 8 MB of EXIF"),
        ],
    )
    def test_what_stands_before_the_first_scan(self, part, count, reason):
        assert told(with_segments(JPEG, [part] * count)) == reason
        assert told(with_segments(JPEG, [part] * (count // 3))) is None

    def test_segments_between_scans(self):
        content = jpeg_of_scans(8, 8, 2)
        second = content.index(b"\xff\xda", content.index(b"\xff\xda") + 1)
        more = segment(0xFE) * (MAX_PARTS + 1)
        assert told(content[:second] + more + content[second:]) == "more than 50,000 segments"


class TestPng:
    @pytest.mark.parametrize("where", ["before", "after"])
    def test_chunks(self, where):
        few = png(8, 8, **{where: [chunk(b"prVt")] * (MAX_PARTS - 3)})
        assert told(few) is None
        many = png(8, 8, **{where: [chunk(b"prVt")] * (MAX_PARTS - 2)})
        assert told(many) == "more than 50,000 chunks"


class TestGif:
    @pytest.mark.parametrize("kind", [0xFE, 0xFF])
    def test_blocks(self, kind):
        few = with_gif_extension(GIF, gif_blocks(kind, [b"a"] * (MAX_BLOCKS - 1)))
        assert told(few) is None
        many = with_gif_extension(GIF, gif_blocks(kind, [b"a"] * MAX_BLOCKS))
        assert told(many) == "more than 250,000 blocks before its picture"

    def test_junk_and_extensions_without_blocks_count(self):
        assert "more than" in str(told(with_gif_extension(GIF, b"\0" * (MAX_BLOCKS + 1))))
        assert "more than" in str(told(with_gif_extension(GIF, b"!\xfe\0" * (MAX_BLOCKS + 1))))

    def test_what_lies_behind_the_first_frame_is_not_looked_at(self):
        assert told(GIF[:-1] + gif_blocks(0xFE, [b"a"] * 300_000) + b";") is None


class TestTiff:
    @pytest.mark.parametrize(("kind", "layout"), [(SHORT, "<H"), (LONG, "<I")])
    def test_tiles(self, kind, layout):
        def tiled(wide, high):
            sides = [
                (322, kind, 1, struct.pack(layout, wide)),
                (323, kind, 1, struct.pack(layout, high)),
            ]
            return tiff(8, 8, bytes(64), more=sides)

        assert told(tiled(8_000, 8_000)) is None
        assert told(tiled(8_001, 8_000)) == "tiles of more than 64 Mpx"

    def test_of_two_sides_the_larger_counts(self):
        sides = [(322, LONG, 1, 9_000), (322, LONG, 1, 9), (323, LONG, 1, 9_000)]
        assert told(tiff(8, 8, bytes(64), more=sides)) == "tiles of more than 64 Mpx"

    @pytest.mark.parametrize("tag", [273, 279, 324, 325])
    def test_strips(self, tag):
        assert told(tiff(8, 8, bytes(64), more=[(tag, LONG, 2_000_000, 8)])) is None
        reason = told(tiff(8, 8, bytes(64), more=[(tag, LONG, 2_000_001, 8)]))
        assert reason == "more than 2,000,000 strips or tiles"

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_the_big_form(self, order):
        def big(entries, *found):
            mark = b"II" if order == "<" else b"MM"
            head = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, entries)
            table = b"".join(struct.pack(order + "HHQQ", *each) for each in found)
            return head + table

        assert told(big(65_536)) == "more than 65,535 entries in its directory"
        assert told(big(3, (256, 4, 1, 8))) is None
        tile = (322, 16, 1, 9_000), (323, 16, 1, 9_000)
        assert told(big(2, *tile)) == "tiles of more than 64 Mpx"


def test_markers_of_jpeg_that_have_no_length_are_those_of_pillow():
    from PIL.JpegImagePlugin import MARKER

    without = {marker & 0xFF for marker, (*_, handler) in MARKER.items() if handler is None}
    assert without == image_structure._ALONE
