from __future__ import annotations

import pytest

from lance_galleries import DIM, MODEL, block, kept, made_up, make_lance
from msedge.errors import DataError, ShapeError
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block


class TestAFragment:
    def test_is_not_seen_before_it_is_committed(self, tmp_path):
        gallery = make_lance(tmp_path / "a.lance", 1)
        fragments = write_fragment(gallery.path, DIM, block(2, 3))
        with LanceGallery.open(gallery.path) as other:
            assert [photo.id for photo in other.photos()] == [1]
        gallery.commit(fragments)
        with LanceGallery.open(gallery.path) as other:
            assert other.photos() == [kept(made_up(number), number) for number in (1, 2, 3)]

    def test_is_text_of_one_line(self, tmp_path):
        gallery = make_lance(tmp_path / "a.lance", 1)
        (text,) = write_fragment(gallery.path, DIM, block(2))
        assert text.isprintable()

    def test_of_no_photos_is_none(self, tmp_path):
        gallery = make_lance(tmp_path / "a.lance", 1)
        assert write_fragment(gallery.path, DIM, Block([], [])) == []
        gallery.commit([])
        assert gallery.count() == 1

    def test_is_refused_with_vectors_of_another_model(self, tmp_path):
        LanceGallery.create(tmp_path / "a.lance", MODEL).close()
        with pytest.raises(ShapeError):
            write_fragment(tmp_path / "a.lance", DIM + 1, block(1))

    def test_cannot_be_written_where_no_gallery_is(self, tmp_path):
        with pytest.raises(DataError):
            write_fragment(tmp_path / "none.lance", DIM, block(1))

    @pytest.mark.parametrize("text", ["", "{}", "[1]", '"a"'])
    def test_is_told_from_other_text(self, tmp_path, text):
        gallery = make_lance(tmp_path / "a.lance", 1)
        with pytest.raises(DataError, match="no fragment"):
            gallery.commit([text])
