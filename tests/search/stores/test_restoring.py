"""A backup that is put in the place of a gallery, damaged or not, which others may have open."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import make_gallery, photo
from made_photos import MODEL, held, make, names, photos
from made_photos import photo as made
from msedge.errors import ConfigError, DataError
from msedge.locks import sole_indexer
from msedge.search.gallery import Gallery
from msedge.search.stores import (
    build_approximate,
    check_gallery,
    copy_gallery,
    open_store,
    restore_gallery,
)
from msedge.search.stores.lance import store as lance_store
from msedge.search.stores.reports import Model
from msedge.search.stores.store import ReplacedError


@pytest.fixture
def backup(gallery, tmp_path, suffix):
    path = tmp_path / "elsewhere" / f"backup{suffix}"
    path.parent.mkdir()
    copy_gallery(gallery, path)
    with open_store(gallery, writable=True) as store:
        store.change(put=[made(500)], remove=[1, 2])
    return path


@pytest.fixture
def looks_at_once(monkeypatch):
    monkeypatch.setattr(lance_store, "SECONDS_BETWEEN_LOOKS", 0.0)


class TestRestoring:
    def test_gives_the_backup_and_keeps_what_was_there(self, gallery, backup):
        before, wanted = held(gallery), held(backup)
        restored = restore_gallery(backup, gallery)
        assert restored.photos == 100
        assert held(gallery) == held(backup) == wanted
        kept = gallery.with_name(restored.kept.rsplit("/", 1)[-1])
        assert held(kept) == before
        assert names(gallery.parent) - {"elsewhere"} == {gallery.name, kept.name}
        for path in (gallery, kept, backup):
            assert check_gallery(path) == []

    def test_gives_back_what_was_there_before(self, gallery, backup):
        before = held(gallery)
        kept = restore_gallery(backup, gallery).kept
        restore_gallery(gallery.with_name(kept.rsplit("/", 1)[-1]), gallery)
        assert held(gallery) == before

    def test_ids_that_the_backup_had_given_are_not_given_again(self, gallery, backup):
        restore_gallery(backup, gallery)
        with open_store(gallery, writable=True) as store:
            store.change(put=[made(900)])
            assert store.id_at(made(900).path) == 101

    def test_where_none_is(self, backup, path):
        (target := path.with_stem("another")).parent.mkdir(exist_ok=True)
        restored = restore_gallery(backup, target)
        assert (restored.kept, held(target)) == ("", held(backup))

    def test_of_a_link_what_it_leads_to(self, gallery, backup, tmp_path, suffix):
        link = tmp_path / "links" / f"photos{suffix}"
        link.parent.mkdir()
        link.symlink_to(gallery)
        restored = restore_gallery(backup, link)
        assert link.is_symlink()
        assert held(link) == held(gallery) == held(backup)
        assert restored.kept.startswith(str(gallery.parent))
        with sole_indexer(link), pytest.raises(DataError, match="another process is indexing"):
            restore_gallery(backup, gallery)

    def test_from_the_other_kind(self, gallery, backup, tmp_path, suffix):
        other = tmp_path / ("b.lance" if suffix == ".msedge" else "b.msedge")
        copy_gallery(backup, other)
        restore_gallery(other, gallery)
        assert held(gallery) == held(backup)

    def test_over_a_damaged_one(self, gallery, backup):
        damaged = gallery if gallery.is_file() else next((gallery / "_versions").iterdir())
        damaged.write_bytes(b"\xaa" * 5000)
        kept = restore_gallery(backup, gallery).kept
        assert held(gallery) == held(backup)
        assert kept

    @pytest.mark.usefixtures("looks_at_once")
    def test_who_has_it_open_is_told_or_goes_on(self, gallery, backup):
        with open_store(gallery) as store, Gallery.open(gallery, model="no such model") as opened:
            ((first, *_),) = store.blocks(1000)
            assert (len(first), opened.photos, opened.photo(3).id) == (99, 99, 3)
            before = opened.changes
            restore_gallery(backup, gallery)
            with pytest.raises(ReplacedError, match="another gallery was put in its place"):
                store.count()
            assert (opened.photos, opened.photo(1).path) == (100, made(0).path)
            assert (opened.changes > before, opened.reopened) == (True, 1)
            assert len(opened.similar(1, collapse=False, k=200)) == 100


class TestRefusing:
    def test_itself_and_what_is_no_gallery(self, gallery, tmp_path, suffix):
        with pytest.raises(ConfigError, match="cannot be restored from itself"):
            restore_gallery(gallery, gallery)
        with pytest.raises(DataError, match="no gallery"):
            restore_gallery(tmp_path / f"none{suffix}", gallery)
        (tmp_path / f"odd{suffix}" / "of mine").mkdir(parents=True)
        with pytest.raises(DataError, match="is not a gallery"):
            restore_gallery(gallery, tmp_path / f"odd{suffix}")
        assert (tmp_path / f"odd{suffix}" / "of mine").is_dir()

    def test_while_it_is_indexed_into(self, gallery, backup):
        before = held(gallery)
        with sole_indexer(gallery), pytest.raises(DataError, match="another process is indexing"):
            restore_gallery(backup, gallery)
        assert held(gallery) == before


def test_the_index_of_what_was_there_goes(tmp_path):
    pytest.importorskip("faiss")
    gallery = make(tmp_path / "g.msedge", photos(300))
    copy_gallery(gallery, tmp_path / "b.msedge")
    build_approximate(gallery, force=True)
    restore_gallery(tmp_path / "b.msedge", gallery)
    assert check_gallery(gallery) == []


def test_the_index_of_another_past_is_not_used(tmp_path):
    pytest.importorskip("faiss")
    gallery = make(tmp_path / "g.msedge", photos(300))
    plain_backup = Path(shutil.copy(gallery, tmp_path / "plain.msedge"))
    with open_store(gallery, writable=True) as store:
        store.change(put=[made(500)], remove=[5])
    build_approximate(gallery, force=True)
    with open_store(gallery) as store:
        assert store.index_state() is not None
        view = store.view()
        plain_backup.replace(gallery)
        with open_store(gallery, writable=True) as writer:
            writer.change(put=[made(700)], remove=[7])
        view = store.view(view)
        assert [view.vector(number) is None for number in (5, 7)] == [False, True]
        assert np.allclose(view.vector(301), made(700).vector, atol=1e-3)
        assert store.index_state() is None
    assert [finding.name for finding in check_gallery(gallery, repair=True)] == ["approximate"]
    assert check_gallery(gallery) == []


def test_a_gallery_that_is_made_anew_by_another_model_is_searched_with_that(tmp_path):
    """The model is the one that the gallery names, whatever it was before."""
    gallery = make_gallery(tmp_path, {"red.png": photo("red"), "blue.png": photo("blue")})
    encoders = {}

    def load(model, **_):
        return encoders.setdefault(model, ColourEncoder(model))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("msedge.search.query.OnnxEncoder", type("E", (), {"load": load}))
        with Gallery.open(gallery) as opened:
            assert len(opened.similar(tmp_path / "photos" / "red.png")) == 2
            with open_store(gallery, writable=True) as store:
                other = ColourEncoder("colours-2")
                new = store.successor(Model("colours-2", other.fingerprint, other.dim))
                with new:
                    new.change(put=[made(7, dim=other.dim)])
                store.take_over(new.path)
            assert opened.model.name == "colours-2"
            picture = tmp_path / "photos" / "blue.png"
            hits = opened.search(picture)
            assert [hit.photo.path for hit in hits] == [made(7).path]
            assert set(encoders) == {"colours-2"}
    assert MODEL.name == "colours"
