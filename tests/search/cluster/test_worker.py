"""What a worker makes of a part: the rows that the single-machine index makes."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_runs import COLOURS, photo_bytes, write_tar
from encoders import ColourEncoder
from msedge.errors import ConfigError
from msedge.search.cluster.objects import found_at
from msedge.search.cluster.reading import content_of_cell, contents
from msedge.search.cluster.shards import list_shard
from msedge.search.cluster.wire import Item, Part, ShardFile
from msedge.search.cluster.worker import PartWorker, Work, embedded
from msedge.search.embedding import Embedded, Embedder
from msedge.search.gallery_rows import Model
from msedge.search.lance.gallery import LanceGallery
from msedge.search.onnx_encoder import OnnxEncoder
from msedge.search.photo_reading import Unreadable
from photo_files import write_photo

ENCODER = ColourEncoder()
ODD = os.fsdecode(b"\xff\n.jpg")


def items_of(path: Path, column: str | None = None) -> list[Item]:
    """All photos of a shard, as the plan has them."""
    listing = list_shard(found_at(str(path)), column)
    shard = ShardFile(str(path), listing.shard.size, listing.shard.mtime_ns, listing.column)
    return [
        Item(found_at_name(path, name), number + 1, "", shard, spot)
        for number, (name, spot) in enumerate(zip(listing.names, listing.spots, strict=True))
    ]


def found_at_name(shard: Path, name: str):
    found = found_at(str(shard))
    return type(found)(f"{shard}/{name}", found.size, found.mtime_ns)


def read(items):
    return [content for _, content in contents(items)]


class TestReading:
    def test_members_of_a_tar(self, tmp_path):
        members = {f"{n}.png": photo_bytes(n) for n in range(40)}
        assert read(items_of(write_tar(tmp_path / "s.tar", members))) == list(members.values())

    def test_rows_of_a_parquet_file(self, tmp_path):
        images = [photo_bytes(n) for n in range(40)]
        pq.write_table(pa.table({"image": images}), tmp_path / "p.parquet", row_group_size=7)
        assert read(items_of(tmp_path / "p.parquet")) == images

    def test_the_struct_that_datasets_write(self, tmp_path):
        write_photo(tmp_path / "beside.png", 5)
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        rows = [{"bytes": b"one", "path": "1.png"}, {"bytes": None, "path": "beside.png"}, None]
        pq.write_table(pa.table({"image": pa.array(rows, struct)}), tmp_path / "p.parquet")
        first, second, third = read(items_of(tmp_path / "p.parquet"))
        assert (first, second) == (b"one", (tmp_path / "beside.png").read_bytes())
        assert (third.reason, third.is_damaged) == ("the row holds no image", True)

    def test_urls_and_paths(self, tmp_path):
        photo = write_photo(tmp_path / "served" / "a b.png", 5)

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *words: object) -> None:
                pass

        handler = functools.partial(Quiet, directory=str(photo.parent))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            base = f"http://127.0.0.1:{server.server_address[1]}"
            urls = [f"{base}/a%20b.png", f"{base}/none.png", "served/a b.png", str(photo)]
            pq.write_table(pa.table({"url": urls}), tmp_path / "p.parquet")
            first, second, third, fourth = read(items_of(tmp_path / "p.parquet"))
            server.shutdown()
        assert first == third == fourth == photo.read_bytes()
        assert (second.reason, second.is_damaged) == ("no such file or directory", False)

    def test_a_far_shard_names_no_files_of_this_machine(self, tmp_path):
        photo = write_photo(tmp_path / "a.png")
        for cell in (str(photo), f"file://{photo}", {"bytes": None, "path": str(photo)}):
            with pytest.raises(Exception, match="one machine"):
                content_of_cell(cell, "s3:/bucket/p.parquet")
            assert content_of_cell(cell, "/p.parquet") == photo.read_bytes()

    def test_a_shard_that_was_changed_since_is_left_for_the_next_run(self, tmp_path):
        tar = write_tar(tmp_path / "s.tar", {"a.png": photo_bytes(1), "b.png": photo_bytes(2)})
        items = items_of(tar)
        write_tar(tar, {"a.png": photo_bytes(3) * 50})
        assert {(c.reason, c.is_damaged) for c in read(items)} == {
            ("its shard was changed while it was indexed", False)
        }

    def test_a_shard_that_is_gone(self, tmp_path):
        tar = write_tar(tmp_path / "s.tar", {"a.png": photo_bytes(1)})
        items = items_of(tar)
        tar.unlink()
        assert [(c.reason, c.is_damaged) for c in read(items)] == [
            ("no such file or directory", False)
        ]


class TestEmbedding:
    @pytest.mark.parametrize("threads", [1, 3])
    def test_files_get_the_rows_that_the_single_machine_index_makes(self, tmp_path, threads):
        paths = [write_photo(tmp_path / f"{n:02}.png", n, second=n + 1) for n in range(37)]
        paths[5].write_bytes(b"no photo")
        paths.append(
            write_photo(tmp_path / os.fsdecode(b"\xff\n.jpg"), 99, date="2020:01:02 03:04:05")
        )
        files = [found_at(str(path)) for path in paths]
        ours = list(embedded([Item(file, n) for n, file in enumerate(files)], ENCODER, threads))
        assert [item.file for item, _ in ours] == files
        theirs = [
            one
            for batch in Embedder(ENCODER, set()).embed(files, batch_size=16, workers=1)
            for one in batch
        ]
        assert len(ours) == len(theirs) == 38
        for (_, photo), other in zip(ours, theirs, strict=True):
            if isinstance(other, Unreadable):
                assert photo == other
                continue
            assert isinstance(other, Embedded)
            assert photo.content_hash == other.photo.content_hash
            assert (photo.width, photo.height) == (other.photo.look.width, other.photo.look.height)
            assert photo.taken == (other.photo.look.taken or other.photo.file.mtime_ns / 1e9)
            np.testing.assert_array_equal(photo.vector, other.vector)

    def test_shards_give_the_vectors_of_files_of_the_same_content(self, tmp_path):
        members = {f"{n:02}.png": photo_bytes(n) for n in range(20)}
        tar = write_tar(tmp_path / "s.tar", members)
        pq.write_table(pa.table({"image": list(members.values())}), tmp_path / "p.parquet")
        for name, content in members.items():
            (tmp_path / name).write_bytes(content)
        files = [Item(found_at(str(tmp_path / name)), 0) for name in members]
        rows = [
            [photo for _, photo in embedded(items, ENCODER, 1)]
            for items in (files, items_of(tar), items_of(tmp_path / "p.parquet"))
        ]
        for file, member, row in zip(*rows, strict=True):
            assert file.content_hash == member.content_hash == row.content_hash
            np.testing.assert_array_equal(file.vector, member.vector)
            np.testing.assert_array_equal(file.vector, row.vector)
        assert rows[1][3].path == tar / "03.png"
        assert rows[2][3].path == tmp_path / "p.parquet" / "3"

    def test_the_shipped_network_does_not_mind_what_else_is_in_a_batch(self):
        encoder = OnnxEncoder.load(threads=1)
        size = encoder.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (9, 3, size, size), dtype=np.uint8)
        together = encoder.photos(pixels)
        for count in (1, 3):
            np.testing.assert_allclose(encoder.photos(pixels[:count]), together[:count], atol=1e-6)


class TestParts:
    @pytest.fixture
    def work(self, tmp_path):
        model = Model("colours", "colours-1", ENCODER.dim)
        LanceGallery.create(tmp_path / "g.lance", model).close()
        return Work(tmp_path / "g.lance", COLOURS, "colours-1", "colours-1", ENCODER.dim)

    @pytest.fixture
    def one(self, tmp_path):
        return Part(0, (Item(found_at(str(write_photo(tmp_path / "one.png"))), 1),))

    def test_fragments_are_written_and_become_photos_when_they_are_committed(self, work, tmp_path):
        paths = [write_photo(tmp_path / f"{n}.png", n) for n in range(5)]
        items = [Item(found_at(str(path)), 9 - n) for n, path in enumerate(paths)]
        result = PartWorker(work).do(Part(3, tuple(items)))
        assert (result.number, result.written, result.failed) == (3, [5, 6, 7, 8, 9], None)
        with LanceGallery.open(work.gallery, writable=True) as gallery:
            assert gallery.count() == 0
            gallery.commit(result.fragments)
            assert [photo.path for photo in gallery.photos()] == paths[::-1]

    def test_what_cannot_be_read_is_told_with_its_id(self, work, tmp_path):
        (tmp_path / "bad.png").write_bytes(b"no photo")
        good = write_photo(tmp_path / "good.png")
        items = (Item(found_at(str(tmp_path / "bad.png")), 1), Item(found_at(str(good)), 2))
        result = PartWorker(work).do(Part(0, items))
        ((id, reason, is_damaged),) = result.unread
        assert (id, is_damaged, result.written) == (1, True, [2])
        assert "content is not a JPEG" in reason

    def test_another_model_of_the_same_name_is_hopeless(self, work, one):
        other = replace(work, model="colours-2")
        result = PartWorker(other).do(one)
        assert result.hopeless
        assert "another model" in (result.failed or "")

    def test_a_gallery_that_cannot_be_written_is_hopeless(self, work, one, tmp_path, monkeypatch):
        monkeypatch.setattr("msedge.search.cluster.worker._SECONDS_BEFORE_NEXT_TRY", 0.0)
        (tmp_path / "blocked").write_text("a file")
        other = replace(work, gallery=tmp_path / "blocked" / "g.lance")
        assert PartWorker(other).do(one).hopeless


class TestDevices:
    def test_a_gpu_that_onnxruntime_does_not_know_is_one_line(self):
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this ONNX Runtime is the one for GPUs")
        with pytest.raises(ConfigError, match="pip install onnxruntime-gpu"):
            OnnxEncoder.load(device="cuda")

    def test_an_unknown_device(self):
        with pytest.raises(ConfigError, match="expected cpu or cuda"):
            OnnxEncoder.load(device="tpu")
