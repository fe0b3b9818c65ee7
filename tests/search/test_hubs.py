"""Hubs through the public doors: what they do to a ranking, in whichever store, and how they come.

A photo that is near to every drawing no longer comes first; galleries of earlier releases, or of
another bank, get their hubness without a photo being read, whenever they are killed meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import lance
import numpy as np
import pytest
from typer.testing import CliRunner

from encoders import ColourEncoder, colour_bank
from indexing_runs import CountingEncoder, counts, rows_of, run
from made_photos import make, photo
from msedge.cli.app import app
from msedge.models.bank import HUB_SHARE, hubness
from msedge.search.approximate import index as approximate
from msedge.search.encoder import OnnxEncoder
from msedge.search.filters import Filters
from msedge.search.gallery import Gallery
from msedge.search.query import OwnEncoder, Query
from msedge.search.ranking import unit_vectors
from msedge.search.stores import build_approximate, check_gallery, copy_gallery, open_store
from msedge.search.stores.lance import store as lance_store
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Model, Watched
from msedge.search.stores.store import HUBS
from photo_files import picture, write_photo

DIM, COUNT = ColourEncoder.dim, 5_000
BANK = colour_bank()
CROSS = [([0, 10], [0, 10]), ([0, 10], [10, 0])]
NO_COLUMN = """
ALTER TABLE photos DROP COLUMN hubness;
DELETE FROM meta WHERE key = 'note.hubs';
PRAGMA user_version = 2;
"""


def hub_encoder(kind=ColourEncoder, bank=BANK):
    encoder = kind()
    encoder.bank = bank
    return encoder


def half(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def made_vectors():
    """Photos of nothing in particular; the first is what all drawings have in common."""
    vectors = np.random.default_rng(5).standard_normal((COUNT, DIM)) + 0.1
    vectors[0] = BANK.drawings.astype(float).mean(axis=0)
    return half(vectors)


VECTORS = made_vectors()
DRAWN = unit_vectors(BANK.drawings[:10])


def expected(query, share=HUB_SHARE, only=slice(None)):
    """Ids by falling score, ties by rising id, from the definition."""
    cosines = unit_vectors(VECTORS).astype(float) @ query.astype(float)
    scores = cosines - share * hubness(VECTORS, BANK.drawings)
    order = np.lexsort([np.arange(COUNT), -scores])
    wanted = np.zeros(COUNT, bool)
    wanted[only] = True
    order = order[wanted[order]]
    return (order + 1).tolist(), scores[order], cosines[order]


def filled(path):
    """A gallery of those photos, of before there were hubs."""
    photos = [photo(n, dim=DIM, vector=v, hubness=0.0) for n, v in enumerate(VECTORS)]
    return make(path, photos, model=Model("colours", "colours-1", DIM))


def brought(path):
    with open_store(path, writable=True) as store:
        assert store.bring_hubs(BANK, Watched()) == COUNT
    return path


@pytest.fixture(scope="module")
def galleries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hubs")
    plain = brought(filled(folder / "exact.msedge"))
    for name in ("memory.lance", "scanned.lance", "indexed.lance", "faiss.msedge"):
        copy_gallery(plain, folder / name)
    build_approximate(folder / "indexed.lance", recall=0.99, force=True)
    build_approximate(folder / "faiss.msedge", recall=0.99, force=True)
    return folder


WAYS = ("exact.msedge", "faiss.msedge", "memory.lance", "scanned.lance", "indexed.lance")


@pytest.fixture
def opened(galleries, monkeypatch):
    """Open a gallery so that it is searched in the way that its name says."""
    monkeypatch.setattr(approximate, "EXACT_ROWS", 50)  # else so few are searched exactly

    def open_it(name):
        path = galleries / name
        if name not in ("scanned.lance", "indexed.lance"):
            return Gallery.open(path, model=hub_encoder())
        return Gallery(
            lambda: LanceStore.open(path, memory=0), lambda store: OwnEncoder(store, hub_encoder())
        )

    return open_it


def shown(hits):
    return [hit.photo.id for hit in hits], [hit.score for hit in hits]


class TestRanking:
    @pytest.mark.parametrize("name", WAYS)
    def test_a_hub_no_longer_comes_first(self, opened, name):
        with opened(name) as gallery:
            first = {
                share: [
                    gallery.find(Query(query, hub_share=share), collapse=False)[0].photo.id
                    for query in DRAWN
                ]
                for share in (0.0, HUB_SHARE)
            }
        assert first[0.0].count(1) >= 7
        assert first[HUB_SHARE].count(1) == 0

    @pytest.mark.parametrize("name", [name for name in WAYS if name[0] not in "fi"])
    @pytest.mark.parametrize("k", [1, 20, 700, COUNT])
    def test_exact_searches_are_the_definition(self, opened, name, k):
        with opened(name) as gallery:
            for query in DRAWN[:3]:
                ids, scores, cosines = expected(query)
                hits = gallery.find(Query(query, hub_share=HUB_SHARE), k=k, collapse=False)
                assert [hit.photo.id for hit in hits] == ids[:k]
                assert [hit.score for hit in hits] == pytest.approx(scores[:k], abs=1e-9)
                assert [hit.similarity for hit in hits] == pytest.approx(cosines[:k], abs=1e-9)

    @pytest.mark.parametrize("name", ["exact.msedge", "faiss.msedge", "indexed.lance"])
    def test_an_index_finds_nearly_all_of_them_with_hubs_and_without(self, opened, name):
        with opened(name) as gallery:
            for share in (0.0, HUB_SHARE):
                found = 0
                for query in DRAWN:
                    ids, scores, _ = expected(query, share)
                    hits = gallery.find(Query(query, hub_share=share), k=20, collapse=False)
                    found += len({hit.photo.id for hit in hits} & set(ids[:20]))
                    exact = dict(zip(ids, scores, strict=True))
                    wanted = [exact[hit.photo.id] for hit in hits]
                    assert [hit.score for hit in hits] == pytest.approx(wanted, abs=1e-9)
                    assert shown(hits)[1] == sorted(shown(hits)[1], reverse=True)
                assert found >= 0.95 * 20 * len(DRAWN)

    @pytest.mark.parametrize("name", WAYS)
    def test_filters_count_as_ever(self, opened, name):
        with opened(name) as gallery:
            query = Query(DRAWN[0], hub_share=HUB_SHARE)
            some = Filters(folder=Path("/photos/3"))
            hits = gallery.find(query, k=40, filters=some, collapse=False)
            ids, _, _ = expected(DRAWN[0], only=np.arange(3, COUNT, 7))
            assert shown(hits)[0] == ids[:40]

    def test_all_stores_say_the_same(self, opened):
        said = []
        for name in WAYS:
            with opened(name) as gallery:
                said.append(shown(gallery.find(Query(DRAWN[5], hub_share=HUB_SHARE), k=10)))
        assert all(each == said[0] for each in said)

    def test_near_duplicates_are_told_by_similarity(self, tmp_path):
        """Two copies of a picture are one hit, however much is taken off their scores."""
        twins = [photo(n, dim=DIM, vector=VECTORS[7]) for n in (1, 2)]
        path = make(tmp_path / "g.msedge", twins, model=Model("colours", "colours-1", DIM))
        with open_store(path, writable=True) as store:
            store.bring_hubs(BANK, Watched())
        (hit,) = Gallery.open(path).find(Query(DRAWN[0], hub_share=HUB_SHARE))
        assert [copy.id for copy in hit.copies] == [2]


class TestQueries:
    """Hubness is of drawings: where one is asked it counts, and photos alone ask without."""

    @pytest.fixture
    def gallery(self, tmp_path):
        for number in range(30):
            write_photo(tmp_path / f"photos/{number}.png", number)
        run(tmp_path / "photos", tmp_path / "g.msedge", hub_encoder())
        with Gallery.open(tmp_path / "g.msedge", model=hub_encoder()) as gallery:
            yield gallery

    @pytest.mark.parametrize(
        ("asked", "share"),
        [
            ({"sketch": CROSS}, HUB_SHARE),
            ({"sketch": CROSS, "like": [3]}, HUB_SHARE),
            ({"sketch": CROSS, "unlike": [3]}, HUB_SHARE),
            ({"like": [3]}, 0.0),
            ({"like": [3], "not_sketch": CROSS}, 0.0),
        ],
    )
    def test_what_is_taken_off(self, gallery, asked, share):
        hits = gallery.search(k=20, **asked)
        near = {id: photo.hubness for id, photo in rows_of(gallery.path).items()}
        assert len(hits) >= 15
        assert any(near.values())
        for hit in hits:
            assert hit.score == hit.similarity - share * near[hit.photo.id]
        assert shown(hits)[1] == sorted(shown(hits)[1], reverse=True)

    def test_similar_photos_are_as_ever(self, gallery):
        assert all(hit.score == hit.similarity for hit in gallery.similar(3))

    def test_json_and_the_table_say_the_score(self, gallery, tmp_path, monkeypatch):
        monkeypatch.setattr(OnnxEncoder, "load", lambda *_, **__: hub_encoder())
        drawing = tmp_path / "drawing.png"
        picture(3).save(drawing)
        command = ["search", str(drawing), "--gallery", str(gallery.path)]
        told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["hits"]
        hits = gallery.search(drawing)
        assert [hit["score"] for hit in told] == [round(hit.score, 6) for hit in hits]
        assert all(hit["score"] != hit["similarity"] for hit in told)
        assert "hubness" not in told[0]
        table = CliRunner().invoke(app, command).stdout
        assert f"{hits[0].score:.3f}" in table


@pytest.fixture
def root(tmp_path):
    for number in range(40):
        write_photo(tmp_path / f"photos/{number}.png", number)
    return tmp_path / "photos"


def near(gallery):
    return {photo.path.name: photo.hubness for photo in rows_of(gallery).values()}


def note(gallery):
    with open_store(gallery) as store:
        return store.note(HUBS)


def ruin(root):
    """Put something else into every photo that nothing but reading it would tell."""
    for path in root.rglob("*.png"):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


KINDS = ("g.msedge", "g.lance")


@pytest.mark.parametrize("name", KINDS)
class TestIndexing:
    def test_new_photos_get_it_whatever_their_batch(self, root, tmp_path, name):
        from msedge.search.indexing import index

        index([root], tmp_path / name, hub_encoder(), batch_size=7, workers=2)
        index([root], tmp_path / "other.msedge", hub_encoder(), batch_size=1, workers=1)
        rows = rows_of(tmp_path / name)
        vectors = np.stack([photo.vector for photo in rows.values()])
        assert [photo.hubness for photo in rows.values()] == hubness(
            vectors, BANK.drawings
        ).tolist()
        assert near(tmp_path / name) == near(tmp_path / "other.msedge")
        assert note(tmp_path / name) == BANK.fingerprint_of_drawings

    def test_a_model_without_a_bank_has_none(self, root, tmp_path, name):
        run(root, tmp_path / name)
        assert set(near(tmp_path / name).values()) == {0.0}
        hits = Gallery.open(tmp_path / name, model=ColourEncoder()).search(CROSS)
        assert all(hit.score == hit.similarity for hit in hits)

    def test_a_gallery_gets_it_from_its_vectors_without_reading_a_photo(self, root, tmp_path, name):
        gallery = tmp_path / name
        run(root, gallery)
        before = rows_of(gallery)
        ruin(root)
        summary = run(root, gallery, encoder := hub_encoder(CountingEncoder))
        assert (encoder.count, counts(summary), summary.hubs) == (0, (0, 0, 0, 0, 40), 40)
        after = rows_of(gallery)
        assert list(after) == list(before)
        for number, each in after.items():
            assert each.vector.tobytes() == before[number].vector.tobytes()
        vectors = np.stack([photo.vector for photo in after.values()])
        wanted = hubness(vectors, BANK.drawings).tolist()
        assert [photo.hubness for photo in after.values()] == wanted
        again = run(root, gallery, encoder)
        assert (again.hubs, encoder.count) == (0, 0)
        assert check_gallery(gallery) == []

    def test_another_bank_takes_its_place_and_none_does_away_with_it(self, root, tmp_path, name):
        gallery = tmp_path / name
        run(root, gallery, hub_encoder())
        first = near(gallery)
        other = colour_bank(seed=1)
        assert run(root, gallery, hub_encoder(bank=other)).hubs == 40
        assert not set(near(gallery).values()) & set(first.values())
        run(root, gallery)
        hits = Gallery.open(gallery, model=ColourEncoder()).search(CROSS)
        assert all(hit.score == hit.similarity for hit in hits)
        run(root, gallery, hub_encoder())
        assert near(gallery) == first

    def test_who_has_it_open_sees_it_come(self, root, tmp_path, name, monkeypatch):
        monkeypatch.setattr(lance_store, "SECONDS_BETWEEN_LOOKS", 0.0)
        gallery = tmp_path / name
        run(root, gallery)
        with Gallery.open(gallery, model=ColourEncoder()) as open_all_the_time:
            assert all(hit.score == hit.similarity for hit in open_all_the_time.search(CROSS))
            run(root, gallery, hub_encoder())
            now = shown(open_all_the_time.search(CROSS))
            write_photo(root / "new.png", 99)
            run(root, gallery, hub_encoder())
            with_one_more = shown(open_all_the_time.search(CROSS, k=41, collapse=False))
        assert any(near(gallery).values())
        with Gallery.open(gallery, model=ColourEncoder()) as afresh:
            assert with_one_more == shown(afresh.search(CROSS, k=41, collapse=False))
        assert now != with_one_more

    def test_asked_to_stop_it_goes_on_the_next_time(self, root, tmp_path, name):
        gallery = tmp_path / name
        run(root, gallery)
        (stop := threading.Event()).set()
        summary = run(root, gallery, hub_encoder(), stop=stop)
        assert (summary.stopped, summary.photos, note(gallery)) == (True, 40, "")
        assert run(root, gallery, hub_encoder()).hubs == 40

    def test_copies_and_moved_photos_keep_it(self, root, tmp_path, name):
        gallery = tmp_path / name
        run(root, gallery, hub_encoder())
        first = near(gallery)
        (root / "0.png").rename(root / "moved.png")
        (root / "twin.png").write_bytes((root / "1.png").read_bytes())
        run(root, gallery, hub_encoder())
        now = near(gallery)
        assert (now["moved.png"], now["twin.png"]) == (first["0.png"], first["1.png"])
        for target in ("copy.msedge", "copy.lance"):
            copy_gallery(gallery, tmp_path / target)
            assert near(tmp_path / target) == now
            assert note(tmp_path / target) == BANK.fingerprint_of_drawings


class TestEarlierReleases:
    def test_a_file_without_the_column_gets_it_without_reading_a_photo(self, root, tmp_path):
        gallery = tmp_path / "g.msedge"
        run(root, gallery, hub_encoder())
        wanted = near(gallery)
        with closing(sqlite3.connect(gallery)) as connection:
            connection.executescript(NO_COLUMN)
        ruin(root)
        old = Gallery.open(gallery, model=ColourEncoder())
        assert all(hit.score == hit.similarity for hit in old.search(CROSS))
        summary = run(root, gallery, encoder := hub_encoder(CountingEncoder))
        assert (summary.hubs, encoder.count, counts(summary)) == (40, 0, (0, 0, 0, 0, 40))
        assert near(gallery) == wanted
        fresh = Gallery.open(gallery, model=ColourEncoder())
        assert shown(old.search(CROSS)) == shown(fresh.search(CROSS))
        assert all(hit.score != hit.similarity for hit in fresh.search(CROSS))

    def test_a_dataset_without_the_column_as_well(self, root, tmp_path):
        gallery = tmp_path / "g.lance"
        run(root, gallery, hub_encoder())
        wanted = near(gallery)
        dataset = lance.dataset(str(gallery))
        dataset.drop_columns(["hubness"])
        dataset.update_schema_metadata({"msedge.schema": "1"})
        dataset.delete_config_keys(["msedge.note.hubs"])
        ruin(root)
        assert set(near(gallery).values()) == {0.0}
        summary = run(root, gallery, encoder := hub_encoder(CountingEncoder))
        assert (summary.hubs, encoder.count, counts(summary)) == (40, 0, (0, 0, 0, 0, 40))
        assert near(gallery) == wanted

    def test_the_command_says_so_in_one_line(self, root, tmp_path, monkeypatch):
        run(root, gallery := tmp_path / "g.msedge")
        monkeypatch.setattr(OnnxEncoder, "load", lambda *_, **__: hub_encoder())
        command = ["index", str(root), "--gallery", str(gallery)]
        lines = CliRunner().invoke(app, command).stdout.splitlines()
        said = [line for line in lines if "hubs" in line]
        assert said == ["40 photos got their hubs from the vectors that were there"]
        assert "hubs" not in CliRunner().invoke(app, command).stdout
        told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
        assert told["hubs"] == 0


class TestIndexes:
    def test_the_index_beside_a_file_is_left_alone_and_due_once_hubs_have_come(self, tmp_path):
        gallery = filled(tmp_path / "g.msedge")
        build_approximate(gallery, recall=0.9, force=True)
        with open_store(gallery, writable=True) as store:
            assert not store.is_index_due(1)
            store.bring_hubs(BANK, Watched())
            assert store.is_index_due(1)
            query = Query(DRAWN[0], hub_share=HUB_SHARE)
            found = Gallery.open(gallery).find(query, k=9, collapse=False)
            assert shown(found)[0] == expected(DRAWN[0])[0][:9]
            build_approximate(gallery, recall=0.9, force=True)
            assert not store.is_index_due(1)

    def test_a_datasets_index_knows_its_photos_still(self, tmp_path):
        gallery = tmp_path / "g.lance"
        copy_gallery(filled(tmp_path / "g.msedge"), gallery)
        build_approximate(gallery, recall=0.9, force=True)
        brought(gallery)
        with open_store(gallery) as store:
            state = store.index_state()
            assert state is not None
            assert state.behind == 0


INDEXER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from encoders import with_hubs
from msedge.search.stores import store as stores
from msedge.search.stores.lance import store as lance_store
from msedge.search.stores.sqlite import store as sqlite_store
from msedge.search.indexing import index

sqlite_store._ROWS_A_COMMIT = lance_store._ROWS_A_COMMIT = 5
true = stores.hubness

def slow(*arguments):
    print("some", flush=True)
    time.sleep(0.03)
    return true(*arguments)

stores.hubness = slow
index([Path(sys.argv[1])], Path(sys.argv[2]), with_hubs("colours-1", "cpu"))
print("done", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", KINDS)
def test_whatever_the_moment_of_a_kill_all_have_it_or_it_does_not_count(root, tmp_path, name):
    gallery, tests = tmp_path / name, Path(__file__).parent.parent
    for first in range(4):  # a fragment each, in a dataset
        run([root / f"{number}.png" for number in range(first, 40, 4)], gallery)
    run(root, tmp_path / "whole.msedge", hub_encoder())
    wanted, moments, halves = near(tmp_path / "whole.msedge"), random.Random(5), 0
    command = [sys.executable, "-c", INDEXER, root, gallery, tests]
    for calls in (1, 2, 3, 1, 2, 3):  # of four at least
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert [process.stdout.readline() for _ in range(calls)] == ["some\n"] * calls
            time.sleep(moments.uniform(0, 0.06) if halves else 0)
            process.send_signal(signal.SIGKILL)
        now, is_whole = near(gallery), note(gallery) != ""
        halves += sum(now.values()) > 0 and not is_whole
        assert now == wanted or not is_whole
        hits = Gallery.open(gallery, model=hub_encoder()).search(CROSS)
        assert all((hit.score == hit.similarity) != is_whole for hit in hits)
        # A kill right after a commit leaves it in the log, which the next writer sees to.
        assert {each.name for each in check_gallery(gallery) if each.is_left} <= {"log"}
        if is_whole:
            break
    assert halves
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split()[-1] == "done"
    assert near(gallery) == wanted
    assert note(gallery) == BANK.fingerprint_of_drawings
