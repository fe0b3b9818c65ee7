from __future__ import annotations

import os
import threading
import time
from datetime import timedelta

import pytest

from lance_galleries import DAY, DIM, block, kept, made_up, make_lance
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.vector_index import NAME


@pytest.fixture
def gallery(tmp_path):
    """Ten photos in as many commits, one of them removed."""
    gallery = make_lance(tmp_path / "a.lance", 1)
    for number in range(2, 11):
        gallery.put(block(number))
    gallery.commit([], removing=[4])
    return gallery


def files(gallery):
    return {file.name for file in (gallery.path / "data").iterdir()}


class TestCompacting:
    def test_puts_all_rows_into_one_fragment(self, gallery):
        before = gallery.photos()
        done = gallery.compact()
        assert (done.fragments_before, done.fragments_after) == (9, 1)
        assert gallery.photos() == before
        assert gallery.now().dataset.get_fragments()[0].num_deletions == 0
        assert gallery.reserve_ids(1) == 11

    def test_twice_does_nothing_more(self, gallery):
        gallery.compact()
        before = files(gallery)
        done = gallery.compact()
        assert (done.fragments_before, done.fragments_after) == (1, 1)
        assert files(gallery) == before

    def test_keeps_what_readers_may_still_read_for_an_hour(self, gallery):
        before = files(gallery)
        assert gallery.compact().versions_removed == 0
        assert before < files(gallery)

    def test_removes_versions_that_are_older(self, gallery):
        before = files(gallery)
        done = gallery.compact(kept=timedelta(0))
        assert done.versions_removed > 10
        assert done.bytes_removed > 0
        assert not before & files(gallery)
        assert gallery.count() == 9

    def test_leaves_what_a_run_has_written_and_not_committed(self, gallery):
        fragments = write_fragment(gallery.path, DIM, block(20))
        with LanceGallery.open(gallery.path) as other:
            other.compact(kept=timedelta(0))
        gallery.places()
        gallery.commit(fragments, removing=[1])
        assert gallery.photos([1, 20]) == [kept(made_up(20), 20)]

    def test_removes_what_a_run_that_died_wrote_a_week_ago(self, gallery):
        left = {}
        for days in (6, 8):
            before = files(gallery)
            write_fragment(gallery.path, DIM, block(20))
            (left[days],) = files(gallery) - before
            then = time.time() - days * DAY
            os.utime(gallery.path / "data" / left[days], (then, then))
        gallery.compact()
        assert left[6] in files(gallery)
        assert left[8] not in files(gallery)

    def test_brings_the_index_up_to_date(self, gallery):
        gallery.build_index()
        gallery.put(block(11))
        assert unindexed(gallery) == 1
        gallery.compact()
        assert unindexed(gallery) == 0
        assert gallery.photos([11]) == [kept(made_up(11), 11)]

    def test_tells_what_it_does(self, gallery):
        told = []
        gallery.compact(telling=told.append)
        assert len(told) == 3

    def test_goes_on_while_photos_are_put(self, gallery):
        failed, ended = [], threading.Event()

        def compact():
            try:
                with LanceGallery.open(gallery.path) as other:
                    while not ended.is_set():
                        other.compact()
            except BaseException as error:
                failed.append(error)

        gallery.build_index()
        compacting = threading.Thread(target=compact)
        compacting.start()
        for number in range(11, 41):
            gallery.commit(write_fragment(gallery.path, DIM, block(number)), removing=[number - 8])
            time.sleep(0.02)
        ended.set()
        compacting.join()
        assert failed == []
        assert [photo.id for photo in gallery.photos()] == [1, 2, *range(33, 41)]


def unindexed(gallery):
    return gallery.now(afresh=True).dataset.stats.index_stats(NAME)["num_unindexed_rows"]
