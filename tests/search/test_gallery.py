from __future__ import annotations

import datetime
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import COLOURS, make_gallery, new_photo, photo
from msedge.data.drawings import open_drawing
from msedge.errors import ConfigError, DataError, WeightsError
from msedge.search.approximate.build import build
from msedge.search.encoder import OnnxEncoder
from msedge.search.filters import Filters
from msedge.search.gallery import Gallery
from msedge.search.photo import NewPhoto
from msedge.search.query import Query
from msedge.search.ranking import unit_vectors
from msedge.search.stores import open_or_create, open_store
from msedge.search.stores.reports import Model
from msedge.search.stores.sqlite.store import SqliteStore
from msedge.search.stores.sqlite.vectors import folder_of

CROSS = [([0, 10], [0, 10]), ([0, 10], [10, 0])]
PICTURES = {
    "red.png": photo("red"), "green.png": photo("green"), "more/blue.png": photo("blue"),
    "more/copy of red.png": photo("red", (120, 80)), "tall yellow.png": photo("yellow", (40, 60)),
}  # fmt: skip


ASKED = unit_vectors(np.random.default_rng(0).standard_normal((20, 32)))


def random_gallery(folder: Path, count: int, *, index: bool = False) -> Path:
    """Photos that are not there, whose vectors stand for nothing; ids from 1.

    The index beside it, where asked for, takes each photo for the one before it: whoever uses it
    can be told from its answers.
    """
    path, rng = folder / "random.msedge", np.random.default_rng(1)
    vectors = unit_vectors(rng.standard_normal((count, 32))).astype(np.float16)
    model = Model("colours", "colours-1", 32)
    with open_or_create(path, model) as file:
        file.change(
            put=[
                NewPhoto(folder / f"{place:04}.jpg", 1, 1, f"{place:064}", 4, 3, 0.0, vector=vector)
                for place, vector in enumerate(vectors)
            ]
        )
        if index:
            with closing(sqlite3.connect(path)) as connection:
                asked = "SELECT value FROM meta WHERE key = 'identity'"
                (identity,) = connection.execute(asked).fetchone()
            known = {"version": file.version(), "gallery": identity, "count": count}
            ids = np.arange(1, count + 1)
            build(
                folder_of(path),
                [(ids, np.roll(vectors, 1, axis=0), np.zeros(count))],
                model=model,
                recall=0.9,
                kind="ivf-sq",
                **known,
            )
    return path


def vectors_of(path: Path) -> np.ndarray:
    """The vectors that a gallery holds, by rising id."""
    with open_store(path) as store:
        photos = [photo for block in store.blocks() for photo in block.photos]
    return np.stack([photo.vector for photo in photos])


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(make_gallery(tmp_path, PICTURES), model=ColourEncoder()) as opened:
        yield opened


def names(hits) -> list[str]:
    return [hit.photo.path.name for hit in hits]


class TestOpen:
    def test_what_it_holds(self, gallery, tmp_path):
        assert gallery.photos == 5
        assert gallery.path == tmp_path / "photos.msedge"
        assert gallery.model.name == "colours"
        assert gallery.folders() == [(tmp_path / "photos", 3), (tmp_path / "photos/more", 2)]
        assert gallery.photo(3).path == tmp_path / "photos/more/blue.png"

    def test_by_a_path_as_text(self, gallery):
        with Gallery.open(str(gallery.path)) as other:
            assert other.photos == 5

    def test_an_unknown_photo(self, gallery):
        with pytest.raises(DataError, match=r"no photo 99 in .*/photos\.msedge: give the id"):
            gallery.photo(99)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(DataError, match=r"none\.msedge"):
            Gallery.open(tmp_path / "none.msedge")

    def test_exactly_or_through_the_index_beside_it(self, tmp_path):
        path = random_gallery(tmp_path, 600, index=True)
        vectors = vectors_of(path)
        order = np.argsort(-(ASKED @ unit_vectors(vectors).T), axis=1, kind="stable")
        true = (order[:, :20] + 1).tolist()

        def found(**how):
            with Gallery.open(path, **how) as opened:
                hits = [opened.find(Query(one, ()), collapse=False) for one in ASKED]
            return [[hit.photo.id for hit in each] for each in hits]

        assert found(exact=True) == true
        assert found() == found(exact=False) != true

    def test_photos_of_the_gallery_need_no_encoder(self, gallery):
        with Gallery.open(gallery.path) as other:  # no model is called "colours"
            assert names(other.similar(2, k=1)) == ["green.png"]
            with pytest.raises(WeightsError, match="no model 'colours'"):
                other.search(CROSS)

    def test_other_weights(self, gallery):
        with (
            Gallery.open(gallery.path, model=ColourEncoder("colours-2")) as other,
            pytest.raises(WeightsError, match=r"--rebuild"),
        ):
            other.search(CROSS)


class TestSearch:
    def test_each_photo_finds_itself(self, gallery):
        for path in PICTURES:
            (best,) = gallery.search(like=[gallery.path.parent / "photos" / path], k=1)
            assert best.similarity == pytest.approx(1.0, abs=1e-6)
            assert best.photo.path.name.endswith(Path(path).name.removeprefix("copy of "))

    def test_it_ranks_by_the_cosine(self, gallery):
        hits = gallery.search(CROSS, k=10, collapse=False)
        query = gallery.query(CROSS).vector.astype(np.float64)
        ids, vectors = np.arange(1, gallery.photos + 1), vectors_of(gallery.path)
        exact = vectors.astype(np.float64)
        exact = exact @ query / np.linalg.norm(exact, axis=1)
        order = np.argsort(-exact, kind="stable")
        assert [hit.photo.id for hit in hits] == ids[order].tolist()
        assert [hit.similarity for hit in hits] == pytest.approx(exact[order], abs=1e-6)
        assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]

    def test_a_drawing_may_come_as_anything(self, gallery, tmp_path):
        sheet = open_drawing(CROSS)
        sheet.save(tmp_path / "cross.png")
        expected = gallery.search(sheet)
        for drawing in (tmp_path / "cross.png", (tmp_path / "cross.png").read_bytes(), [sheet]):
            assert gallery.search(drawing) == expected

    def test_copies_are_one_hit(self, gallery):
        hits = gallery.similar(1)
        assert names(hits)[0] == "red.png"
        assert [copy.path.name for copy in hits[0].copies] == ["copy of red.png"]
        assert len(hits) == 4
        assert len(gallery.similar(1, collapse=False)) == 5
        assert gallery.search(like=[1]) == gallery.find(gallery.query(like=[1])) == hits

    def test_what_is_not_wanted_is_gone_with_its_copies(self, gallery):
        assert set(names(gallery.search(CROSS, unlike=[4]))) == {
            "green.png", "blue.png", "tall yellow.png",
        }  # fmt: skip

    def test_and_what_looks_like_it_is_pushed_down(self, gallery):
        plain = {hit.photo.id: hit.similarity for hit in gallery.search(like=[2])}
        pushed = {hit.photo.id: hit.similarity for hit in gallery.search(like=[2], unlike=[3])}
        assert 3 in plain
        assert 3 not in pushed
        drawn = {hit.photo.id: hit.similarity for hit in gallery.search(CROSS, k=9)}
        against = gallery.search(CROSS, not_sketch=[([0, 10], [5, 5])], k=9)
        assert {hit.photo.id for hit in against} == set(drawn)
        assert {hit.photo.id: hit.similarity for hit in against} != drawn

    def test_filters(self, gallery):
        def found(**filters):
            return set(names(gallery.search(CROSS, filters=Filters(**filters), collapse=False)))

        folder = gallery.path.parent / "photos/more"
        assert found(folder=folder) == {"blue.png", "copy of red.png"}
        assert found(orientation="portrait") == {"tall yellow.png"}
        assert found(after=datetime.date(1970, 1, 5)) == {"tall yellow.png"}
        assert found(folder=folder, before=datetime.date(1970, 1, 3)) == {"blue.png"}
        assert found(folder=gallery.path.parent / "nowhere") == set()

    def test_a_photo_may_be_asked_for_less_some_and_among_some(self, gallery):
        assert names(gallery.similar(1, unlike=[2])) == names(gallery.search(like=[1], unlike=[2]))
        assert "green.png" not in names(gallery.similar(1, unlike=[2]))
        assert names(gallery.similar(1, filters=Filters(orientation="portrait"))) == [
            "tall yellow.png"
        ]

    def test_a_relative_folder_follows_the_working_directory(self, gallery, monkeypatch):
        def found():
            return len(gallery.search(CROSS, filters=Filters(Path("more")), collapse=False))

        monkeypatch.chdir(gallery.path.parent / "photos")
        assert found() == 2
        monkeypatch.chdir(gallery.path.parent)
        assert found() == 0

    def test_more_than_there_are(self, gallery):
        assert len(gallery.search(CROSS, k=1000, collapse=False)) == 5

    def test_twenty_where_no_number_is_given(self, tmp_path):
        with Gallery.open(random_gallery(tmp_path, 30)) as many:
            query = many.query(like=[1])
            for ask in (
                lambda **how: many.search(like=[1], **how),
                lambda **how: many.similar(1, **how),
                lambda **how: many.find(query, **how),
            ):
                assert len(ask()) == 20
                assert ask() == ask(k=20)

    @pytest.mark.parametrize("k", [0, -3])
    def test_fewer_than_one(self, gallery, k):
        for ask in (lambda: gallery.search(CROSS, k=k), lambda: gallery.similar(1, k=k)):
            with pytest.raises(ConfigError, match="k must be at least 1"):
                ask()

    def test_an_empty_gallery(self, tmp_path):
        with Gallery.open(make_gallery(tmp_path, {}), model=ColourEncoder()) as empty:
            assert empty.photos == 0
            assert empty.search(CROSS) == []
            assert empty.search(CROSS, filters=Filters(orientation="square")) == []


class TestChange:
    def put(self, gallery, name: str, colour: str, mark: int = 0) -> None:
        path = gallery.path.parent / "photos" / name
        photo(colour, mark=mark).save(path)
        with open_store(gallery.path, writable=True) as file:
            file.change(put=[new_photo(path, ColourEncoder())])

    def test_new_photos_are_found(self, gallery):
        assert not gallery.refresh()
        self.put(gallery, "grey.png", "grey")
        assert gallery.refresh()
        assert not gallery.refresh()
        self.put(gallery, "more/grey.png", "grey", mark=5)
        assert "grey.png" in names(gallery.search(CROSS))
        assert gallery.photos == 7
        assert not gallery.refresh()

    def test_removed_photos_are_not(self, gallery):
        before, filters = gallery.version, Filters(orientation="landscape")
        assert "green.png" in names(gallery.search(CROSS, filters=filters))
        with open_store(gallery.path, writable=True) as file:
            file.change(remove=[2])
        assert gallery.version > before
        assert "green.png" not in names(gallery.search(CROSS, filters=filters))

    def test_filters_are_looked_up_again_after_a_change(self, gallery):
        filters = Filters(folder=gallery.path.parent / "photos/more")
        assert len(gallery.search(CROSS, filters=filters, collapse=False)) == 2
        self.put(gallery, "more/grey.png", "grey")
        assert len(gallery.search(CROSS, filters=filters, collapse=False)) == 3

    def test_photos_that_go_while_it_is_searched(self, gallery, monkeypatch):
        """Removed between ranking and reading: ranked again, without them."""
        read, removed = SqliteStore.photos, []

        def once_too_late(file, ids=None):
            if not removed:
                removed.append(2)
                with open_store(gallery.path, writable=True) as other:
                    other.change(remove=[2])
            return read(file, ids)

        monkeypatch.setattr(SqliteStore, "photos", once_too_late)
        with Gallery.open(gallery.path, model=ColourEncoder()) as opened:
            hits = opened.search(CROSS, k=3)
        assert removed
        assert "green.png" not in names(hits)
        assert [hit.rank for hit in hits] == [1, 2, 3]

    def test_many_threads_search_while_it_grows(self, gallery):
        stop, wrong = threading.Event(), []

        def ask(_):
            rounds = 0
            while not stop.is_set() or rounds < 3:
                hits = gallery.search(CROSS, k=50, collapse=False)
                ranks = [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
                falling = all(one.similarity >= other.similarity for one, other in pairwise(hits))
                if not (ranks and falling and len(hits) >= 5):
                    wrong.append(hits)
                rounds += 1

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(ask, each) for each in range(4)]
            for number, colour in enumerate(list(COLOURS) * 2):
                self.put(gallery, f"new {number}.png", colour, mark=number)
            stop.set()
            for each in running:
                each.result()
        assert wrong == []
        assert len(gallery.search(CROSS, k=50, collapse=False)) == 15


def test_a_model_is_loaded_once_for_all_galleries_that_lie_here_in_turn(tmp_path):
    path, following = tmp_path / "photos.msedge", tmp_path / "following.msedge"
    models = {}
    for name in ("msedge-lite", "msedge-lite-sketchy21"):
        encoder = OnnxEncoder.load(name, threads=1)
        models[name] = Model(encoder.name, encoder.fingerprint, encoder.dim)
    open_or_create(path, models["msedge-lite"]).close()
    with Gallery.open(path, threads=1) as gallery:
        before = gallery.encoder
        open_or_create(following, models["msedge-lite"]).close()
        following.replace(path)
        assert gallery.encoder is before
        assert gallery.reopened == 1
        open_or_create(following, models["msedge-lite-sketchy21"]).close()
        following.replace(path)
        assert gallery.encoder.name == "msedge-lite-sketchy21"


def test_it_needs_no_learning_library_and_loads_no_runtime_before_it_is_asked():
    program = (
        "import sys, msedge.search.gallery\nprint(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert loaded & {"torch", "timm", "kornia", "onnxruntime", "rich", "pydantic"} == set()
