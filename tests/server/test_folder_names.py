"""Folders by their spelling, whatever bytes they are made of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from msedge.server.folder_names import FolderNames, spelt


class Folders:
    """A gallery that knows its folders."""

    def __init__(self, *folders: str) -> None:
        self.changes, self.read, self.listed = 1, 0, [(Path(folder), 1) for folder in folders]

    def folders(self):
        self.read += 1
        return self.listed


class TestFind:
    def test_its_folders_and_those_above(self):
        names = FolderNames(Folders("/photos/cats/big", "/photos/dogs"))
        for folder in ("/photos/cats/big", "/photos/cats", "/photos/dogs", "/photos", "/"):
            assert names.find(folder) == Path(folder)

    @pytest.mark.parametrize("folder", ["/photo", "/photos/", "photos", "/photos/..", "/PHOTOS"])
    def test_nothing_else(self, folder):
        with pytest.raises(HTTPException) as told:
            FolderNames(Folders("/photos/cats")).find(folder)
        assert told.value.status_code == 422

    def test_read_again_when_the_gallery_changed(self):
        gallery = Folders("/a")
        names = FolderNames(gallery)
        assert [names.find("/a"), names.find("/a")] == [Path("/a")] * 2
        assert gallery.read == 1
        gallery.listed, gallery.changes = [(Path("/b"), 1)], 2
        assert names.find("/b") == Path("/b")
        with pytest.raises(HTTPException):
            names.find("/a")

    def test_counted_once_until_the_gallery_changed(self):
        gallery = Folders("/a", os.fsdecode(b"/caf\xe9"))
        names = FolderNames(gallery)
        assert names.counted() == names.counted() == [("/a", 1), ("/caf\\xe9", 1)]
        assert names.find("/a") == Path("/a")
        assert gallery.read == 1
        gallery.listed, gallery.changes = [(Path("/b"), 7)], 2
        assert names.counted() == [("/b", 7)]

    @given(st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & {0, 47}))
    def test_any_name_is_found_by_its_spelling(self, name):
        folder = Path("/photos") / os.fsdecode(name)
        spelling = spelt(folder)
        spelling.encode()  # as JSON is
        assert FolderNames(Folders(str(folder))).find(spelling) == folder


@given(st.text().filter(lambda text: text.isprintable() and "\0" not in text))
def test_ordinary_names_are_spelt_as_they_are(name):
    assert spelt(name) == name
