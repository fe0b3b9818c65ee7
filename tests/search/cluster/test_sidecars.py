from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from msedge.errors import DataError
from msedge.search.cluster.sidecars import (
    DeadLetters,
    ShardRecord,
    read_shard_records,
    write_shard_records,
)


@pytest.fixture(params=["file", "memory"])
def gallery(request, tmp_path):
    if request.param == "file":
        yield tmp_path / "g.lance"
        return
    yield Path("memory:/sidecars/g.lance")
    fsspec.filesystem("memory").store.clear()


class TestDeadLetters:
    def test_a_line_each_with_location_and_reason(self, tmp_path):
        letters = DeadLetters(tmp_path / "g.lance")
        letters.add("/b\udcff\n.png", "no photo")
        letters.add("s3:/bucket/a.png", "gone")
        letters.write()
        lines = (tmp_path / "g.lance.unread.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [
            {"location": "/b\udcff\n.png", "reason": "no photo"},
            {"location": "s3://bucket/a.png", "reason": "gone"},
        ]
        assert [path.name for path in tmp_path.iterdir()] == ["g.lance.unread.jsonl"]

    def test_they_come_back_and_go(self, gallery):
        letters = DeadLetters(gallery)
        for name in ("/a", "/b", "/c"):
            letters.add(name, "why")
        letters.write()
        letters = DeadLetters(gallery)
        letters.keep(["/a", "/b", "/x"])
        letters.drop("/b")
        letters.write()
        assert DeadLetters(gallery).as_dict() == {"/a": "why"}
        letters.drop("/a")
        letters.write()
        assert DeadLetters(gallery).as_dict() == {}

    def test_no_file_where_there_is_nothing_to_tell(self, tmp_path):
        letters = DeadLetters(tmp_path / "g.lance")
        letters.write()
        letters.add("/a", "why")
        letters.write()
        letters.drop("/a")
        letters.write()
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_written_where_nothing_changed(self, tmp_path):
        letters = DeadLetters(tmp_path / "g.lance")
        letters.add("/a", "why")
        letters.write()
        before = (tmp_path / "g.lance.unread.jsonl").stat().st_ino
        letters.add("/a", "why")
        letters.keep(["/a"])
        letters.write()
        assert (tmp_path / "g.lance.unread.jsonl").stat().st_ino == before

    def test_what_cannot_be_written_is_one_line(self, tmp_path):
        letters = DeadLetters(tmp_path / "none" / "g.lance")
        letters.add("/a", "why")
        with pytest.raises(DataError, match="make room"):
            letters.write()


class TestShardRecords:
    def test_they_come_back(self, gallery):
        record = ShardRecord("/a\udcff.tar", 1, 2, 3, "[]")
        write_shard_records(gallery, [record])
        assert read_shard_records(gallery) == {"/a\udcff.tar": record}

    @pytest.mark.parametrize("text", ["", "{", "[1]\n", '{"path": 1}\n', "\0"])
    def test_a_damaged_cache_says_nothing(self, tmp_path, text):
        (tmp_path / "g.lance.shards.jsonl").write_text(text)
        assert read_shard_records(tmp_path / "g.lance") == {}
