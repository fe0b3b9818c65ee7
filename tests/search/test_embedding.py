from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from encoders import ColourEncoder
from msedge.data.images import read_pixels
from msedge.search.embedding import Embedded, Embedder
from msedge.search.folders import walk_folders
from msedge.search.photo_reading import Unreadable
from photo_files import write_photo


class CountingEncoder(ColourEncoder):
    """Counts photos, and threads that are in it at once."""

    def __init__(self):
        super().__init__()
        self.count = self.inside = self.most = 0
        self.lock, self.two = threading.Lock(), threading.Barrier(2)

    def photos(self, pixels):
        with self.lock:
            self.count += len(pixels)
        return super().photos(pixels)


@pytest.fixture
def files(tmp_path):
    for number in range(20):
        write_photo(tmp_path / f"{number:02}.png", number % 15)  # five are there twice
    (tmp_path / "07.png").write_bytes(b"no photo")
    return walk_folders([tmp_path]).files


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_each_content_is_embedded_once_and_in_order(files, workers, batch_size):
    encoder = CountingEncoder()
    batches = Embedder(encoder, set()).embed(files, batch_size=batch_size, workers=workers)
    items = [item for batch in batches for item in batch]
    assert [(i if isinstance(i, Unreadable) else i.photo).file for i in items] == files
    assert [isinstance(item, Unreadable) for item in items].index(True) == 7
    embedded = [item for item in items if isinstance(item, Embedded) and item.vector is not None]
    assert encoder.count == len(embedded) == 14  # of 15 contents one is damaged
    for item in embedded:
        alone = ColourEncoder().photos(read_pixels(Path(item.photo.file.path), 32)[None])[0]
        np.testing.assert_allclose(item.vector, alone, atol=1e-3)
        assert item.vector.dtype == np.float16


def test_known_content_is_not_embedded_unless_asked(files):
    encoder = CountingEncoder()
    (item,) = Embedder(encoder, set()).batch(files[:1])
    embedder = Embedder(encoder, {item.photo.content_hash})
    assert embedder.batch(files[:1])[0].vector is None
    np.testing.assert_array_equal(embedder.batch(files[:1], anew=True)[0].vector, item.vector)


def test_two_threads_embed_at_once(files):
    class Meeting(ColourEncoder):
        """Returns when two threads have come."""

        meeting = threading.Barrier(2)

        def photos(self, pixels):
            self.meeting.wait(timeout=30)
            return super().photos(pixels)

    some = [file for file in files if "07" not in file.path][:4]
    batches = Embedder(Meeting(), set()).embed(some, batch_size=1, workers=2)
    assert len(list(batches)) == 4


def test_no_more_is_read_ahead_than_is_bounded(files):
    encoder = CountingEncoder()
    batches = Embedder(encoder, set()).embed(files, batch_size=1, workers=1)
    next(batches)
    batches.close()
    assert encoder.count <= 4


def test_an_encoder_that_fails_is_heard(files):
    class Failing(ColourEncoder):
        def photos(self, pixels):
            raise RuntimeError(f"cannot embed {len(pixels)}")

    with pytest.raises(RuntimeError, match="cannot embed"):
        list(Embedder(Failing(), set()).embed(files, batch_size=4, workers=2))
