"""Records to pixels: those that Pillow sees, in the order that was asked for, kept or not."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from msedge.data import datasets, pixel_cache
from msedge.data.datasets import ImageSet
from msedge.data.layouts import Record
from msedge.data.pixel_cache import PixelCache
from msedge.errors import ConfigError, DataError
from pictures import read_framed

SIZE = 8
CLASSES = ("bird", "cat", "dog")
ROW = 3 * SIZE * SIZE
Kept = Callable[..., ImageSet]
KEPT_ROWS = {"streamed": None, "kept": 10, "in part": 4, "no room": 0}


def write_records(folder: Path) -> list[Record]:
    """Ten drawings and photos of noise; the classes come in another order than their labels."""
    random = np.random.default_rng(0)
    made = []
    for row in range(10):
        path = folder / f"{row}.png"
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
        made.append(Record(path, "sketch" if row % 3 == 0 else "photo", CLASSES[-row % 3]))
    return made


@pytest.fixture
def records(tmp_path) -> list[Record]:
    return write_records(tmp_path)


def pixels_of(records: list[Record]) -> torch.Tensor:
    images = [np.asarray(Image.open(record.path).convert("RGB")) for record in records]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def image_set(records: list[Record], rows_kept: int | None = None, **options) -> ImageSet:
    """A set of which so many rows are kept; None for one without a cache."""
    if rows_kept is not None:
        options["cache"] = PixelCache.open(
            records[0].path.parent / f"cache of {rows_kept}",
            records,
            size=options.get("size", SIZE),
            frame_sketches=options.get("frame_sketches", False),
            limit_gb=(8192 + rows_kept * (64 + 3 * options.get("size", SIZE) ** 2)) / 1e9,
        )
        assert options["cache"].capacity == rows_kept
    return ImageSet(records, CLASSES, **({"size": SIZE} | options))


@pytest.fixture(params=KEPT_ROWS.values(), ids=KEPT_ROWS.keys())
def images(request, records) -> ImageSet:
    """Without a cache, with one, with one that holds a part of the set, with an empty one."""
    return image_set(records, request.param)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[dict[int | None, ImageSet], torch.Tensor]:
    """Sets of the same images by how many rows are kept, and their pixels."""
    records = write_records(tmp_path_factory.mktemp("drawn"))
    return {kept: image_set(records, kept) for kept in KEPT_ROWS.values()}, pixels_of(records)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the images that were decoded, as it happens."""
    names, decode = [], datasets.decode

    def counting(content, record, **options):
        names.append(record.path.stem)
        return decode(content, record, **options)

    monkeypatch.setattr(datasets, "decode", counting)
    monkeypatch.setattr(pixel_cache, "decode", counting)
    return names


def readers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("msedge-stream")]


class TestSmoke:
    def test_pixels_are_those_that_pillow_sees(self, records, images):
        for _ in range(2):  # decoded, and then kept
            pixels = images.pixels(torch.arange(10))
            assert pixels.dtype == torch.uint8
            assert torch.equal(pixels, pixels_of(records))
            assert pixels.is_contiguous(memory_format=torch.channels_last)

    def test_framed_sketches(self, records):
        for kept in (None, 10):
            images = image_set(records, kept, frame_sketches=True, size=6)
            for _ in range(2):
                pixels = images.pixels(torch.tensor([3, 0])).numpy()
                expected = np.stack([read_framed(records[row].path, 6) for row in (3, 0)])
                assert np.array_equal(pixels, expected)

    def test_labels_and_domains(self, records):
        images = image_set(records)
        assert images.labels.tolist() == [0, 2, 1, 0, 2, 1, 0, 2, 1, 0]
        assert images.domains.tolist() == [0, 1, 1, 0, 1, 1, 0, 1, 1, 0]
        assert [CLASSES[label] for label in images.labels] == [r.class_name for r in records]
        assert images.shown_as == {"size": SIZE, "frame_sketches": False}

    def test_a_stream_is_the_pixels_of_its_chunks(self, records, images):
        chunks = [torch.tensor(rows) for rows in ([3, 1], [9], [0, 0, 5], [2, 4, 6, 7, 8])]
        for _ in range(2):
            found = list(images.stream(chunks))
            assert len(found) == len(chunks)
            for rows, pixels in zip(chunks, found, strict=True):
                assert torch.equal(pixels, pixels_of(records)[rows])


class TestExceptions:
    def test_a_file_that_cannot_be_read_is_named(self, records, images):
        good = records[3].path.read_bytes()
        records[3].path.write_bytes(b"no image")
        with pytest.raises(DataError, match=r"3\.png: its content is not"):
            images.pixels(torch.tensor([2, 3, 4]))
        records[3].path.write_bytes(good)  # what failed was not kept
        assert torch.equal(images.pixels(torch.tensor([2, 3, 4])), pixels_of(records)[2:5])

    def test_a_class_without_a_label(self, records):
        with pytest.raises(KeyError, match="dog"):
            ImageSet(records, CLASSES[:2], size=SIZE)

    def test_a_row_that_does_not_exist(self, images):
        with pytest.raises(IndexError):
            images.pixels(torch.tensor([0, 10]))

    def test_a_size_that_is_none(self, records):
        with pytest.raises(ConfigError, match="at least 1 pixel, got 0"):
            ImageSet(records, CLASSES, size=0)

    @pytest.mark.parametrize("changes", [{"size": 9}, {"frame_sketches": True}])
    def test_a_cache_of_other_pixels(self, records, changes):
        cache = PixelCache.open(
            records[0].path.parent / "cache",
            records,
            **({"size": SIZE, "frame_sketches": False, "limit_gb": 1.0} | changes),
        )
        with pytest.raises(ConfigError, match=r"^the cache keeps images as .* these are .*"):
            ImageSet(records, CLASSES, size=SIZE, cache=cache)

    def test_a_stream_raises_at_the_turn_of_the_chunk(self, records, images):
        records[5].path.unlink()
        found = images.stream(torch.arange(10).split(2))
        assert torch.equal(next(found), pixels_of(records[:2]))
        assert torch.equal(next(found), pixels_of(records[2:4]))
        with pytest.raises(DataError, match=r"5\.png: no such file"):
            next(found)
        assert readers() == []

    def test_what_the_chunks_raise_is_raised(self, images):
        def chunks() -> Iterator[torch.Tensor]:
            yield torch.tensor([0])
            raise ValueError("no more")

        with pytest.raises(ValueError, match="no more"):
            list(images.stream(chunks()))
        assert readers() == []

    def test_nothing_ahead(self, images):
        with pytest.raises(ConfigError, match="at least 1 ahead, not 0"):
            images.stream([], ahead=0)


class TestCardinality:
    @settings(deadline=None, max_examples=25)
    @given(rows=st.lists(st.integers(0, 9), max_size=25), kept=st.sampled_from([None, 0, 4, 10]))
    def test_rows_come_in_the_order_asked_for(self, drawn, rows, kept):
        sets, pixels = drawn
        found = sets[kept].pixels(torch.tensor(rows, dtype=torch.int64))
        assert found.shape == (len(rows), 3, SIZE, SIZE)
        assert torch.equal(found, pixels[rows])
        assert len(sets[kept]) == 10

    def test_a_size_of_its_own(self, records):
        images = ImageSet(records, CLASSES, size=5)
        assert images.pixels(torch.tensor([0])).shape == (1, 3, 5, 5)

    def test_no_records(self):
        images = ImageSet([], CLASSES, size=SIZE)
        assert len(images) == 0
        assert (images.labels.dtype, images.domains.dtype) == (torch.int64, torch.int64)
        assert images.pixels(torch.tensor([], dtype=torch.int64)).shape == (0, 3, SIZE, SIZE)
        assert list(images.stream([])) == []

    @pytest.mark.parametrize("ahead", [1, 2, 5, 50])
    def test_a_stream_reads_no_further_ahead_than_told(self, records, ahead):
        images, asked = image_set(records), []

        def chunks() -> Iterator[torch.Tensor]:
            for row in range(10):
                asked.append(row)
                yield torch.tensor([row])

        for turn, pixels in enumerate(images.stream(chunks(), ahead=ahead)):
            assert torch.equal(pixels, pixels_of(records)[[turn]])
            assert asked == list(range(min(10, turn + 1 + ahead)))

    def test_changing_a_batch_does_not_change_what_is_kept(self, records, images):
        for _ in range(2):
            images.pixels(torch.tensor([0])).zero_()
            assert torch.equal(images.pixels(torch.tensor([0])), pixels_of(records)[:1])


class TestKept:
    def test_what_is_kept_is_not_decoded_again(self, records, decoded):
        images = image_set(records, 10)
        before = images.pixels(torch.arange(10))
        assert sorted(decoded) == sorted("0123456789")
        decoded.clear()
        for record in records:
            record.path.unlink()
        assert torch.equal(images.pixels(torch.arange(10)), before)
        assert decoded == []

    def test_a_warm_batch_does_no_work_for_each_image(self, records, monkeypatch):
        """Once all is met, the very calls that look at one image are gone."""
        images = image_set(records, 10)
        expected = images.pixels(torch.arange(10))
        monkeypatch.setattr(ImageSet, "_fill", None)
        monkeypatch.setattr(PixelCache, "fetch", None)
        calls = []
        copy = pixel_cache.PixelPack.copy

        def counting(self, rows, out):
            calls.append(len(rows))
            copy(self, rows, out)

        monkeypatch.setattr(pixel_cache.PixelPack, "copy", counting)
        order = torch.tensor([7, 7, 1, 0, 9, 3])
        assert torch.equal(images.pixels(order), expected[order])
        assert [pixels.shape[0] for pixels in images.stream(order.split(2))] == [2, 2, 2]
        assert calls == [6, 2, 2, 2]

    def test_parts_of_a_dataset_share_what_is_kept(self, records, decoded):
        whole = image_set(records, 10)
        cache = whole._cache
        part = ImageSet(records[6:2:-1], CLASSES, size=SIZE, cache=cache)
        assert torch.equal(part.pixels(torch.arange(4)), pixels_of(records[6:2:-1]))
        decoded.clear()
        assert torch.equal(whole.pixels(torch.arange(3, 7)), pixels_of(records[3:7]))
        assert decoded == []

    def test_only_what_does_not_fit_is_decoded_again(self, records, decoded):
        images = image_set(records, 4)
        images.pixels(torch.arange(10))
        decoded.clear()
        assert torch.equal(images.pixels(torch.arange(10)), pixels_of(records))
        assert sorted(decoded) == list("456789")


class TestStream:
    def test_the_next_chunks_are_read_while_the_caller_computes(self, records, decoded):
        found = image_set(records).stream(torch.arange(10).split(1), ahead=3)
        next(found)
        limit = time.monotonic() + 30
        while len(decoded) < 4 and time.monotonic() < limit:
            time.sleep(0.001)
        assert sorted(decoded) == list("0123")
        found.close()

    def test_closing_ends_the_thread(self, records, decoded):
        found = image_set(records).stream(torch.arange(10).split(1))
        assert readers() == []  # nothing is begun before it is asked for
        next(found)
        assert len(readers()) == 1
        found.close()
        assert readers() == []
        assert len(decoded) <= 3

    def test_so_does_forgetting_it(self, records):
        found = image_set(records).stream(torch.arange(10).split(1))
        next(found)
        del found
        gc.collect()
        assert readers() == []

    def test_so_does_an_error_of_the_caller(self, records):
        def compute() -> None:
            for _ in image_set(records).stream(torch.arange(10).split(1)):
                raise RuntimeError("the network")

        with pytest.raises(RuntimeError, match="the network"):
            compute()
        gc.collect()
        assert readers() == []

    def test_random_numbers_are_drawn_in_order(self, records):
        """By the caller's thread, whatever the reading thread does meanwhile."""
        images = image_set(records)
        torch.manual_seed(3)
        expected = [torch.randperm(10)[:2] for _ in range(6)]
        torch.manual_seed(3)
        found = list(images.stream(torch.randperm(10)[:2] for _ in range(6)))
        for rows, pixels in zip(expected, found, strict=True):
            assert torch.equal(pixels, pixels_of(records)[rows])

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs CUDA")
    def test_pinned(self, records, images):
        (pixels,) = images.stream([torch.tensor([1, 0])], pin=True)
        assert pixels.is_pinned()
        assert torch.equal(pixels, pixels_of(records)[[1, 0]])
