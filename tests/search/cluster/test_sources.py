from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from cluster_runs import photo_bytes, write_tar
from msedge.errors import ConfigError, DataError
from msedge.search.cluster.sources import find_sources
from photo_files import write_photo


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    write_photo(root / "b.jpg", 1)
    write_photo(root / "a" / "c.png", 2)
    write_photo(root / ".hidden.png", 3)
    write_tar(root / "a" / "shard.tar", {"x.png": photo_bytes(4)})
    write_tar(root / ".trash" / "old.tar", {"x.png": photo_bytes(4)})
    (root / "rows.parquet").write_bytes(b"PAR1")
    (root / "notes.txt").write_text("no photo")
    return root


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def served(root: Path) -> Iterator[str]:
    """The folder over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def names(found: list, root: Path | str) -> list[str]:
    return sorted(file.path.removeprefix(f"{root}/") for file in found)


class TestThisMachine:
    def test_photos_and_shards_are_found_in_folders(self, root):
        found = find_sources([root])
        assert found.roots == [str(root)]
        assert names(found.files, root) == ["a/c.png", "b.jpg"]
        assert names(found.shards, root) == ["a/shard.tar", "rows.parquet"]
        (tar,) = [shard for shard in found.shards if shard.path.endswith("tar")]
        status = (root / "a" / "shard.tar").stat()
        assert (tar.size, tar.mtime_ns) == (status.st_size, status.st_mtime_ns)

    def test_a_file_url_is_the_file(self, root):
        assert find_sources([f"file://{root}"]) == find_sources([root])

    def test_shards_and_photos_may_be_named_and_are_found_once(self, root):
        shard = root / "a" / "shard.tar"
        found = find_sources([shard, root, shard, root / "b.jpg"])
        assert names(found.shards, root) == ["a/shard.tar", "rows.parquet"]
        assert names(found.files, root) == ["a/c.png", "b.jpg"]

    def test_patterns_and_hidden_names_count_for_shards_too(self, root):
        found = find_sources([root], exclude=["a/*.tar", "*.jpg"], hidden=True)
        assert names(found.files, root) == [".hidden.png", "a/c.png"]
        assert names(found.shards, root) == [".trash/old.tar", "rows.parquet"]

    def test_links_are_followed_once(self, root, tmp_path):
        write_tar(tmp_path / "far" / "far.tar", {"x.png": photo_bytes(1)})
        (root / "link").symlink_to(tmp_path / "far")
        (root / "a" / "up").symlink_to(root)
        assert names(find_sources([root]).shards, root) == [
            "a/shard.tar", "link/far.tar", "rows.parquet",
        ]  # fmt: skip

    def test_the_gallery_itself_is_left_out(self, root):
        write_tar(root / "g.lance" / "data" / "x.tar", {"x.png": photo_bytes(1)})
        assert len(find_sources([root]).shards) == 3
        assert len(find_sources([root], without=root / "g.lance").shards) == 2

    def test_names_that_are_not_utf8_or_hold_newlines(self, root):
        odd = write_photo(root / os.fsdecode(b"\xff\n.png"))
        tar = write_tar(root / os.fsdecode(b"\xfe\n.tar"), {})
        found = find_sources([root])
        assert str(odd) in [file.path for file in found.files]
        assert str(tar) in [shard.path for shard in found.shards]

    def test_what_is_missing_is_an_error(self, root):
        with pytest.raises(DataError, match="nothing was changed"):
            find_sources([root / "none"])
        with pytest.raises(DataError, match="nothing was changed"):
            find_sources([root / "none.tar"])
        with pytest.raises(ConfigError, match="at least one"):
            find_sources([])


class TestObjects:
    def test_memory(self, memory):
        for name in ("a.png", "below/b.jpg", "below/c.tar", ".d.png", "e.txt", "no/f.png"):
            memory.pipe(f"/photos/{name}", b"12345")
        found = find_sources(["memory://photos"], exclude=["no"])
        assert found.roots == ["memory:/photos"]
        assert names(found.files, "memory:/photos") == ["a.png", "below/b.jpg"]
        assert names(found.shards, "memory:/photos") == ["below/c.tar"]
        assert {file.size for file in found.files} == {5}
        assert all(file.mtime_ns > 0 for file in found.files)

    def test_names_that_a_path_cannot_hold_are_told(self, memory):
        for name in ("/photos/a.png", "/photos//b.png", "/photos//c.txt"):
            memory.store[name] = fsspec.implementations.memory.MemoryFile(memory, name, b"1")
        found = find_sources(["memory://photos"])
        assert names(found.files, "memory:/photos") == ["a.png"]
        assert list(found.unread) == ["memory://photos//b.png"]

    def test_memory_is_not_seen_by_workers(self, memory, tmp_path):
        memory.pipe("/photos/a.png", b"12345")
        with pytest.raises(ConfigError, match="one process alone"):
            find_sources(["memory://photos"], without=tmp_path / "g.lance")

    def test_http(self, served, root):
        found = find_sources([f"{served}/"])
        base = served.replace("://", ":/")
        assert found.unread == {}
        assert names(found.files, base) == ["a/c.png", "b.jpg"]
        assert names(found.shards, base) == ["a/shard.tar", "rows.parquet"]
        sizes = {file.path: file.size for file in found.files}
        assert sizes[f"{base}/b.jpg"] == (root / "b.jpg").stat().st_size

    def test_one_object(self, served, root):
        (file,) = find_sources([f"{served}/b.jpg"]).files
        assert file.size == (root / "b.jpg").stat().st_size
        assert file.mtime_ns // 1_000_000_000 == 1_000  # as `Last-Modified` says
        (shard,) = find_sources([f"{served}/a/shard.tar"]).shards
        assert shard.size == (root / "a" / "shard.tar").stat().st_size

    @pytest.mark.usefixtures("memory")
    def test_what_is_missing_is_an_error(self, served):
        with pytest.raises(DataError, match=r"no such file.*nothing was changed"):
            find_sources(["memory://none"])
        with pytest.raises(DataError, match="nothing was changed"):
            find_sources([f"{served}/none/x.png"])

    def test_a_protocol_without_its_package_says_so(self):
        with pytest.raises(ConfigError, match="fsspec"):
            find_sources(["nonesuch://bucket/photos"])
