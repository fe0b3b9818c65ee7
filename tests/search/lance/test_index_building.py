from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lance_galleries import MODEL, block, make_lance, vector_of
from msedge.errors import ConfigError, DataError
from msedge.search.candidates import unit_vectors
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.scanned import Scanned
from msedge.search.lance.vector_index import NAME, has_index, read_tuning

PHOTOS = 6200


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    gallery = LanceGallery.create(tmp_path_factory.mktemp("a") / "a.lance", MODEL)
    gallery.put(block(*range(1, PHOTOS + 1)))
    return gallery


def queries(count):
    drawn = np.random.default_rng(1).standard_normal((count, MODEL.dim))
    return unit_vectors((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype("f2"))


class TestBuilding:
    @pytest.mark.parametrize("recall", [0.5, 0.9, 0.99, 1.0])
    def test_finds_the_share_that_was_asked_for(self, gallery, recall):
        tuning = gallery.build_index(recall=recall, queries=queries(30))
        assert (tuning.photos, tuning.queries, tuning.wanted) == (PHOTOS, 30, recall)
        assert tuning.recall >= recall
        exact, ours = Scanned(gallery.now(), None), Scanned(gallery.now(), tuning)
        shares = [
            np.isin(ours.nearest(q, 20, None).ids, exact.nearest(q, 20, None).ids).mean()
            for q in queries(30)
        ]
        assert np.mean(shares) == pytest.approx(tuning.recall)

    def test_takes_more_effort_for_a_larger_share(self, gallery):
        some = gallery.build_index(recall=0.3, queries=queries(30))
        most = gallery.build_index(recall=1.0, queries=queries(30))
        assert (some.probes, some.refine) < (most.probes, most.refine)
        assert some.recall < 1

    def test_is_remembered_by_the_dataset(self, gallery):
        tuning = gallery.build_index()
        with LanceGallery.open(gallery.path) as other:
            assert read_tuning(other.now()) == tuning
            names = {index.name for index in other.now().dataset.describe_indices()}
            assert names == {NAME, "id_idx", "path_idx"}
        assert tuning.wanted == 0.95
        assert tuning.seconds > 0

    def test_tells_what_it_does_and_ends_where_that_raises(self, gallery):
        told = []
        gallery.build_index(telling=told.append)
        assert [line.split()[0] for line in told] == ["building", "building", "measuring"]

        def stop(line):
            raise KeyboardInterrupt(line)

        before = gallery.now(afresh=True).version
        with pytest.raises(KeyboardInterrupt, match="building"):
            gallery.build_index(telling=stop)
        assert gallery.now(afresh=True).version == before

    def test_goes_on_while_photos_are_put(self, tmp_path):
        gallery = make_lance(tmp_path / "a.lance", *range(1, 3001))
        with LanceGallery.open(gallery.path) as other, ThreadPoolExecutor(1) as pool:
            building = pool.submit(other.build_index)
            number = 3000
            while not building.done():
                number += 1
                gallery.commit(
                    write_fragment(gallery.path, MODEL.dim, block(number)), removing=[number - 2999]
                )
            assert building.result().recall >= 0.95
        assert number > 3001
        assert [photo.id for photo in gallery.photos()] == [1, *range(number - 2998, number + 1)]
        for last in (1, number - 2998, number):
            (query,) = unit_vectors(vector_of(last)[None])
            found = Scanned(gallery.now(), read_tuning(gallery.now())).nearest(query, 5, None)
            assert found.ids[0] == last

    def test_keeps_the_photos_findable(self, gallery):
        gallery.build_index()
        assert [photo.id for photo in gallery.photos([5, 1, PHOTOS])] == [5, 1, PHOTOS]
        assert gallery.id_at(block(17).photos[0].path) == 17


class TestRefused:
    def test_are_galleries_without_photos(self, tmp_path):
        empty = LanceGallery.create(tmp_path / "a.lance", MODEL)
        with pytest.raises(DataError, match="holds no photos"):
            empty.build_index()
        assert not has_index(empty.now())

    @pytest.mark.parametrize("recall", [0.0, -1.0, 1.5, float("nan")])
    def test_are_recalls_that_are_no_share(self, tmp_path, recall):
        with pytest.raises(ConfigError, match="expected a share"):
            make_lance(tmp_path / "a.lance", 1).build_index(recall=recall)
