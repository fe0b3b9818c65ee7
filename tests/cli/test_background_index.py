"""A gallery gets its index while it is served, from a real process beside the server."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from msedge.cli.background_index import BackgroundIndex
from msedge.search.photo import NewPhoto
from msedge.search.stores import open_or_create, open_store
from msedge.search.stores.reports import Model
from msedge.search.stores.sqlite.vectors import folder_of

PATIENCE = 60.0


def photos(first: int, count: int) -> list[NewPhoto]:
    vectors = np.random.default_rng(first).standard_normal((count, 8))
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return [
        NewPhoto(Path(f"/p/{first + at}.jpg"), 1, 1, f"{first + at:064}", 1, 1, 0.0, vector=unit)
        for at, unit in enumerate(units)
    ]


@pytest.fixture
def gallery(tmp_path):
    path = tmp_path / "g.msedge"
    with open_or_create(path, Model("m", "f", 8)) as file:
        file.change(put=photos(0, 300))
    return path


def wait_for(found) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_it_is_built_once_and_anew_when_much_has_changed(gallery):
    said: list[str] = []
    with open_store(gallery, writable=True) as file:
        view = file.view()
        with BackgroundIndex(gallery, recall=0.9, say=said.append, least=300, pause=0.1):
            wait_for(lambda: not file.is_current(view))
            view = file.view(view)
            assert file.index_state() is not None
            wait_for(lambda: len(said) == 2)
            time.sleep(0.5)
            assert len(said) == 2
            file.change(put=photos(300, 40))
            about = folder_of(gallery) / "about.json"
            wait_for(lambda: '"count": 340' in about.read_text())
    assert said[0].startswith("building the approximate index in the background")
    assert "recall" in said[1]


def test_a_small_gallery_gets_none(gallery):
    said: list[str] = []
    with BackgroundIndex(gallery, recall=0.9, say=said.append, least=301, pause=0.05):
        time.sleep(0.3)
    assert said == []
    assert not folder_of(gallery).exists()


def test_it_ends_with_the_server(gallery):
    said: list[str] = []
    with BackgroundIndex(gallery, recall=0.9, say=said.append, least=1, pause=0.1):
        wait_for(lambda: said)
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    assert len(said) == 1


def test_where_it_cannot_be_built_the_reason_is_said(gallery):
    folder_of(gallery).write_text("in the way")
    said: list[str] = []
    with BackgroundIndex(gallery, recall=0.9, say=said.append, least=1, pause=0.1):
        wait_for(lambda: len(said) == 2)
        time.sleep(0.3)
    assert len(said) == 2
    assert said[1].startswith("no approximate index: ")


def test_a_gallery_that_is_away_is_looked_for_again(gallery, tmp_path):
    away = gallery.rename(tmp_path / "away.msedge")
    said: list[str] = []
    with BackgroundIndex(gallery, recall=0.9, say=said.append, least=1, pause=0.05):
        time.sleep(0.3)
        assert said == []
        away.rename(gallery)
        wait_for(lambda: len(said) == 2)
    assert (folder_of(gallery) / "about.json").exists()
