"""Random changes, held against a dictionary."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lance_galleries import DIM, MODEL, kept, made_up
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block

PLACES = [f"/photos/{name}.jpg" for name in "abcdefgh"]
NUMBERS = st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NUMBERS, st.permutations(PLACES)),
        st.tuples(st.just("remove"), NUMBERS, st.just(())),
        st.tuples(st.just("replace"), NUMBERS, st.permutations(PLACES)),
        st.tuples(st.just("compact"), st.just([]), st.just(())),
        st.tuples(st.just("open again"), st.just([]), st.just(())),
    ),
    min_size=1,
    max_size=8,
)


class Model:
    """What a gallery should hold: a dictionary, whose paths differ."""

    def __init__(self):
        self.photos, self.last = {}, 0

    def put(self, block):
        paths = {photo.path for photo in block.photos}
        kept = {number: each for number, each in self.photos.items() if each.path not in paths}
        self.photos = kept | dict(zip(*block, strict=True))
        self.last = max(self.last, *block.ids)

    def remove(self, numbers):
        self.photos = {each: self.photos[each] for each in self.photos if each not in numbers}


@given(changes=CHANGES)
@settings(max_examples=25, deadline=None)
def test_a_gallery_holds_what_a_dictionary_would(changes):
    model, round_ = Model(), 0
    with tempfile.TemporaryDirectory() as folder:
        gallery = LanceGallery.create(Path(folder) / "a.lance", MODEL)
        for kind, numbers, places in changes:
            round_ += 1
            new = [
                made_up(100 * round_ + number, place)
                for number, place in zip(sorted(numbers), places, strict=False)
            ]
            if kind == "put":
                gallery.put(Block(sorted(numbers), new))
                model.put(Block(sorted(numbers), new))
            elif kind == "remove":
                gallery.commit([], removing=numbers)
                model.remove(numbers)
            elif kind == "replace":
                first = gallery.reserve_ids(len(new))
                assert first > model.last
                block = Block(list(range(first, first + len(new))), new)
                places_now = gallery.places()
                gone = [places_now[str(p.path)].id for p in new if str(p.path) in places_now]
                gallery.commit(write_fragment(gallery.path, DIM, block), removing=gone)
                model.put(block)
            elif kind == "compact":
                gallery.compact()
            else:
                gallery.close()
                gallery = LanceGallery.open(gallery.path, writable=True)
            check(gallery, model)
        gallery.close()


def check(gallery, model):
    expected = [kept(photo, number) for number, photo in sorted(model.photos.items())]
    assert gallery.photos() == expected
    assert gallery.count() == len(expected)
    view = gallery.view()
    for number, photo in model.photos.items():
        (hit, *_) = view.search(
            photo.vector.astype("f4"), 1, filters=None, without=(), together=False
        )
        assert hit.id == number
