"""Kept pixels against decoded ones, whatever happened to the images or to the file meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msedge.data import pixel_cache
from msedge.data.images import read_pixels
from msedge.data.layouts import Record
from msedge.data.pixel_cache import PixelCache
from msedge.data.pixel_pack import pack_bytes
from msedge.errors import DataError
from pictures import read_framed

SIZE = 16
ROW = 3 * SIZE * SIZE


def write_image(path: Path, seed: int) -> None:
    """Noise of a seed, in a file whose length does not depend on it; its content is a bitmap."""
    noise = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "BMP")


@pytest.fixture
def records(tmp_path) -> list[Record]:
    made = []
    for row in range(8):
        path = tmp_path / f"{row}.png"
        write_image(path, row)
        made.append(Record(path, "sketch" if row % 2 else "photo", "cat"))
    return made


def opened(records: list[Record], **changes) -> PixelCache:
    options = {"size": SIZE, "frame_sketches": False, "limit_gb": 1.0} | changes
    return PixelCache.open(records[0].path.parent / "cache", records, **options)


def decoded(records: list[Record]) -> np.ndarray:
    return np.stack([read_pixels(record.path, SIZE).transpose(1, 2, 0) for record in records])


def fetched(cache: PixelCache, rows: list[int]) -> np.ndarray:
    out = np.zeros((len(rows), SIZE, SIZE, 3), np.uint8)
    for place, row in enumerate(rows):
        cache.fetch(row, out[place])
    return out


def copied(cache: PixelCache, rows: list[int]) -> tuple[np.ndarray, list[int]]:
    out = np.zeros((len(rows), SIZE, SIZE, 3), np.uint8)
    return out, cache.copy(np.array(rows), out).tolist()


class TestSmoke:
    def test_what_is_decoded_once_is_copied_ever_after(self, records, decodes):
        cache = opened(records)
        assert copied(cache, [2, 0])[1] == [0, 1]
        assert np.array_equal(fetched(cache, list(range(8))), decoded(records))
        assert decodes.since() == list("01234567")
        out, left = copied(cache, [3, 3, 7, 0])
        assert left == []
        assert np.array_equal(out, decoded(records)[[3, 3, 7, 0]])
        again = opened(records)
        assert copied(again, [1])[1] == [0]  # not met by this one
        assert np.array_equal(fetched(again, list(range(8))), decoded(records))
        assert copied(again, list(range(8)))[1] == []
        assert decodes.since() == []

    def test_framed_sketches(self, records):
        cache = opened(records, frame_sketches=True)
        readers = [read_framed if r.domain == "sketch" else read_pixels for r in records]
        for row, (reader, record) in enumerate(zip(readers, records, strict=True)):
            expected = reader(record.path, SIZE).transpose(1, 2, 0)
            for _ in range(2):
                assert np.array_equal(fetched(cache, [row])[0], expected)

    def test_what_it_says_of_itself(self, records):
        cache = opened(records)
        assert (cache.capacity, cache.count) == (8, 8)
        assert cache.shown_as == {"size": SIZE, "frame_sketches": False}
        assert cache.path.stat().st_size == round(cache.gigabytes * 1e9)

    def test_rows_are_found_by_record(self, records, monkeypatch):
        cache = opened(records)
        assert cache.rows_of(records[::-1]).tolist() == list(range(7, -1, -1))
        strange = Record(records[0].path.with_name("x.png"), "photo", "cat")
        assert cache.rows_of([strange, records[3]]).tolist() == [-1, 3]
        assert cache.rows_of([]).shape == (0,)
        monkeypatch.chdir(records[0].path.parent)
        relative = Record(Path("4.png"), "photo", "cat")
        assert cache.rows_of([relative]).tolist() == [4]


class TestKeys:
    @pytest.mark.parametrize(
        "changes", [{"size": 17}, {"frame_sketches": True}], ids=["size", "framing"]
    )
    def test_other_pixels_are_another_file(self, records, changes):
        assert opened(records).path != opened(records, **changes).path

    def test_other_images_are_another_file(self, records):
        paths = {
            opened(records).path,
            opened(records[:-1]).path,
            opened(records[::-1]).path,
            opened([Record(records[0].path, "sketch", "cat"), *records[1:]]).path,
        }
        assert len(paths) == 4

    def test_another_decoder_is_another_file(self, records, monkeypatch):
        before = opened(records).path
        monkeypatch.setattr("PIL.__version__", "0.0")
        assert opened(records).path != before

    def test_where_it_was_started_does_not_matter(self, records, monkeypatch):
        before = opened(records).path
        monkeypatch.chdir(records[0].path.parent)
        relative = [Record(Path(r.path.name), r.domain, r.class_name) for r in records]
        assert (
            opened(relative).path.resolve()
            == PixelCache.open(
                before.parent, relative, size=SIZE, frame_sketches=False, limit_gb=1
            ).path
        )
        assert opened(relative).path.name == before.name


class TestChanges:
    """Of an image's file, and of the file of pixels."""

    @pytest.fixture
    def filled(self, records, decodes) -> PixelCache:
        cache = opened(records)
        fetched(cache, list(range(8)))
        decodes.since()
        return cache

    @pytest.mark.usefixtures("filled")
    def test_other_content_is_decoded_anew(self, records, decodes):
        """Of the same length, so that only the time of change tells."""
        path, before = records[5].path, records[5].path.stat()
        write_image(path, 99)
        os.utime(path, ns=(0, before.st_mtime_ns + 1))
        assert path.stat().st_size == before.st_size
        again = opened(records)
        assert np.array_equal(fetched(again, list(range(8))), decoded(records))
        assert decodes.since() == ["5"]
        assert np.array_equal(fetched(opened(records), [5]), decoded(records)[[5]])
        assert decodes.since() == []

    @pytest.mark.usefixtures("filled")
    def test_a_new_time_alone_is_not(self, records, decodes):
        for record in records:
            record.path.touch()
        again = opened(records)
        assert np.array_equal(fetched(again, list(range(8))), decoded(records))
        assert decodes.since() == []

    @pytest.mark.usefixtures("filled")
    def test_nor_is_it_hashed_twice(self, records, decodes, monkeypatch):
        records[2].path.touch()
        fetched(opened(records), [2])
        monkeypatch.setattr(pixel_cache, "read_content", None)
        assert np.array_equal(fetched(opened(records), [2]), decoded(records)[[2]])
        assert decodes.since() == []

    @pytest.mark.usefixtures("filled")
    def test_an_image_that_has_gone_is_not_kept_alive(self, records):
        records[3].path.unlink()
        with pytest.raises(DataError, match=r"3\.png: no such file"):
            fetched(opened(records), [3])

    def test_a_flipped_bit_is_noticed(self, records, decodes, filled):
        content = bytearray(filled.path.read_bytes())
        content[len(content) - 3 * ROW + 100] ^= 1  # row 5
        filled.path.write_bytes(content)
        again = opened(records)
        assert np.array_equal(fetched(again, list(range(8))), decoded(records))
        assert decodes.since() == ["5"]
        fetched(opened(records), [5])  # and mended
        assert decodes.since() == []

    def test_what_another_process_replaces_is_not_copied_unseen(self, records, decodes, filled):
        """The file's other readers see that a row is no longer the one that they verified."""
        write_image(records[6].path, 99)
        os.utime(records[6].path, ns=(0, 1))
        fetched(opened(records), [6])
        out, left = copied(filled, [1, 6, 2])
        assert left == [1]
        assert np.array_equal(out[[0, 2]], decoded(records)[[1, 2]])
        decodes.since()
        assert np.array_equal(fetched(filled, [6]), decoded(records)[[6]])
        assert copied(filled, [6])[1] == []
        assert decodes.since() == []

    def test_what_is_replaced_while_it_is_copied_is_told(self, records, filled, monkeypatch):
        copy = pixel_cache.PixelPack.copy

        def slow(self, rows, out):
            copy(self, rows, out)
            write_image(records[6].path, 99)
            os.utime(records[6].path, ns=(0, 1))
            fetched(opened(records), [6])

        monkeypatch.setattr(pixel_cache.PixelPack, "copy", slow)
        assert copied(filled, [5, 6])[1] == [1]


class TestBound:
    def test_a_set_that_is_larger_keeps_its_first_images(self, records):
        cache = opened(records, limit_gb=(8192 + 3 * (ROW + 64)) / 1e9)
        assert (cache.capacity, cache.count) == (3, 8)
        assert cache.rows_of(records).tolist() == [0, 1, 2, -1, -1, -1, -1, -1]
        out, left = copied(cache, [-1, 2, -1])
        assert left == [0, 1, 2]
        assert np.array_equal(fetched(cache, [2, 0]), decoded(records)[[2, 0]])
        out, left = copied(cache, [-1, 2, -1, 0])
        assert left == [0, 2]
        assert np.array_equal(out[[1, 3]], decoded(records)[[2, 0]])

    @pytest.mark.parametrize("limit_gb", [0.0, 8e-6])
    def test_room_for_no_image(self, records, limit_gb):
        cache = opened(records, limit_gb=limit_gb)
        assert (cache.capacity, cache.count, cache.gigabytes) == (0, 8, 0.0)
        assert cache.rows_of(records).tolist() == [-1] * 8
        assert copied(cache, [-1, -1])[1] == [0, 1]
        assert not cache.path.exists()

    def test_no_images(self, tmp_path):
        cache = PixelCache.open(tmp_path, [], size=SIZE, frame_sketches=False, limit_gb=1)
        assert (cache.capacity, cache.count) == (0, 0)

    @pytest.mark.parametrize("limit_gb", [8300e-9, 9500e-9, 12e-6, 1.4e-5, 2e-5, float("inf")])
    def test_the_file_is_never_larger_than_the_bound(self, records, limit_gb):
        cache = opened(records, limit_gb=limit_gb)
        if cache.capacity:
            assert cache.path.stat().st_size <= limit_gb * 1e9

    def test_another_dataset_takes_the_place_of_the_one_not_used_for_longest(self, records):
        limit = 2.5 * pack_bytes(4, SIZE) / 1e9
        first, second, third = records[:4], records[2:6], records[4:]
        paths = [opened(part, limit_gb=limit).path for part in (first, second)]
        for path, when in zip(paths, (1_000, 2_000), strict=True):
            os.utime(path, (when, when))
        opened(first, limit_gb=limit)
        last = opened(third, limit_gb=limit)
        assert [path.exists() for path in paths] == [True, False]
        assert last.path.exists()


class TestExceptions:
    def test_an_image_that_cannot_be_read_is_named_and_not_kept(self, records):
        good = records[4].path.read_bytes()
        records[4].path.write_bytes(b"no image")
        cache = opened(records)
        with pytest.raises(DataError, match=r"4\.png: its content is not"):
            fetched(cache, [4])
        records[4].path.write_bytes(good)
        assert np.array_equal(fetched(cache, [4]), decoded(records)[[4]])

    def test_a_disk_that_fails_while_it_is_filled(self, records, monkeypatch):
        def fail(*_):
            raise OSError(28, "No space left on device")

        cache = opened(records)
        monkeypatch.setattr(pixel_cache.PixelPack, "_write", fail)
        with pytest.raises(DataError, match=r"^cannot write .* \(No space left.*; .*--no-cache$"):
            fetched(cache, [0])
