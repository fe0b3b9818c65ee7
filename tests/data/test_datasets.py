"""Records to batches: the pixels that Pillow sees, in the order that was asked for."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from msedge.data.datasets import Batch, ImageSet
from msedge.data.layouts import Record
from msedge.errors import DataError

SIZE = 8
CLASSES = ("bird", "cat", "dog")
BYTES_A_ROW = 3 * SIZE * SIZE


@pytest.fixture
def records(tmp_path) -> list[Record]:
    """Ten drawings and photos of noise; the classes come in another order than their labels."""
    random = np.random.default_rng(0)
    made = []
    for row in range(10):
        path = tmp_path / f"{row}.png"
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
        made.append(Record(path, "sketch" if row % 3 == 0 else "photo", CLASSES[-row % 3]))
    return made


def pixels_of(records: list[Record]) -> torch.Tensor:
    images = [np.asarray(Image.open(record.path).convert("RGB")) for record in records]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def image_set(records: list[Record], **options) -> ImageSet:
    return ImageSet(records, CLASSES, size=SIZE, **options)


def rows_of(images: ImageSet, *, shuffle: bool, batch_size: int = 3) -> list[list[int]]:
    return [batch.rows.tolist() for batch in images.batches(batch_size, shuffle=shuffle)]


class TestSmoke:
    @pytest.mark.parametrize("cache_gb", [4.0, 0.0], ids=["cached", "uncached"])
    def test_pixels_are_those_that_pillow_sees(self, records, cache_gb):
        images = image_set(records, cache_gb=cache_gb)
        for _ in range(2):  # decoded, and then remembered
            batch = images.__getitems__(list(range(10)))
            assert batch.images.dtype == torch.uint8
            assert torch.equal(batch.images, pixels_of(records))

    def test_one_row_is_a_batch_of_one(self, records):
        batch = image_set(records)[4]
        assert isinstance(batch, Batch)
        assert torch.equal(batch.images, pixels_of(records)[4:5])
        assert (batch.labels.tolist(), batch.domains.tolist(), batch.rows.tolist()) == (
            [2],
            [1],
            [4],
        )

    def test_labels_and_domains(self, records):
        images = image_set(records)
        assert images.labels.tolist() == [0, 2, 1, 0, 2, 1, 0, 2, 1, 0]
        assert images.domains.tolist() == [0, 1, 1, 0, 1, 1, 0, 1, 1, 0]
        assert [CLASSES[label] for label in images.labels] == [r.class_name for r in records]


class TestExceptions:
    @pytest.mark.parametrize("cache_gb", [4.0, 0.0], ids=["cached", "uncached"])
    def test_a_file_that_cannot_be_read_is_named(self, records, cache_gb):
        good = records[5].path.read_bytes()
        records[5].path.write_bytes(b"no image")
        images = image_set(records, cache_gb=cache_gb)
        with pytest.raises(DataError, match=r"5\.png"):
            list(images.batches(4, shuffle=False))
        records[5].path.write_bytes(good)  # what failed was not remembered
        assert torch.equal(images.__getitems__([4, 5, 6]).images, pixels_of(records)[4:7])

    def test_a_class_without_a_label(self, records):
        with pytest.raises(KeyError, match="dog"):
            ImageSet(records, CLASSES[:2], size=SIZE)

    def test_a_row_that_does_not_exist(self, records):
        with pytest.raises(IndexError):
            image_set(records)[10]


class TestCardinality:
    @pytest.mark.parametrize("rows", [[3], [7, 2, 2, 9], list(range(9, -1, -1))])
    @pytest.mark.parametrize("cache_gb", [4.0, 0.0], ids=["cached", "uncached"])
    def test_rows_come_in_the_order_asked_for(self, records, rows, cache_gb):
        images = image_set(records, cache_gb=cache_gb)
        batch = images.__getitems__(rows)
        assert batch.rows.tolist() == rows
        assert torch.equal(batch.images, pixels_of(records)[rows])
        assert torch.equal(batch.labels, images.labels[rows])
        assert torch.equal(batch.domains, images.domains[rows])

    @pytest.mark.parametrize(("batch_size", "sizes"), [(3, [3, 3, 3, 1]), (5, [5, 5]), (99, [10])])
    def test_in_order_every_row_comes(self, records, batch_size, sizes):
        rows = rows_of(image_set(records), shuffle=False, batch_size=batch_size)
        assert [len(batch) for batch in rows] == sizes
        assert list(chain(*rows)) == list(range(10))

    @pytest.mark.parametrize(("batch_size", "sizes"), [(3, [3, 3, 3]), (5, [5, 5]), (99, [])])
    def test_shuffled_the_last_incomplete_batch_is_dropped(self, records, batch_size, sizes):
        rows = rows_of(image_set(records), shuffle=True, batch_size=batch_size)
        assert [len(batch) for batch in rows] == sizes
        drawn = list(chain(*rows))
        assert len(set(drawn)) == len(drawn)

    def test_a_size_of_its_own(self, records):
        assert ImageSet(records, CLASSES, size=5)[0].images.shape == (1, 3, 5, 5)

    def test_no_records(self):
        images = image_set([])
        assert len(images) == 0
        assert (images.labels.dtype, images.domains.dtype) == (torch.int64, torch.int64)
        assert list(images.batches(4, shuffle=False)) == []


class TestNumbers:
    def test_torchs_seed_decides_the_order(self, records):
        images = image_set(records)
        torch.manual_seed(3)
        first, second = rows_of(images, shuffle=True), rows_of(images, shuffle=True)
        torch.manual_seed(3)
        assert rows_of(images, shuffle=True) == first
        assert rows_of(images, shuffle=True) == second
        assert first != second

    def test_shuffled_batches_hold_what_belongs_to_their_rows(self, records):
        images, pixels = image_set(records), pixels_of(records)
        torch.manual_seed(0)
        for batch in images.batches(4, shuffle=True):
            assert torch.equal(batch.images, pixels[batch.rows])
            assert torch.equal(batch.labels, images.labels[batch.rows])

    def test_a_cached_image_is_decoded_once(self, records):
        images = image_set(records)
        before = images.__getitems__(list(range(10))).images
        for record in records:
            record.path.unlink()
        assert torch.equal(images.__getitems__(list(range(10))).images, before)

    def test_only_what_was_read_is_remembered(self, records):
        images = image_set(records)
        images.__getitems__([0, 1])
        for record in records:
            record.path.unlink()
        assert images.__getitems__([1, 0]).rows.tolist() == [1, 0]
        with pytest.raises(DataError, match=r"2\.png"):
            images.__getitems__([1, 2])

    @pytest.mark.parametrize(("rows_kept", "remembers"), [(10.1, True), (9.9, False), (0, False)])
    def test_the_cache_keeps_to_its_bound(self, records, rows_kept, remembers):
        images = image_set(records, cache_gb=rows_kept * BYTES_A_ROW / 1e9)
        images[0]
        Path(records[0].path).unlink()
        if remembers:
            assert images[0].rows.tolist() == [0]
        else:
            with pytest.raises(DataError, match=r"0\.png"):
                images[0]

    def test_changing_a_batch_does_not_change_the_cache(self, records):
        images = image_set(records)
        images[0].images.zero_()
        assert torch.equal(images[0].images, pixels_of(records)[:1])
