"""From photos to facts, pixels and vectors, as one machine and a cluster's workers read them."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags

from encoders import ColourEncoder
from msedge.data.images import read_pixels
from msedge.search import reading
from msedge.search.encoder import OnnxEncoder
from msedge.search.photo import NewPhoto
from msedge.search.reading import Decoded, Known, embedded, read_photo
from msedge.search.sources import find
from msedge.search.sources.contents import Unreadable
from msedge.search.sources.objects import Item, found_at
from msedge.search.sources.shards import list_shard
from photo_files import write_photo
from shard_files import photo_bytes, write_parquet, write_tar

DATE, SECONDS = "2020:01:31 10:00:00", 1_580_464_800.0  # date -u -d 2020-01-31T10:00:00 +%s


class CountingEncoder(ColourEncoder):
    """Counts the photos that it embeds."""

    def __init__(self):
        super().__init__()
        self.count, self.lock = 0, threading.Lock()

    def photos(self, pixels):
        with self.lock:
            self.count += len(pixels)
        return super().photos(pixels)


def read(path, *, known=False):
    return read_photo(found_at(str(path)), None, 16, lambda _: known)


def facts_of(path):
    photo = read(path)
    assert isinstance(photo, Decoded)
    return photo.facts


class TestReading:
    def test_facts_and_pixels(self, tmp_path):
        path = write_photo(tmp_path / os.fsdecode(b"\xff\n.png"), 1, second=77, size=(40, 30))
        photo = read(path)
        assert isinstance(photo, Decoded)
        facts = photo.facts
        content_hash = hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()
        assert (facts.path, facts.content_hash) == (path, content_hash)
        assert (facts.size, facts.mtime_ns) == (path.stat().st_size, 77 * 10**9)
        assert (facts.width, facts.height, facts.taken) == (40, 30, 77.0)
        np.testing.assert_array_equal(photo.pixels, read_pixels(path, 16))

    def test_the_size_is_the_files_though_less_of_it_is_decoded(self, tmp_path):
        facts = facts_of(write_photo(tmp_path / "a.jpg", size=(801, 603)))
        assert (facts.width, facts.height) == (801, 603)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_size_is_that_of_the_picture_held_upright(self, tmp_path, orientation):
        facts = facts_of(write_photo(tmp_path / "a.jpg", size=(40, 30), orientation=orientation))
        assert (facts.width, facts.height) == ((40, 30) if orientation < 5 else (30, 40))

    @pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".bmp", ".tif", ".heic"])
    def test_other_formats(self, tmp_path, suffix):
        if suffix == ".heic":
            pytest.importorskip("pillow_heif").register_heif_opener()
        facts = facts_of(write_photo(tmp_path / f"a{suffix}", size=(64, 48)))
        assert (facts.width, facts.height) == (64, 48)

    def test_known_content_is_not_decoded(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_bytes(b"no photo")
        known = read(path, known=True)
        assert isinstance(known, Known)
        assert known.item == found_at(str(path))
        assert known.content_hash == hashlib.blake2b(b"no photo", digest_size=32).hexdigest()

    def test_size_and_time_are_those_of_the_reading(self, tmp_path):
        path = write_photo(tmp_path / "a.png", second=77)
        before = Item(str(path), 1, 1)
        for photo in (read_photo(before, None, 16), read_photo(before, None, 16, lambda _: True)):
            found = photo.facts if isinstance(photo, Decoded) else photo.item
            assert (found.size, found.mtime_ns) == (path.stat().st_size, 77 * 10**9)
        given = read_photo(before, path.read_bytes(), 16)  # of a shard, which has its own
        assert (given.facts.size, given.facts.mtime_ns) == (1, 1)


class TestDates:
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".heic"])
    def test_the_cameras_clock_is_read_as_utc(self, tmp_path, suffix):
        if suffix == ".heic":
            pytest.importorskip("pillow_heif").register_heif_opener()
        assert facts_of(write_photo(tmp_path / f"a{suffix}", date=DATE)).taken == SECONDS

    def test_the_date_of_a_scan(self, tmp_path):
        tags = {ExifTags.IFD.Exif: {ExifTags.Base.DateTimeOriginal: DATE}}
        assert facts_of(write_photo(tmp_path / "a.tif", tiffinfo=tags)).taken == SECONDS

    @pytest.mark.parametrize(
        "date",
        ["0000:00:00 00:00:00", "    :  :     :  :  ", "2020:02:30 10:00:00", "", "yesterday"],
    )
    def test_a_clock_that_was_not_set_says_nothing(self, tmp_path, date):
        assert facts_of(write_photo(tmp_path / "a.jpg", second=9, date=date)).taken == 9.0

    def test_a_date_of_before_1970(self, tmp_path):
        assert facts_of(write_photo(tmp_path / "a.jpg", date="1969:12:31 23:59:59")).taken == -1.0


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [(b"", "content is not a"), (b"hello", "content is not a"), (b"\xff\xd8\xff\xe0", "")],
    )
    def test_damage(self, tmp_path, content, reason):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        for found in (read(path), read_photo(Item("/s.tar/a.jpg", 1, 1), content, 16)):
            assert isinstance(found, Unreadable)
            assert found.is_damaged
            assert reason in found.reason
            assert "cannot read image" not in found.reason

    def test_a_file_that_has_gone_may_be_a_photo(self, tmp_path):
        gone = read_photo(Item(str(tmp_path / "a.jpg"), 1, 1), None, 16)
        assert gone == Unreadable("no such file", is_damaged=False)

    def test_what_is_no_file_or_too_large_by_now_is_none(self, tmp_path, monkeypatch):
        os.mkfifo(tmp_path / "b.jpg")
        assert read(tmp_path / "b.jpg") == Unreadable("it is not a regular file", is_damaged=True)
        monkeypatch.setattr(reading, "MAX_BYTES", 100)
        large = read(write_photo(tmp_path / "a.jpg"))
        assert ("scale it down" in large.reason, large.is_damaged) == (True, True)

    @pytest.mark.parametrize("step", ["read_picture", "read_image_file"])
    def test_too_little_memory(self, tmp_path, monkeypatch, step):
        def fail(*_, **__):
            raise MemoryError

        monkeypatch.setattr(reading, step, fail)
        found = read(write_photo(tmp_path / "a.jpg"))
        assert ("memory" in found.reason, found.is_damaged) == (True, False)


@pytest.fixture
def items(tmp_path):
    for number in range(20):
        write_photo(tmp_path / f"{number:02}.png", number % 15)  # five are there twice
    (tmp_path / "07.png").write_bytes(b"no photo")
    return find([tmp_path]).files


class TestEmbedding:
    @pytest.mark.parametrize("workers", [1, 4])
    @pytest.mark.parametrize("batch_size", [1, 3, 100])
    @pytest.mark.parametrize("once", [True, False])
    def test_in_order_and_each_content_once_where_asked(self, items, workers, batch_size, once):
        encoder, known = CountingEncoder(), set() if once else None
        batches = list(
            embedded(items, encoder, workers=workers, batch_size=batch_size, known=known)
        )
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        pairs = [pair for batch in batches for pair in batch]
        assert [item for item, _ in pairs] == items
        assert [isinstance(photo, Unreadable) for _, photo in pairs].index(True) == 7
        new = [photo for _, photo in pairs if isinstance(photo, NewPhoto)]
        assert encoder.count == len(new) == (14 if once else 19)  # one content is damaged
        for photo in new:
            alone = ColourEncoder().photos(read_pixels(photo.path, 32)[None])[0]
            np.testing.assert_array_equal(photo.vector, alone.astype(np.float16))
            assert photo.vector.dtype == np.float16
        hashes = {photo.content_hash for photo in new}
        for item, photo in pairs:
            if isinstance(photo, Known):
                assert (photo.item, photo.content_hash in hashes) == (item, True)
        if known is not None:
            assert known > hashes

    def test_content_that_is_known_is_not_embedded(self, items):
        encoder = CountingEncoder()
        ((_, photo),) = next(embedded(items[:1], encoder, workers=1))
        ((_, again),) = next(embedded(items[:1], encoder, workers=1, known={photo.content_hash}))
        assert isinstance(again, Known)
        assert encoder.count == 1

    def test_nothing_to_read(self):
        assert list(embedded([], ColourEncoder(), workers=1)) == []

    def test_shards_give_the_vectors_of_files_of_the_same_content(self, tmp_path):
        members = {f"{n:02}.png": photo_bytes(n) for n in range(20)} | {"20.png": b"no photo"}
        tar = write_tar(tmp_path / "s.tar", members)
        rows = write_parquet(tmp_path / "p.parquet", {"image": list(members.values())})
        for name, content in members.items():
            (tmp_path / name).write_bytes(content)
        given = [
            [found_at(str(tmp_path / name)) for name in members],
            list(list_shard(found_at(str(tar))).photos),
            list(list_shard(found_at(str(rows))).photos),
        ]
        found = [
            [photo for batch in embedded(each, ColourEncoder(), workers=2) for _, photo in batch]
            for each in given
        ]
        assert found[0].pop() == found[1].pop() == found[2].pop()
        for file, member, row in zip(*found, strict=True):
            assert file.content_hash == member.content_hash == row.content_hash
            np.testing.assert_array_equal(file.vector, member.vector)
            np.testing.assert_array_equal(file.vector, row.vector)
        assert [photos[3].path for photos in found] == [
            tmp_path / "03.png", tar / "03.png", rows / "3",
        ]  # fmt: skip
        assert found[1][3].size == tar.stat().st_size

    def test_what_cannot_be_fetched_is_told(self, tmp_path):
        gone = Item(str(tmp_path / "s.tar" / "a.png"), 1, 1, str(tmp_path / "s.tar"))
        ((item, photo),) = next(embedded([gone], ColourEncoder(), workers=1))
        assert (item, photo) == (gone, Unreadable("no such file or directory", is_damaged=False))

    def test_two_threads_embed_at_once(self, items):
        class Meeting(ColourEncoder):
            """Returns when two threads have come."""

            meeting = threading.Barrier(2)

            def photos(self, pixels):
                self.meeting.wait(timeout=30)
                return super().photos(pixels)

        some = [item for item in items if Path(item.path).stem != "07"][:4]
        assert len(list(embedded(some, Meeting(), workers=2, batch_size=1))) == 4

    def test_what_is_read_ahead_is_bounded_and_given_up_at_the_end(self, items):
        class Gated(CountingEncoder):
            """Three photos pass, others wait for the gate to be opened."""

            gate, begun = threading.Semaphore(3), 0

            def photos(self, pixels):
                self.begun += 1
                assert self.gate.acquire(timeout=30)
                return super().photos(pixels)

        encoder = Gated()
        batches = embedded(items, encoder, workers=1, batch_size=1)
        for _ in range(3):
            next(batches)
        while encoder.begun < 4:
            time.sleep(0.01)
        threading.Timer(0.3, encoder.gate.release, [9]).start()
        batches.close()
        assert encoder.count == 4  # and not the fifth, which was asked for

    def test_no_more_is_read_ahead_than_is_bounded(self, items):
        encoder = CountingEncoder()
        batches = embedded(items, encoder, workers=1, batch_size=1)
        next(batches)
        time.sleep(0.5)
        assert encoder.count == 3

    def test_an_encoder_that_fails_is_heard(self, items):
        class Failing(ColourEncoder):
            def photos(self, pixels):
                raise RuntimeError(f"cannot embed {len(pixels)}")

        with pytest.raises(RuntimeError, match="cannot embed"):
            list(embedded(items, Failing(), workers=2, batch_size=4))

    def test_the_shipped_network_does_not_mind_what_else_is_in_a_batch(self):
        encoder = OnnxEncoder.load(threads=1)
        size = encoder.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (9, 3, size, size), dtype=np.uint8)
        together = encoder.photos(pixels)
        for count in (1, 3):
            np.testing.assert_allclose(encoder.photos(pixels[:count]), together[:count], atol=1e-6)
