from __future__ import annotations

from msedge.search.index_lock import sole_indexer
from msedge.search.upkeep.locks import INDEXING, is_held


def test_a_lock_is_held_while_its_holder_works(tmp_path):
    gallery = tmp_path / "photos.msedge"
    lock = gallery.with_name(gallery.name + INDEXING)
    assert not is_held(lock)
    with sole_indexer(gallery):
        assert lock.exists()
        assert is_held(lock)
    assert not is_held(lock)
    lock.touch()  # of a process that was killed
    assert not is_held(lock)
    assert lock.exists()
