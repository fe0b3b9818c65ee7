"""The file of decoded images: what is written is read, what is damaged is not there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.data import pixel_pack
from msedge.data.image_content import FileState
from msedge.data.pixel_pack import PixelPack, Source, create_pack, pack_bytes, rows_within

ROWS, SIZE = 5, 6
HEADER = {"key": "of this test"}
FIRST = Source(FileState(100, 5), b"0123456789abcdef")
SECOND = Source(FileState(2**40, 2**62), bytes(16))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def reopened(path: Path) -> PixelPack:
    return PixelPack(path, HEADER, ROWS, SIZE)


def verified(pack: PixelPack, row: int):
    """Where a row came from and its pixels, or None."""
    out = np.zeros((SIZE, SIZE, 3), np.uint8)
    found = pack.verified(row, out)
    return None if found is None else (found[0], out)


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(place)
        byte = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([byte ^ 4]))


@pytest.fixture
def path(tmp_path) -> Path:
    create_pack(tmp_path / "pack", HEADER, ROWS, SIZE)
    return tmp_path / "pack"


class TestSmoke:
    def test_a_new_file_has_no_rows_and_all_its_space(self, path):
        pack = reopened(path)
        assert (pack.path, pack.rows) == (path, ROWS)
        assert [verified(pack, row) for row in range(ROWS)] == [None] * ROWS
        assert pack.checks(np.arange(ROWS)).tolist() == [0] * ROWS
        assert path.stat().st_size == pack_bytes(ROWS, SIZE)
        if hasattr(os, "posix_fallocate"):
            assert path.stat().st_blocks * 512 >= path.stat().st_size

    def test_what_is_written_is_read_by_whoever_has_it_open(self, path):
        pack, other = reopened(path), reopened(path)
        check = pack.write(3, FIRST, noise(0))
        for reader in (pack, other, reopened(path)):
            source, pixels = verified(reader, 3)
            assert source == FIRST
            assert np.array_equal(pixels, noise(0))
            assert reader.checks(np.array([2, 3])).tolist() == [0, check]
            assert verified(reader, 2) is None

    def test_a_row_can_be_replaced(self, path):
        pack = reopened(path)
        before = pack.write(0, FIRST, noise(0))
        after = pack.write(0, SECOND, noise(1))
        assert before != after
        source, pixels = verified(reopened(path), 0)
        assert source == SECOND
        assert np.array_equal(pixels, noise(1))

    def test_the_first_page_says_what_it_is_in_plain_text(self, path):
        first = path.read_bytes().split(b"\n")[0]
        assert first == b'{"key": "of this test", "rows": 5, "size": 6}'


class TestExceptions:
    @pytest.mark.parametrize(
        ("header", "rows", "size"), [({"key": "other"}, 5, 6), (HEADER, 4, 6), (HEADER, 5, 7)]
    )
    def test_another_file_is_refused(self, path, header, rows, size):
        with pytest.raises(ValueError, match="not the file of decoded images"):
            PixelPack(path, header, rows, size)

    @pytest.mark.parametrize("length", [0, 10, 4096, pack_bytes(ROWS, SIZE) - 1])
    def test_a_file_cut_short_is_refused_and_never_mapped(self, path, length):
        os.truncate(path, length)
        with pytest.raises(ValueError, match="not the file of decoded images"):
            reopened(path)

    def test_nothing_is_written_over(self, path):
        with pytest.raises(FileExistsError):
            create_pack(path, HEADER, ROWS, SIZE)
        assert reopened(path).rows == ROWS

    def test_a_full_disk_leaves_nothing(self, tmp_path, monkeypatch):
        def full(descriptor, *_):
            os.pwrite(descriptor, b"begun", 0)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(OSError, match="No space left"):
            create_pack(tmp_path / "pack", HEADER, ROWS, SIZE)
        assert list(tmp_path.iterdir()) == []

    def test_where_space_cannot_be_taken_ahead_it_goes_on(self, tmp_path, monkeypatch):
        def cannot(*_):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
        create_pack(tmp_path / "pack", HEADER, ROWS, SIZE)
        pack = reopened(tmp_path / "pack")
        pack.write(4, FIRST, noise(0))
        assert np.array_equal(verified(pack, 4)[1], noise(0))

    def test_a_header_larger_than_its_page(self, tmp_path):
        with pytest.raises(ValueError, match="does not fit a page"):
            create_pack(tmp_path / "pack", {"key": "x" * 5000}, ROWS, SIZE)


class TestCardinality:
    @pytest.mark.parametrize("rows", [[], [0], [4, 4, 1], [3, 2, 1, 0, 4]])
    def test_rows_are_copied_in_the_order_asked_for(self, path, rows):
        pack = reopened(path)
        for row in range(ROWS):
            pack.write(row, FIRST, noise(row))
        out = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
        pack.copy(np.array(rows, np.int64), out)
        assert np.array_equal(out, np.array([noise(row) for row in rows]).reshape(out.shape))

    @given(rows=st.integers(1, 100_000), size=st.integers(1, 300), spare=st.integers(0, 10_000))
    def test_as_many_rows_as_fit(self, rows, size, spare):
        limit = pack_bytes(rows, size) + spare
        found = int(rows_within(limit, size))
        assert pack_bytes(found, size) <= limit or found == 0
        assert pack_bytes(found + 1 + 8192 // (3 * size * size + 64), size) > limit - 8192


class TestDamage:
    def test_any_flipped_bit_is_seen(self, path):
        pack = reopened(path)
        place = pack_bytes(ROWS, SIZE) - 3 * SIZE * SIZE * 2  # the pixels of row 3
        entry = 4096 + 3 * 64
        for row in range(ROWS):
            pack.write(row, FIRST, noise(row))
        for flipped in [*range(place, place + 3 * SIZE * SIZE), *range(entry, entry + 36)]:
            flip(path, flipped)
            assert verified(pack, 3) is None
            flip(path, flipped)
            assert verified(pack, 3) is not None
        for row in (2, 4):
            assert np.array_equal(verified(pack, row)[1], noise(row))

    def test_a_damaged_row_is_mended_by_writing_it_again(self, path):
        pack = reopened(path)
        pack.write(4, FIRST, noise(0))
        flip(path, pack_bytes(ROWS, SIZE) - 1)
        assert verified(pack, 4) is None
        pack.write(4, FIRST, noise(0))
        assert np.array_equal(verified(pack, 4)[1], noise(0))

    def test_an_entry_of_another_row_is_none_of_this(self, path):
        pack = reopened(path)
        pack.write(0, FIRST, noise(0))
        content = bytearray(path.read_bytes())
        content[4096 + 64 : 4096 + 128] = content[4096 : 4096 + 64]
        start = pack_bytes(ROWS, SIZE) - 3 * SIZE * SIZE * ROWS
        length = 3 * SIZE * SIZE
        content[start + length : start + 2 * length] = content[start : start + length]
        path.write_bytes(content)
        assert verified(reopened(path), 0) is not None
        assert verified(reopened(path), 1) is None

    @settings(deadline=None, max_examples=60)
    @given(replaced=st.booleans(), stop=st.integers(0, 3), part=st.integers(0, 63))
    def test_a_stop_between_or_within_writes(self, tmp_path_factory, replaced, stop, part):
        """After so many whole writes and a part of the next: the new row, the old one, or none."""
        path = tmp_path_factory.mktemp("stopped") / "pack"
        create_pack(path, HEADER, ROWS, SIZE)
        pack = reopened(path)
        if replaced:
            pack.write(1, FIRST, noise(0))
        left = stop
        write = pixel_pack.PixelPack._write

        class StoppedError(Exception):
            pass

        def stopping(self, place, content):
            nonlocal left
            if left == 0:
                write(self, place, bytes(content)[:part])
                raise StoppedError
            left -= 1
            write(self, place, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pixel_pack.PixelPack, "_write", stopping)
            try:
                pack.write(1, SECOND, noise(1))
                finished = True
            except StoppedError:
                finished = False
        found = verified(reopened(path), 1)
        writes = 3 if replaced else 2
        assert finished == (stop >= writes)
        if found is None:
            assert not finished
        elif found[0] == SECOND:
            assert np.array_equal(found[1], noise(1))
            assert stop >= writes - 1
        else:
            assert found[0] == FIRST
            assert np.array_equal(found[1], noise(0))
            assert replaced
            assert stop == 0


WRITER = """
import sys
from pathlib import Path
import numpy as np
from msedge.data.image_content import FileState
from msedge.data.pixel_pack import PixelPack, Source

path, number = Path(sys.argv[1]), int(sys.argv[2])
pack = PixelPack(path, {"key": "of this test"}, 5, 200)
print("begun", flush=True)
sys.stdin.readline()
for turn in range(150):
    value = 2 * (turn % 100) + number
    pixels = np.full((200, 200, 3), value, np.uint8)
    pack.write(turn % 5, Source(FileState(value, 0), bytes(16)), pixels)
"""


class TestSeveralAtOnce:
    def test_processes_that_write_the_same_rows_never_mix_them(self, tmp_path):
        """Two write other pixels into the same rows all the time; what verifies is one of them."""
        path = tmp_path / "pack"
        create_pack(path, HEADER, ROWS, 200)
        pack = PixelPack(path, HEADER, ROWS, 200)
        command = [sys.executable, "-c", WRITER, str(path)]
        writers = [
            subprocess.Popen(
                [*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for number in (0, 1)
        ]
        for writer in writers:
            assert writer.stdout.readline() == "begun\n"
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        out, seen = np.empty((200, 200, 3), np.uint8), set()
        while any(writer.poll() is None for writer in writers):
            for row in range(ROWS):
                found = pack.verified(row, out)
                if found is not None:
                    assert (out == found[0].state.length).all()
                    seen.add(found[0].state.length)
        for writer in writers:
            writer.communicate()
            assert writer.returncode == 0
        for row in range(ROWS):  # the last writer of each row left a whole one
            found = pack.verified(row, out)
            assert found is not None
            assert (out == found[0].state.length).all()
        assert len(seen) > 2

    @pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
    def test_a_writer_waits_for_another_to_finish_its_row(self, path, monkeypatch):
        """Whoever else has the file open, as two processes have."""
        slow, other = reopened(path), reopened(path)
        begun, go_on, order = threading.Event(), threading.Event(), []
        write = pixel_pack.PixelPack._write

        def writing(self, place, content):
            if self is slow:
                begun.set()
                go_on.wait(30)
            order.append("slow" if self is slow else "other")
            write(self, place, content)

        monkeypatch.setattr(pixel_pack.PixelPack, "_write", writing)
        first = threading.Thread(target=slow.write, args=(1, FIRST, noise(0)))
        second = threading.Thread(target=other.write, args=(1, SECOND, noise(1)))
        first.start()
        assert begun.wait(30)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        go_on.set()
        first.join()
        second.join()
        assert order == ["slow"] * 2 + ["other"] * 3
        assert verified(reopened(path), 1)[0] == SECOND

    def test_threads_of_one_process(self, path):
        pack = reopened(path)

        def write(seed: int) -> None:
            for row in range(ROWS):
                pack.write(row, Source(FileState(seed, 0), bytes(16)), noise(seed))

        threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for row in range(ROWS):
            source, pixels = verified(reopened(path), row)
            assert np.array_equal(pixels, noise(source.state.length))
